"""The syslog service: takes messages, writes them, passes them on.

One poll loop over the socket behind every container's /dev/log and over /dev/kmsg. The socket lies
in a directory that is mounted into the containers, so a restart of this service makes a new socket
that they find under the same name.
"""

import _socket
import errno
import os
import select
import signal
import struct
import sys
import time
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.services.settings import integer_setting, read_settings, text_setting
from orlop.services.syslog.limits import UNKNOWN_SENDER, RateLimit, container_of
from orlop.services.syslog.message import (
    MAX_INPUT_BYTES,
    NIL,
    Message,
    format_message,
    format_time,
    from_kernel,
    parse_kernel_record,
    parse_message,
    with_origin,
)
from orlop.services.syslog.store import MAX_FILE_BYTES, MAX_FILES, Store

if TYPE_CHECKING:
    from orlop.services.syslog.forward import Forwarder

SOCKET_DIRECTORY = "/run/orlop/syslog"
LOG_PATH = "/var/log/orlop/messages"
KMSG_PATH = "/dev/kmsg"

BATCH = 256
"""Messages taken from one source before the other has its turn and the batch is written."""

RECEIVE_BYTES = 1 << 20
SYSLOG_WARNING = 5 * 8 + 4
SYSLOG_INFO = 5 * 8 + 6
_CREDENTIALS = struct.Struct("iII")


class SyslogService:
    """Everything the service holds. Paths can be changed for tests."""

    def __init__(
        self,
        *,
        socket_directory: str = SOCKET_DIRECTORY,
        log_path: str = LOG_PATH,
        kmsg_path: str = KMSG_PATH,
        settings_path: str | None = None,
    ) -> None:
        self._settings_path = settings_path
        self._sequence_path = f"{socket_directory}/kmsg.sequence"
        self._forwarder: Forwarder | None = None
        self._remote = ""
        self._limit = RateLimit()
        self._reload_wanted = self._stop_wanted = False
        self._lines: list[bytes] = []
        settings = self._settings()
        self._store = Store(
            log_path,
            max_file_bytes=max(65536, integer_setting(settings, "max_size_bytes", MAX_FILE_BYTES)),
            max_files=max(1, min(100, integer_setting(settings, "max_files", MAX_FILES))),
        )
        self._socket = open_log_socket(f"{socket_directory}/log")
        self._kmsg = self._open_kmsg(kmsg_path)
        self._sequence = self._read_sequence()
        self._wakeup, self._wakeup_writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        for descriptor in (self._socket.fileno(), self._kmsg, self._wakeup):
            if descriptor >= 0:
                self._poll.register(descriptor, select.POLLIN)
        self._apply_remote(text_setting(settings, "remote"))

    def handle_signals(self) -> None:
        """From now on SIGHUP reloads the settings and SIGTERM ends `run`."""
        signal.set_wakeup_fd(self._wakeup_writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, lambda *_: self.reload())
        signal.signal(signal.SIGTERM, lambda *_: self.stop())

    def reload(self) -> None:
        self._reload_wanted = True
        self._wake()

    def stop(self) -> None:
        self._stop_wanted = True
        self._wake()

    def run(self) -> None:
        """Serve until `stop`; then what has arrived is written and durable."""
        self._note(SYSLOG_INFO, "syslog started")
        self._flush()
        while not self._stop_wanted:
            self._step()
        self._take_kernel()
        self._take_messages()
        self._note(SYSLOG_INFO, "syslog stopped")
        self._flush()
        self._store.close()

    def _step(self) -> None:
        due_s = self._store.sync_in_s(time.monotonic())
        ready = dict(self._poll.poll(None if due_s is None else due_s * 1000 + 1))
        if self._wakeup in ready:
            os.read(self._wakeup, 4096)
        if self._reload_wanted:
            self._reload_wanted = False
            self._apply_remote(text_setting(self._settings(), "remote"))
        if self._kmsg in ready:
            self._take_kernel()
        if self._socket.fileno() in ready:
            self._take_messages()
        self._flush()
        if self._store.sync_in_s(time.monotonic()) == 0.0:
            self._store.sync()

    def _take_messages(self) -> None:
        for _ in range(BATCH):
            try:
                data, ancillary, _, _ = self._socket.recvmsg(
                    MAX_INPUT_BYTES, _socket.CMSG_SPACE(_CREDENTIALS.size)
                )
            except BlockingIOError:
                return
            sender = sender_of(ancillary)
            verdict = self._limit.check(sender, time.monotonic())
            if verdict.dropped_before:
                self._note(
                    SYSLOG_WARNING,
                    f"{verdict.dropped_before} messages of {sender} were dropped: too many at once",
                )
            if verdict.accepted:
                message = parse_message(data, now_ns=time.time_ns(), host=host_name())
                self._emit(with_origin(message, sender))

    def _take_kernel(self) -> None:
        if self._kmsg < 0:
            return
        offset_ns = time.time_ns() - time.monotonic_ns()
        for _ in range(BATCH):
            try:
                data = os.read(self._kmsg, MAX_INPUT_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.EPIPE:
                    raise
                self._note(SYSLOG_WARNING, "kernel messages were overwritten before they were read")
                continue
            record = parse_kernel_record(data)
            if record is None or record.sequence <= self._sequence:
                continue
            self._sequence = record.sequence
            when = format_time(offset_ns + record.since_boot_us * 1000)
            self._emit(from_kernel(record, when, host_name()))
        self._write_sequence()

    def _emit(self, message: Message) -> None:
        line = format_message(message)
        self._lines.append(line)
        if self._forwarder is not None:
            dropped = self._forwarder.take_dropped()
            if dropped:
                self._note(SYSLOG_WARNING, f"{dropped} messages did not reach {self._remote}")
            self._forwarder.put(line)

    def _note(self, priority: int, text: str) -> None:
        """A message of our own, which passes no limit and is not forwarded in a circle."""
        when = format_time(time.time_ns())
        own = Message(priority, when, host_name(), "syslog", str(os.getpid()), NIL, NIL, text)
        self._lines.append(format_message(own))

    def _flush(self) -> None:
        if not self._lines:
            return
        lines, self._lines = self._lines, []
        dropped = self._store.dropped
        if dropped:
            text = f"{dropped} messages were dropped: the disk was full"
            self._note(SYSLOG_WARNING, text)
            lines, self._lines = [*self._lines, *lines], []
        try:
            if self._store.append(lines, time.monotonic()):
                self._store.dropped -= dropped
        except OSError as error:
            # Read-only after an error of the disk, for instance: go on taking and forwarding.
            self._store.dropped += len(lines)
            print(f"syslog: cannot write: {error}, ignoring", file=sys.stderr, flush=True)

    def _apply_remote(self, remote: str) -> None:
        if remote == self._remote:
            return
        if self._forwarder is not None:
            self._forwarder.stop()
            self._forwarder = None
        self._remote = remote
        if not remote:
            return
        from orlop.services.syslog.forward import Forwarder, parse_remote

        try:
            self._forwarder = Forwarder(parse_remote(remote))
        except InvalidArgument as error:
            self._note(SYSLOG_WARNING, f"{error}, ignoring")

    def _settings(self) -> "dict[str, object]":
        path = self._settings_path
        return dict(read_settings() if path is None else read_settings(path))

    def _open_kmsg(self, path: str) -> int:
        try:
            return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            self._note(SYSLOG_WARNING, f"no kernel messages: {error}")
            return -1

    def _read_sequence(self) -> int:
        """The last kernel record a former life of this service wrote; lost at boot, as it must
        be."""
        try:
            with open(self._sequence_path, encoding="ascii") as stream:
                return int(stream.read(32))
        except (OSError, ValueError):
            return -1

    def _write_sequence(self) -> None:
        try:
            with open(self._sequence_path, "w", encoding="ascii") as stream:
                stream.write(f"{self._sequence}\n")
        except OSError:
            pass  # at worst some kernel messages are written twice

    def _wake(self) -> None:
        try:
            os.write(self._wakeup_writer, b"\0")
        except BlockingIOError:
            pass  # awake already


def open_log_socket(path: str) -> _socket.socket:
    """The datagram socket that programs send to, open to all, with the senders' credentials."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    kind = _socket.SOCK_DGRAM | _socket.SOCK_NONBLOCK | _socket.SOCK_CLOEXEC
    opened = _socket.socket(_socket.AF_UNIX, kind)
    opened.setsockopt(_socket.SOL_SOCKET, _socket.SO_RCVBUF, RECEIVE_BYTES)
    opened.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
    # Bound aside and renamed: under its name the socket is never one that nobody may write to.
    opened.bind(f"{path}.new")
    os.chmod(f"{path}.new", 0o666)
    os.rename(f"{path}.new", path)
    return opened


def sender_of(ancillary: list[tuple[int, int, bytes]]) -> str:
    """The container that sent a datagram, from what the kernel says of it."""
    for level, kind, data in ancillary:
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_CREDENTIALS) and len(
            data
        ) == _CREDENTIALS.size:
            process_id, _, _ = _CREDENTIALS.unpack(data)
            return container_of(process_id) if process_id else UNKNOWN_SENDER
    return UNKNOWN_SENDER


def host_name() -> str:
    """The machine's name as it is now: it may come from a lease, after the start."""
    return os.uname().nodename or NIL
