"""Sends messages to a remote syslog, over UDP (RFC 5426) or TCP with octet counting (RFC 6587).

A thread of its own does everything that can block: names are resolved, connections made and awaited
there. Between it and the service is a queue of MAX_QUEUED messages; when the remote host is away
for longer than that lasts, the oldest are dropped, and their number is sent once it is back. A
message that was being sent when a TCP connection broke is sent again, so it may arrive twice.
"""

import collections
import random
import select
import socket
import threading
from typing import NamedTuple

from orlop.lib.errors import InvalidArgument

MAX_QUEUED = 2000
"""Some hundred KiB: seconds of a busy machine, hours of a quiet one."""

CONNECT_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 30.0
FIRST_PAUSE_S = 1.0
LAST_PAUSE_S = 60.0
MAX_DATAGRAM_BYTES = 8192
SYSLOG_PORTS = {"udp": 514, "tcp": 601}


class Remote(NamedTuple):
    """Where to send: *protocol* is `udp` or `tcp`."""

    protocol: str
    host: str
    port: int


def parse_remote(url: str) -> Remote:
    """Read `udp://HOST[:PORT]` or `tcp://HOST[:PORT]`; IPv6 addresses are in brackets.

    Raises:
        InvalidArgument: something else.
    """
    protocol, separator, rest = url.partition("://")
    rest = rest.removesuffix("/")
    host, bracket, port = rest.removeprefix("[").partition("]")
    if not bracket:
        host, _, port = rest.partition(":")
    else:
        port = port.removeprefix(":")
    valid_port = port == "" or (port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536)
    if not separator or protocol not in SYSLOG_PORTS or not host or not valid_port:
        raise InvalidArgument(
            f"{url!r} is not a syslog host", hint="write udp://HOST:PORT or tcp://HOST:PORT"
        )
    return Remote(protocol, host, int(port) if port else SYSLOG_PORTS[protocol])


def frame(remote: Remote, message: bytes) -> bytes:
    """*message* (RFC 5424, no line end) as it goes over the wire."""
    if remote.protocol == "tcp":
        return b"%d %b" % (len(message), message)
    return message[:MAX_DATAGRAM_BYTES]


class Forwarder:
    """Sends to one remote until stopped. `put` never blocks."""

    def __init__(self, remote: Remote, *, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self.remote = remote
        self._first_pause_s = first_pause_s
        self._queue: collections.deque[bytes] = collections.deque(maxlen=MAX_QUEUED)
        self._changed = threading.Condition()
        self._dropped = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="forward", daemon=True)
        self._thread.start()

    def put(self, message: bytes) -> None:
        """Queue *message*; the oldest goes if the queue is full."""
        with self._changed:
            if len(self._queue) == MAX_QUEUED:
                self._dropped += 1
            self._queue.append(message)
            self._changed.notify()

    def stop(self) -> None:
        """Stop soon; what is queued is lost. Does not wait: the thread may be in a long connect."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def take_dropped(self) -> int:
        """How many were dropped since the last call."""
        with self._changed:
            dropped, self._dropped = self._dropped, 0
            return dropped

    def _run(self) -> None:
        pause_s = self._first_pause_s
        while not self._stopped:
            try:
                with connect(self.remote) as connection:
                    pause_s = self._first_pause_s
                    self._send_all(connection)
            except OSError:
                # Unreachable, refused, reset or nameless: all pass, none is worth a line each time.
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._stopped, timeout=pause_s * random.uniform(0.5, 1.0)
                    )
                pause_s = min(LAST_PAUSE_S, pause_s * 2)

    def _send_all(self, connection: socket.socket) -> None:
        while True:
            message = self._next()
            if message is None:
                return
            try:
                if self.remote.protocol == "tcp":
                    check_open(connection)
                connection.sendall(frame(self.remote, message))
            except OSError:
                with self._changed:
                    if len(self._queue) < MAX_QUEUED:
                        self._queue.appendleft(message)
                raise

    def _next(self) -> bytes | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopped)
            return None if self._stopped else self._queue.popleft()


def connect(remote: Remote) -> socket.socket:
    """A connected socket to *remote*, whose operations time out.

    Raises:
        OSError: no address of the host can be reached (or found).
    """
    kind = socket.SOCK_STREAM if remote.protocol == "tcp" else socket.SOCK_DGRAM
    failure: OSError = OSError(f"no address for {remote.host}")
    for family, _, _, _, address in socket.getaddrinfo(remote.host, remote.port, type=kind):
        connection = socket.socket(family, kind)
        try:
            connection.settimeout(CONNECT_TIMEOUT_S)
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
            continue
        connection.settimeout(SEND_TIMEOUT_S)
        if remote.protocol == "tcp":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            timeout_ms = int(SEND_TIMEOUT_S * 1000)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)
        return connection
    raise failure


def check_open(connection: socket.socket) -> None:
    """Notice a connection that the other side has closed, before a message is lost in it.

    Raises:
        OSError: it is closed.
    """
    # Asked first, because a socket with a timeout waits in recv() whatever its flags say.
    readable, _, _ = select.select([connection], [], [], 0)
    # Nothing is expected; what comes all the same must not pile up.
    if readable and not connection.recv(4096):
        raise ConnectionResetError("closed by the remote host")
