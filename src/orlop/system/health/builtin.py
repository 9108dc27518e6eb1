"""What is checked whether anybody has declared it or not: engine, services, route, disk, clock."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.engine import Health
from orlop.lib.blocking import run_bounded
from orlop.system.early import RELEASE_FILE
from orlop.system.health.plan import Found, Status
from orlop.system.services.definitions import IMAGES
from orlop.system.services.overlay import FILE as OVERLAY
from orlop.system.services.state import ServiceState
from orlop.system.storage import mirror

if TYPE_CHECKING:
    from orlop.system.services.state import ServiceStatus

KIND = "built-in"
PING_S = 10.0
DISK_S = 20.0
NETWORK_S = 60.0
"""So long after the boot the network may take to give an address and the time."""
OLDEST_S = 1_735_689_600.0
"""2025: no machine with this system has an earlier time."""
YEARS_S = 20 * 365.25 * 86400
PROBE = ".health"

_RTF_UP, _RTF_REJECT = 0x1, 0x200


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the machine had before an update, and must have again after it."""

    route4: bool = False
    route6: bool = False
    clock: bool = False

    def or_now(self, other: Baseline) -> Baseline:
        """What there was at either time."""
        return Baseline(
            self.route4 or other.route4, self.route6 or other.route6, self.clock or other.clock
        )


def read_baseline() -> Baseline:
    """As it is now."""
    return Baseline(*read_routes(), clock=is_sane(time.time(), release_s()))


def read_routes(directory: str = "/proc/net") -> tuple[bool, bool]:
    """Whether there is a default route, for IPv4 and IPv6. Source: Linux 6.12 fib_trie.c,
    ipv6/route.c."""
    four = [line.split() for line in _lines(f"{directory}/route")[1:]]
    six = [line.split() for line in _lines(f"{directory}/ipv6_route")]
    return (
        any(row[1] == row[7] == "00000000" and _is_up(row[3]) for row in four if len(row) > 7),
        any(
            row[0] == "0" * 32 and row[1] == "00" and _is_up(row[8]) for row in six if len(row) > 9
        ),
    )


def _is_up(flags: str) -> bool:
    return int(flags, 16) & (_RTF_UP | _RTF_REJECT) == _RTF_UP


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="ascii", errors="replace") as stream:
            return stream.read(1 << 20).splitlines()
    except OSError:
        return []


def release_s(path: str = RELEASE_FILE) -> float:
    """When the image was made, as its files say."""
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def is_sane(now_s: float, made_s: float) -> bool:
    """Whether the clock can be right: not before the image was made, not decades later."""
    first_s = max(made_s, OLDEST_S)
    return first_s <= now_s < first_s + YEARS_S


def found(name: str, status: Status, code: str, text: str, *, required: bool = True) -> Found:
    """A built-in check's outcome."""
    return Found(name, KIND, required, status, code, text)


def compare(before: Baseline, now: Baseline, *, required: bool, up_s: float) -> list[Found]:
    """Routes and clock: what there was must be there, on a machine that has been up for *up_s*.

    A lease and the time come from others, after the boot: until `NETWORK_S` it is waited for them.
    """
    missing = Status.FAILED if up_s >= NETWORK_S else Status.WAITING
    rows = (
        ("default route (IPv4)", before.route4, now.route4, "route", "there was one before"),
        ("default route (IPv6)", before.route6, now.route6, "route", "there was one before"),
        ("clock", True, now.clock, "clock", "cannot be right: it is before the system was made"),
    )
    return [
        found(name, Status.OK, "ok", "", required=required)
        if is_there
        else found(
            name, missing, code, text, required=required and (before.clock or name != "clock")
        )
        for name, was_there, is_there, code, text in rows
        if was_there or is_there
    ]


def is_built_in(status: ServiceStatus) -> bool:
    """Whether the service is the system's and not one that somebody has added."""
    return status.source.startswith(f"{IMAGES}/") or status.source == str(OVERLAY)


_RESTING = {ServiceState.DONE, ServiceState.DISABLED, ServiceState.SKIPPED, ServiceState.STOPPED}


def judge_service(
    status: ServiceStatus, settle_s: float, now_s: float, *, must_run: bool = False
) -> tuple[Status, str, str]:
    """A service's state as the outcome of a check; with *must_run* it may not rest."""
    waits_for_its_time = status.state is ServiceState.WAITING and status.next_s > 0
    if waits_for_its_time or (status.state in _RESTING and not must_run):
        return Status.OK, "ok", ""
    if status.state is ServiceState.RUNNING:
        return _judge_running(status, settle_s, now_s)
    reason = status.reason or f"is {status.state}"
    if status.state is ServiceState.STARTING and status.restarts:
        return Status.FAILED, "restarting", reason
    if status.state in (ServiceState.STARTING, ServiceState.WAITING):
        return Status.WAITING, "starting", reason
    code = "failed" if status.state is ServiceState.FAILED else "stopped"
    return Status.FAILED, code, reason


def _judge_running(status: ServiceStatus, settle_s: float, now_s: float) -> tuple[Status, str, str]:
    if status.health is Health.UNHEALTHY:
        return Status.FAILED, "unhealthy", status.reason or "does not pass its health check"
    if status.health is Health.STARTING:
        return Status.WAITING, "starting", "has not passed its health check yet"
    if status.reason == "paused":
        return Status.FAILED, "paused", "is paused"
    ago_s = max(0.0, now_s - status.started_s)
    if status.restarts and ago_s < settle_s:
        text = f"started anew {ago_s:.0f} s ago ({status.restarts} times in all)"
        return Status.FAILED, "flapping", text
    return Status.OK, "ok", ""


async def ping(name: str, path: str) -> Found:
    """Whether the engine at the socket *path* answers. Of the answer only its first bytes count."""
    try:
        async with asyncio.timeout(PING_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=4096)
            try:
                writer.write(b"GET /_ping HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                head = await reader.read(64)
            finally:
                writer.close()
    except (OSError, TimeoutError) as error:
        text = f"{path} does not answer: {getattr(error, 'strerror', None) or 'in time'}"
        return found(name, Status.FAILED, "engine", text)
    if head.startswith(b"HTTP/1.1 200"):
        return found(name, Status.OK, "ok", "")
    return found(name, Status.FAILED, "engine", f"{path} answers with an error")


async def disk(directory: str, *, write: bool) -> Found:
    """Whether *directory* can be written to; without *write* it is only asked whether it could."""
    name = f"{directory} writable"
    try:
        await run_bounded(lambda: _probe(directory, write), DISK_S)
    except TimeoutError:
        return found(name, Status.FAILED, "disk", f"no answer within {DISK_S:.0f} s: a disk hangs")
    except OSError as error:
        return found(name, Status.FAILED, "disk", f"{directory}: {error.strerror}")
    return found(name, Status.OK, "ok", "")


def mirrored(state_device: str) -> list[Found]:
    """Whether the mirror that the state is on, if it is on one, has both its halves.

    No update made it so, or mends it: nothing waits for it.
    """
    on = mirror.of_state(state_device)
    if on is None:
        return []
    status, code = (Status.FAILED, "mirror") if on.problem else (Status.OK, "ok")
    return [found("mirror of the state", status, code, on.problem, required=False)]


def _probe(directory: str, write: bool) -> None:
    if os.statvfs(directory).f_flag & os.ST_RDONLY:
        raise OSError(30, "is read-only")
    if not write:
        return
    path = f"{directory}/{PROBE}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    try:
        os.write(descriptor, b"x" * 4096)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
        os.unlink(path)
