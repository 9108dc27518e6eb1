"""A syslog collector for tests: keeps the datagrams that arrive on a loopback port."""

import socket
import threading
import time


class SyslogListener:
    """Listens until the context ends."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._messages: list[bytes] = []
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "SyslogListener":
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
        while not self._stopping:
            message, _ = self._socket.recvfrom(1 << 16)
            self._messages.append(message)

    def wait_for(self, text: str, timeout_s: float = 60.0) -> str:
        """The first message that contains *text*.

        Raises:
            AssertionError: there is none after *timeout_s*.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for message in list(self._messages):
                if text in (line := message.decode(errors="replace")):
                    return line
            time.sleep(0.1)
        raise AssertionError(f"no message with {text!r} among {len(self._messages)}")
