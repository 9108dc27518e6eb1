"""The log driver `syslog`: a container's lines to a syslog server, beside the engine's own log.

Datagrams to `udp://` and `unixgram://`, newline-ended messages to `tcp://` and `unix://`. What a
server that is away does not take waits in a bounded queue; the oldest lines go first, and the
engine's own log has them all the same. Formats: RFC 3164 as dockerd writes it, and RFC 5424.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
import os
import re
import socket
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orlop.lib.blocking import run_bounded
from orlop.lib.errors import InvalidArgument
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.engine.container.record import Record
    from orlop.engine.tasks import TaskSet

log = logging.getLogger(__name__)

MAX_QUEUED = 2000
"""Lines waiting for one server: some hundred KiB."""

MAX_LINE_BYTES = 16 << 10
"""As dockerd, which cuts longer lines into several messages."""

RETRY_DELAYS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
CONNECT_TIMEOUT_S = 10.0
SEND_TIMEOUT_S = 30.0

_FACILITY_NAMES = """
    kern user mail daemon auth syslog lpr news uucp cron authpriv ftp - - - -
    local0 local1 local2 local3 local4 local5 local6 local7
"""
FACILITIES = _FACILITY_NAMES.split()
FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_SEVERITY = {Stream.STDOUT: 6, Stream.STDERR: 3}
_OPTION_NAMES = """
    syslog-address syslog-facility syslog-format tag labels labels-regex env env-regex mode max-
    buffer-size cache-disabled cache-max-size cache-max-file cache-compress
"""
_OPTIONS = frozenset(_OPTION_NAMES.split())
_TAG_PART = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")
DEFAULT_ADDRESS = "unixgram:///dev/log"
DEFAULT_TAG = "{{.ID}}"


@dataclass(frozen=True, slots=True)
class Address:
    """Where to send: *kind* is `udp`, `tcp`, `unix` or `unixgram`."""

    kind: str
    host: str
    port: int = 514

    @property
    def is_stream(self) -> bool:
        return self.kind in ("tcp", "unix")


def parse_address(text: str) -> Address:
    """`udp://HOST[:PORT]`, `tcp://…`, `unix:///PATH` or `unixgram:///PATH`.

    Raises:
        InvalidArgument: another form.
    """
    try:
        parts = urlsplit(text or DEFAULT_ADDRESS)
        port = parts.port or 514
    except ValueError as error:
        raise InvalidArgument(f"invalid syslog-address {text[:200]!r}: {error}") from error
    if parts.scheme in ("unix", "unixgram") and parts.path.startswith("/"):
        return Address(parts.scheme, parts.path)
    if parts.scheme in ("udp", "tcp") and parts.hostname:
        return Address(parts.scheme, parts.hostname, port)
    if parts.scheme == "tcp+tls":
        raise InvalidArgument("syslog-address: tcp+tls is not supported, use tcp or udp")
    raise InvalidArgument(f"syslog-address should be in form proto://address, got {text[:200]}")


def parse_facility(text: str) -> int:
    """A name or number; `daemon` when not said.

    Raises:
        InvalidArgument: no such facility.
    """
    if not text:
        return 3
    if text in FACILITIES and text != "-":
        return FACILITIES.index(text)
    if text.isascii() and text.isdigit() and int(text) <= 23:
        return int(text)
    raise InvalidArgument(f"invalid syslog facility: {text[:40]}")


def check_options(options: Mapping[str, str]) -> None:
    """Refuse what this driver does not know.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    for key in options:
        if key not in _OPTIONS:
            raise InvalidArgument(f"unknown log opt '{key[:40]}' for syslog log driver")
    parse_address(options.get("syslog-address", ""))
    parse_facility(options.get("syslog-facility", ""))
    if options.get("syslog-format", "") not in FORMATS:
        raise InvalidArgument(f"invalid syslog format: {options['syslog-format'][:40]}")
    for name in _TAG_PART.findall(options.get("tag", "")):
        if name not in _TAG_NAMES:
            raise InvalidArgument(f"log tag: no field {name[:40]}")


_TAG_NAMES = frozenset(
    ("ID", "FullID", "Name", "ImageID", "ImageFullID", "ImageName", "DaemonName")
)


def make_tag(template: str, record: Record) -> str:
    """The tag of *record*'s lines; `{{.Name}}` and its like are filled in."""
    values = {
        "ID": record.id[:12],
        "FullID": record.id,
        "Name": record.config.name,
        "ImageID": record.image_id.removeprefix("sha256:")[:12],
        "ImageFullID": record.image_id,
        "ImageName": record.config.image,
        "DaemonName": "docker",
    }
    return _TAG_PART.sub(lambda match: values.get(match[1], ""), template or DEFAULT_TAG)


def format_message(
    style: str, facility: int, severity: int, tag: str, text: bytes, *, now_s: float
) -> bytes:
    """One message without its end. The process number is ours, as dockerd's is dockerd's."""
    priority, pid = facility * 8 + severity, os.getpid()
    if style in ("rfc5424", "rfc5424micro"):
        moment = time.gmtime(now_s)
        fraction = f".{int(now_s % 1 * 1e6):06d}" if style == "rfc5424micro" else ""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", moment) + fraction + "Z"
        head = f"<{priority}>1 {stamp} {os.uname().nodename} {tag} {pid} {tag} - "
    else:
        moment = time.localtime(now_s)
        stamp = f"{time.strftime('%b', moment)} {moment.tm_mday:2d} "
        stamp += time.strftime("%H:%M:%S", moment)
        head = f"<{priority}>{stamp} {tag}[{pid}]: "
    return head.encode() + text


class SyslogForwarder:
    """Of one container. `append` never blocks; `start` needs the running loop."""

    def __init__(self, record: Record, tasks: TaskSet) -> None:
        options = dict(record.config.log_options)
        self._address = parse_address(options.get("syslog-address", ""))
        self._facility = parse_facility(options.get("syslog-facility", ""))
        self._style = options.get("syslog-format", "")
        self._tag = make_tag(options.get("tag", ""), record)
        self._tasks = tasks
        self._partial: dict[Stream, bytes] = {}
        self._queue: collections.deque[bytes] = collections.deque(maxlen=MAX_QUEUED)
        self._task: asyncio.Task[None] | None = None

    def append(self, stream: Stream, data: bytes) -> None:
        """Queue the lines that *data* completes."""
        *lines, rest = (self._partial.pop(stream, b"") + data).split(b"\n")
        while len(rest) >= MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        if rest:
            self._partial[stream] = rest
        for line in lines:
            self._put(stream, line)
        self._kick()

    def finish(self) -> None:
        """The container has ended: what has no newline is a line all the same."""
        for stream, rest in self._partial.items():
            self._put(stream, rest)
        self._partial.clear()
        self._kick()

    def _put(self, stream: Stream, line: bytes) -> None:
        for start in range(0, max(len(line), 1), MAX_LINE_BYTES):
            text = line[start : start + MAX_LINE_BYTES]
            severity = _SEVERITY.get(stream, 6)
            self._queue.append(
                format_message(
                    self._style, self._facility, severity, self._tag, text, now_s=time.time()
                )
            )

    def _kick(self) -> None:
        """Sending is a task that lives while there is something to send."""
        if self._queue and (self._task is None or self._task.done()):
            self._task = self._tasks.start(self._send_all(), "syslog")

    async def _send_all(self) -> None:
        failures = 0
        while self._queue:
            try:
                connection = await self._connect()
            except (OSError, TimeoutError) as error:
                if not failures:
                    log.warning("syslog server %s: %s, trying again", self._address.host, error)
                await asyncio.sleep(RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S) - 1)])
                failures += 1
                continue
            with contextlib.closing(connection):
                failures = 0 if await self._drain(connection) else failures + 1
            if failures:
                await asyncio.sleep(RETRY_DELAYS_S[min(failures, len(RETRY_DELAYS_S) - 1)])

    async def _drain(self, connection: socket.socket) -> bool:
        loop = asyncio.get_running_loop()
        end = b"\n" if self._address.is_stream else b""
        while self._queue:
            message = self._queue[0]
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await loop.sock_sendall(connection, message + end)
            except (OSError, TimeoutError):
                return False
            # Full meanwhile: the deque dropped it already.
            if self._queue and self._queue[0] is message:
                self._queue.popleft()
        return True

    async def _connect(self) -> socket.socket:
        loop = asyncio.get_running_loop()
        kind = socket.SOCK_STREAM if self._address.is_stream else socket.SOCK_DGRAM
        targets: list[tuple[int, object]] = [(socket.AF_UNIX, self._address.host)]
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            if self._address.kind in ("udp", "tcp"):
                ask = partial(socket.getaddrinfo, self._address.host, self._address.port, type=kind)
                found = await run_bounded(ask, CONNECT_TIMEOUT_S)
                targets = [(entry[0], entry[4]) for entry in found]
            failure: OSError = OSError("no address")
            for family, target in targets:
                connection = socket.socket(family, kind | socket.SOCK_NONBLOCK)
                try:
                    await loop.sock_connect(connection, target)  # type: ignore[arg-type]
                except OSError as error:
                    connection.close()
                    failure = error
                    continue
                except BaseException:
                    connection.close()
                    raise
                return connection
        raise failure
