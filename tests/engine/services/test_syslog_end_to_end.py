"""The syslog service as a process: sockets, files, kernel messages, forwarding, restarts."""

import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.engine.services.namespaces import running, wait_until

pytestmark = pytest.mark.engine

SOURCE = Path(__file__).parents[3] / "src"
PROGRAM = """
import sys
from orlop.services.syslog.service import SyslogService
root = sys.argv[1]
service = SyslogService(
    socket_directory=f"{root}/socket", log_path=f"{root}/log/messages",
    kmsg_path=f"{root}/kmsg", settings_path=f"{root}/config.json")
service.handle_signals()
service.run()
"""


class Syslog:
    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("socket", "log"):
            (root / name).mkdir()
        os.mkfifo(root / "kmsg")
        # Both ends stay open here, so that the service sees a device that is quiet, not at its end.
        self._kmsg = os.open(root / "kmsg", os.O_RDWR | os.O_NONBLOCK)
        self.process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def started(self) -> Iterator[None]:
        argv = [sys.executable, "-c", PROGRAM, str(self.root)]
        with running(argv, self.root / "output", PYTHONPATH=str(SOURCE)) as self.process:
            wait_until(lambda: "syslog started" in self.text, "syslog")
            yield
        assert (self.root / "output").read_text() == ""

    @property
    def text(self) -> str:
        path = self.root / "log/messages"
        return path.read_text() if path.exists() else ""

    def send(self, *messages: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(self.root / "socket/log"))
            for message in messages:
                sender.send(message)

    def send_kernel(self, record: bytes) -> None:
        os.write(self._kmsg, record)

    def configure(self, **settings: object) -> None:
        (self.root / "config.json").write_text(json.dumps(settings))

    def reload(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.text, text)


@pytest.fixture
def syslog(tmp_path: Path) -> Syslog:
    return Syslog(tmp_path)


def test_messages_arrive(syslog: Syslog) -> None:
    with syslog.started():
        assert (syslog.root / "socket/log").stat().st_mode & 0o777 == 0o666
        syslog.send(b"<13>Nov 23 08:00:00 web[7]: hello", b"\xff\0\n", b"<13>1 - - app - - - five")
        syslog.wait_for("app - - ")
        syslog.send_kernel(b"6,1,1000,-;eth0: link up\n")
        syslog.wait_for("kernel - - - eth0: link up")
    assert " web 7 - " in syslog.text
    assert "syslog stopped" in syslog.text
    assert all(line.startswith("<") for line in syslog.text.splitlines())


def test_sender_is_named_by_the_kernel(syslog: Syslog) -> None:
    with syslog.started():
        syslog.send(b'<13>1 - - app - - [orlop@32473 container="forged"] whose')
        syslog.wait_for("whose")
    assert "forged" not in syslog.text


def test_restart_keeps_the_name_and_repeats_no_kernel_message(syslog: Syslog) -> None:
    with syslog.started():
        syslog.send_kernel(b"6,5,1000,-;first\n")
        syslog.wait_for("first")
    (syslog.root / "log/messages").rename(syslog.root / "log/before")
    with syslog.started():
        for record in (b"6,4,900,-;zeroth\n", b"6,5,1000,-;first\n", b"6,6,2000,-;second\n"):
            wait_until(lambda: _fifo_is_empty(syslog))
            syslog.send_kernel(record)
        syslog.wait_for("second")
        syslog.send(b"<13>x: again")
        syslog.wait_for("again")
    assert "first" not in syslog.text
    assert "zeroth" not in syslog.text


def _fifo_is_empty(syslog: Syslog) -> bool:
    (size,) = struct.unpack("i", fcntl.ioctl(syslog._kmsg, termios.FIONREAD, b"\0" * 4))
    return bool(size == 0)


def test_forward_over_tcp_survives_the_remote(syslog: Syslog) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        port = server.getsockname()[1]
        syslog.configure(remote=f"tcp://127.0.0.1:{port}")
        with syslog.started():
            syslog.send(b"<13>a: one")
            connection, _ = server.accept()
            assert receive_frame(connection).endswith(b" one")
            connection.close()
            syslog.send(b"<13>a: two")
            connection, _ = server.accept()
            connection.settimeout(30)
            assert b" two" in receive_frame(connection)
            connection.close()


def receive_frame(connection: socket.socket) -> bytes:
    """One message in octet counting."""
    connection.settimeout(30)
    with connection.makefile("rb") as stream:
        digits = b""
        while not digits.endswith(b" "):
            digit = stream.read(1)
            assert digit.isdigit() or (digit == b" " and digits), digits + digit
            digits += digit
        data = stream.read(int(digits))
    assert len(data) == int(digits)
    return data


def test_remote_is_taken_up_on_reload(syslog: Syslog) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(30)
        with syslog.started():
            syslog.send(b"<13>a: before")
            syslog.wait_for("before")
            syslog.configure(remote=f"udp://127.0.0.1:{server.getsockname()[1]}")
            syslog.reload()
            received = b""
            while b"after" not in received:  # the reload itself takes a moment
                syslog.send(b"<13>a: after")
                server.settimeout(1)
                try:
                    received = server.recv(9000)
                except TimeoutError:
                    continue
            assert received.startswith(b"<13>1 20")
            assert b"before" not in received


def test_flood_is_cut_and_told(syslog: Syslog) -> None:
    with syslog.started():
        for _ in range(30):
            syslog.send(*[b"<13>flood: x"] * 100)
        wait_until(lambda: syslog.text.count("flood") >= 2000)
    assert syslog.text.count("flood - ") < 3000


def test_a_broken_remote_is_told_and_ignored(syslog: Syslog) -> None:
    syslog.configure(remote="nonsense")
    with syslog.started():
        syslog.send(b"<13>a: still here")
        syslog.wait_for("still here")
    assert "not a syslog host, ignoring" in syslog.text
