"""Typing on a machine's serial console, for programs: tests of the console itself."""

import time
from pathlib import Path

from orlop.vm.qemu import CONSOLE_SOCKET
from orlop.vm.sockets import connect_in

_CHUNK_BYTES = 1 << 14


class SerialConsole:
    """A connection to the console; shows what is written from now on."""

    def __init__(self, directory: Path) -> None:
        """Connect to the console of the machine in *directory*.

        Raises:
            OSError: it does not run.
        """
        self._socket = connect_in(directory, CONSOLE_SOCKET)
        self.seen = b""

    def __enter__(self) -> "SerialConsole":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        """Type *data*."""
        self._socket.sendall(data)

    def wait_for(self, text: bytes, timeout_s: float) -> bool:
        """Wait until *text* has been shown; False if it was not within *timeout_s*."""
        deadline = time.monotonic() + timeout_s
        while text not in self.seen:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return False
            self._socket.settimeout(remaining_s)
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except TimeoutError:
                return False
            if not data:
                return False
            self.seen += data
        return True
