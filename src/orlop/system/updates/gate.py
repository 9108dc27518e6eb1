"""What is in the way of a reboot for an update, and what is done before one.

It may be if it is in a window AND the lock is granted AND no container inhibits it AND it is not
held. All but the lock is asked first, and again when the lock is there: if the window has closed
meanwhile the lock goes back. Then containers are told to get ready, in bounded time.

The lock is given back by a machine that works, and by no other: one that came back from an update
keeps its slot and says so, so that an update that does not work stops by itself. What is held is on
the disk before it is asked for.
"""

from __future__ import annotations

import asyncio
import logging
import shlex
import time
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, Forbidden, OrlopError
from orlop.lib.units import parse_duration_s
from orlop.system import time_zone
from orlop.system.config.configuration import as_list, as_map
from orlop.system.config.store import boot_id
from orlop.system.health.keeper import ENGINE, USER_SOCKET
from orlop.system.health.plan import Verdict
from orlop.system.services.state import ServiceState, in_utc
from orlop.system.updates import fleetlock, held_lock, windows
from orlop.system.updates.held_lock import Held

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from datetime import tzinfo

    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

DIRECTORY = "/var/lib/orlop/os"
PENDING = "pending"
"""There while an update is on trial, or is to be."""

INHIBIT, PRE_REBOOT = "org.orlop.inhibit", "org.orlop.pre-reboot"
DRAIN_S = 300.0
SESSIONS_S = 60.0
"""How long who is logged in has, to save what they are at."""
SESSIONS = ("console", "ssh")
ASK_S = 20.0
PAUSE_S = 30.0
LOOK_S = 5.0
_WALL = (
    'n=0; for t in /dev/pts/[0-9]*; do [ -c "$t" ] || continue; '
    'echo "$0" > "$t" && n=1; done 2>/dev/null; exit $((1 - n))'
)


class Gate:
    """For the machine of *boot*."""

    def __init__(self, boot: Boot, directory: str = DIRECTORY) -> None:
        self._boot = boot
        self._directory = Path(directory)
        self._renewing: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._inhibitors: list[str] = []
        """Reasons of people who are at something; there as long as they are connected."""
        self._is_going = False
        """Somebody is through, and a reboot follows."""
        self._line = asyncio.Lock()
        """One request at a time: a renewal that comes after the return would take a slot again."""

    async def why(self, held: Callable[[], str] = str) -> str:
        """The first thing in the way, without asking for the lock; empty if there is none.

        *held* says why the machine is held, empty if it is not.
        """
        if text := await asyncio.to_thread(held):
            return text
        now_s, zone = time.time(), self._zone()
        found = windows.parse(self._boot.config.current.get("orlop.update.windows"))
        if not windows.is_open(found, now_s, zone):
            opens_s = windows.next_open(found, now_s, zone)
            return f"no update window is open; the next one opens at {in_utc(opens_s)}"
        if self._inhibitors:
            text = self._inhibitors[0]
            return "somebody inhibits it" + (f": {text}" if text else "")
        try:
            inhibitors = await self._labelled(INHIBIT)
        except Forbidden as error:
            return str(error)
        for name, labels in inhibitors:
            reason = labels.get(INHIBIT)
            return f"container {name} inhibits it" + (f": {reason}" if reason else "")
        return ""

    @contextmanager
    def inhibition(self, reason: str) -> Iterator[None]:
        """Nothing goes through it during the block.

        Raises:
            Conflict: something has gone through it: it is too late.
        """
        if self._is_going:
            raise Conflict("the machine is about to reboot")
        self._inhibitors.append(reason)
        try:
            yield
        finally:
            self._inhibitors.remove(reason)

    @asynccontextmanager
    async def entered(
        self, purpose: str, held: Callable[[], str] = str, to: str = "", *, reboots: bool = True
    ) -> AsyncIterator[None]:
        """For who makes the machine reboot, for *purpose* (`update` or `reboot`), in the block, or
        leaves that to somebody else (not *reboots*). If the block fails nothing has become of it.

        Raises:
            Forbidden: with the one reason why it may not.
        """
        async with self._lock:
            await self._refuse(held)
            before = await self._known()
            where = fleetlock.server(self._boot.config.current)
            if where.url:
                await self._take(where, purpose, to, before)
            try:
                await self._refuse(held)
                await self._drain()
                await self._refuse(held)
                self._is_going = reboots
                await asyncio.to_thread(held_lock.note_going, self._directory)
                yield
            except BaseException:
                self._is_going = False
                await self._back_to(before)
                raise

    async def _refuse(self, held: Callable[[], str]) -> None:
        if text := await self.why(held):
            raise Forbidden(text)

    def _zone(self) -> tzinfo:
        name = str(self._boot.config.current.get("timezone") or "") or time_zone.DEFAULT
        try:
            return time_zone.clock(name)
        except OrlopError as error:
            log.warning("%s: windows are in UTC", error)
            return time_zone.clock(time_zone.DEFAULT)

    # The lock.

    async def _known(self) -> Held | None:
        """What is held, without waiting for the disk in the loop."""
        return await asyncio.to_thread(held_lock.read, self._directory)

    async def _take(
        self, where: fleetlock.Server, purpose: str, to: str, before: Held | None
    ) -> None:
        build = self._boot.machine.release.get("build", "")
        asked = Held(purpose, boot_id(), build, to)
        await asyncio.to_thread(held_lock.write, self._directory, asked)
        try:
            async with self._line:
                await self._send(where, fleetlock.PRE_REBOOT, asked, "apply")
        except fleetlock.Refused as error:
            # What was held before is still: by a machine that did not become good.
            await asyncio.to_thread(held_lock.write, self._directory, before)
            raise Forbidden(f"the reboot lock is not granted: {error}") from None
        except (OrlopError, OSError, ValueError) as error:
            await self._back_to(before)  # it may have been granted
            raise Forbidden(f"the reboot lock cannot be asked for: {error}") from None
        self._begin_renewing(asked, fleetlock.LEASE_S / 3)

    async def _back_to(self, before: Held | None) -> None:
        """Nothing has become of it: as it was, which for a machine that works is without a lock."""
        if before is not None and before.bad:
            await asyncio.to_thread(held_lock.write, self._directory, before)
            self._begin_renewing(before)
        else:
            await self.became_good()

    async def _send(
        self, where: fleetlock.Server, path: str, lock: Held, phase: str, result: str = ""
    ) -> None:
        own = await asyncio.to_thread(fleetlock.own_id, self._directory)
        more: dict[str, Json] = {
            "lease_s": fleetlock.LEASE_S,
            "phase": phase,
            "from": lock.build,
            "to": lock.to,
            "result": result,
        }
        await fleetlock.send(self._boot.children, where, path, own, more)

    async def _give_back(self) -> bool:
        """Whether there is nothing to be given back any more; if there is, try again later."""
        lock = await self._known()
        if lock is not None and not lock.good:
            return True  # it is another one by now
        where = fleetlock.server(self._boot.config.current)
        if lock is not None and where.url:
            try:
                async with self._line:
                    await self._send(where, fleetlock.STEADY_STATE, lock, "steady", "good")
            except (OrlopError, OSError, ValueError) as error:
                log.warning("the reboot lock is not given back yet: %s", error)
                return False
        if lock is not None:
            await asyncio.to_thread(held_lock.write, self._directory, None)
        if self._renewing is not None and self._renewing is not asyncio.current_task():
            self._renewing.cancel()
            self._renewing = None
        return True

    async def became_good(self) -> None:
        """The machine works, with its update or without one: others may go on."""
        lock = await self._known()
        if lock is None:
            return
        await asyncio.to_thread(held_lock.write, self._directory, lock.as_good())
        if not await self._give_back():
            self._boot.tasks.start(self._keep_giving_back(), "reboot lock")

    async def _keep_giving_back(self) -> None:
        while not await self._give_back():
            await asyncio.sleep(PAUSE_S)

    async def became_bad(self, text: str) -> None:
        """It does not: its slot stays taken until a later update works, or a person frees it."""
        lock = await self._known()
        if lock is None or lock.bad:
            return
        bad = lock.as_bad(text)
        await asyncio.to_thread(held_lock.write, self._directory, bad)
        self._boot.machine.warn(f"the reboot lock is kept: {bad.bad}")
        self._begin_renewing(bad)

    def _begin_renewing(self, lock: Held, after_s: float = 0.0) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
        self._renewing = self._boot.tasks.start(self._renew(lock, after_s), "reboot lock")

    async def _renew(self, lock: Held, after_s: float) -> None:
        """Say that the machine is there, or once that it has failed."""
        await asyncio.sleep(after_s)
        phase = "failed" if lock.bad else "trial"
        while True:
            where = fleetlock.server(self._boot.config.current)
            pause_s = fleetlock.LEASE_S / 3
            try:
                async with self._line:
                    known = await self._known()
                    if not where.url or known is None or known.good:
                        return
                    await self._send(where, fleetlock.PRE_REBOOT, lock, phase, lock.bad)
                if lock.bad:
                    return
            except (OrlopError, OSError, ValueError) as error:
                log.warning("the reboot lock: %s", error)
                pause_s = PAUSE_S
            await asyncio.sleep(pause_s)

    async def follow(self) -> None:
        """After a boot: what becomes of a lock that an earlier one has taken."""
        lock = await self._known()
        if lock is None or lock.good:
            await self._keep_giving_back()
            return
        if lock.boot == boot_id():
            if self._lock.locked() or self._renewing is not None:
                return  # this program has taken it before it came here
            # PID 1 was executed anew: what had not come to its reboot never will.
            if lock.going:
                self._begin_renewing(lock)
            else:
                await self.became_good()
            return
        self._begin_renewing(lock)
        if lock.bad:
            return
        while await asyncio.to_thread((self._directory / PENDING).exists):
            await asyncio.sleep(LOOK_S)
        lock = await self._known()
        if lock is None or lock.bad or lock.good:
            return  # whoever ended the trial has said so
        build = self._boot.machine.release.get("build", "")
        if lock.purpose == "update" and lock.going and lock.build == build:
            await self.became_bad("the update was taken back")
            return
        report = await self._boot.health.now.watch()
        if report.verdict is Verdict.GREEN:
            await self.became_good()
        else:
            await self.became_bad(report.text)

    # Containers and people.

    async def _labelled(self, label: str) -> list[tuple[str, dict[str, str]]]:
        """Running containers with *label*: the system's as `name`, the user's as `user/name`.

        Raises:
            Forbidden: the user's engine does not say.
        """
        services = self._boot.services
        found = [
            (name, dict(services.definition(name).labels))
            for name in services.names()
            if label in dict(services.definition(name).labels)
            and services.status(name).state is ServiceState.RUNNING
        ]
        if ENGINE not in services.names():
            return found
        if services.status(ENGINE).state is not ServiceState.RUNNING:
            return found
        request: dict[str, Json] = {
            "action": "containers",
            "socket": USER_SOCKET,
            "labels": [label],
            "timeout_s": ASK_S,
        }
        try:
            answer = await fleetlock.ask_worker(self._boot.children, request, ASK_S)
        except (OrlopError, OSError, ValueError) as error:
            raise Forbidden(f"containers cannot be asked about: {error}") from None
        for item in map(as_map, as_list(answer.get("containers"))):
            labels = {k: str(v) for k, v in as_map(item.get("labels")).items()}
            found.append((f"user/{item.get('name')}", labels))
        return found

    async def _drain(self) -> None:
        """Run what containers want before a reboot, and warn who is logged in."""
        value = self._boot.config.current.get("orlop.update.drain")
        limit_s = parse_duration_s(value) if isinstance(value, str) else DRAIN_S
        if not limit_s:
            return
        tasks = [self._warn_sessions(limit_s)]
        tasks += [
            self._make_ready(name, labels[PRE_REBOOT], limit_s)
            for name, labels in await self._labelled(PRE_REBOOT)
        ]
        await asyncio.gather(*tasks)

    async def _make_ready(self, name: str, command: str, limit_s: float) -> None:
        """What it makes of it is its own affair: the reboot goes on."""
        from orlop.system.health.plan import Check

        realm, _, target = name.rpartition("/")
        try:
            words = tuple(shlex.split(command))
        except ValueError:
            words = ()
        if not words:
            log.warning("container %s: the label %s has no command", name, PRE_REBOOT)
            return
        check = Check(
            name, "exec", target, False, words, "user" if realm else "system", timeout_s=limit_s
        )
        (found,) = await self._boot.health.now.run((check,))
        if found.text:
            log.warning("before the reboot: container %s: %s", name, found.text)

    async def _warn_sessions(self, limit_s: float) -> None:
        wait_s = min(limit_s, SESSIONS_S)
        text = f"The machine reboots for an update in {wait_s:.0f} s."
        is_anybody = False
        for name in SESSIONS:
            try:
                status, _ = await self._boot.engine.exec_run(
                    name, ["/bin/sh", "-c", _WALL, text], timeout_s=ASK_S
                )
            except (OrlopError, OSError):
                continue
            is_anybody = is_anybody or status == 0
        if is_anybody:
            await asyncio.sleep(wait_s)
