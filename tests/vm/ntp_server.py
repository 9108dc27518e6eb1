"""A time server for tests: answers NTP (RFC 5905) on loopback with this host's time."""

import socket
import struct
import threading
import time

UNIX_EPOCH_S = 2_208_988_800
"""Seconds from NTP's epoch, 1900, to Unix's."""
_PACKET_BYTES = 48
_STRATUM = 2
_SERVER_MODE = 4


def timestamp(now_s: float) -> bytes:
    """*now_s*, a Unix time, as NTP's 64 bits."""
    seconds, fraction = divmod(now_s + UNIX_EPOCH_S, 1)
    return struct.pack("!II", int(seconds) & 0xFFFFFFFF, int(fraction * 2**32))


def reply(request: bytes, now_s: float) -> bytes | None:
    """The answer to *request*, or None if it is none."""
    if len(request) < _PACKET_BYTES:
        return None
    version = (request[0] >> 3) & 7
    head = struct.pack("!BBBb", version << 3 | _SERVER_MODE, _STRATUM, request[2], -20)
    root = struct.pack("!II4s", 0, 0x100, b"TEST")
    now = timestamp(now_s)
    # Reference, the client's transmit time as origin, receive, transmit.
    return head + root + now + request[40:48] + now + timestamp(now_s)


class NtpServer:
    """Serves until the context ends; *offset_s* is how far ahead of this host it is."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self.offset_s = offset_s
        self.requests = 0
        self._stopping = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "NtpServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        # An empty datagram wakes the thread.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as waker:
            waker.sendto(b"", ("127.0.0.1", self.port))
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            request, peer = self._socket.recvfrom(1024)
            if self._stopping:
                return
            answer = reply(request, time.time() + self.offset_s)
            if answer is not None:
                self.requests += 1
                self._socket.sendto(answer, peer)
