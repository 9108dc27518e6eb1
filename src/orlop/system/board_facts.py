"""What the status board shows, collected: the status, the load, the last messages, the host key."""

from __future__ import annotations

import binascii
import os
import time
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.system import status
from orlop.system.board import Facts
from orlop.wire.syslog_line import parse_line

if TYPE_CHECKING:
    from orlop.system.config.configuration import Configuration
    from orlop.system.machine import Machine
    from orlop.system.services.services import Services

LOG_PATH = "/var/log/orlop/messages"
LOG_BYTES = 12 << 10
"""Of its end: some more than a large screen shows."""
HOST_KEY = "/var/lib/orlop/ssh/ssh_host_ed25519_key.pub"
FIRST = "tty1"
READ_LIMIT_S = 2.0
WARNING = 4


def terminals(configuration: Configuration) -> list[str]:
    """The terminals that show the board."""
    value = configuration.get("orlop.console_board")
    return [str(name) for name in value] if isinstance(value, list) else [FIRST]


class Board:
    """What there is to show. Files are read in a thread of which there is never more than one: if
    a disk hangs, the board shows what it last had, and goes on."""

    def __init__(self, machine: Machine, services: Services) -> None:
        self._machine, self._services = machine, services
        self._read: tuple[list[tuple[str, bool]], str] = ([], "")
        self._reads = False

    async def facts(self) -> Facts:
        """What is so now."""
        if not self._reads:
            self._reads = True
            try:
                await run_bounded(self._read_files, READ_LIMIT_S)
            except TimeoutError:
                pass
        messages, key = self._read
        return Facts(
            status=status.machine_status(self._machine, self._services),
            load=" ".join(f"{value:.2f}" for value in os.getloadavg()),
            now=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            fingerprint=key,
            messages=messages,
        )

    def _read_files(self) -> None:
        try:
            self._read = (last_messages(), fingerprint())
        finally:
            self._reads = False


def last_messages(path: str = LOG_PATH) -> list[tuple[str, bool]]:
    """The end of the system's log: each line, and whether it is a warning or graver. May block."""
    try:
        with open(path, "rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(max(size - LOG_BYTES, 0))
            text = stream.read(LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    whole = text.splitlines()[1 if size > LOG_BYTES else 0 :]
    return [_message(line) for line in whole]


def _message(line: str) -> tuple[str, bool]:
    entry = parse_line(line)
    if entry is None:
        return line, False
    source = entry["container"] or entry["program"]
    moment = str(entry["time"])[11:19]
    return f"{moment} {source}: {entry['message']}", int(str(entry["level"])) <= WARNING


def fingerprint(path: str = HOST_KEY) -> str:
    """Of the machine's host key, as ssh shows it; empty until there is one."""
    try:
        with open(path, "rb") as stream:
            kind, blob, *_ = stream.read(4096).split()
        key = binascii.a2b_base64(blob, strict_mode=True)
    except (OSError, ValueError):
        return ""
    if not key.startswith(len(kind).to_bytes(4) + kind):
        return ""
    digest = sha256(key).digest()
    return "SHA256:" + binascii.b2a_base64(digest, newline=False).decode().rstrip("=")
