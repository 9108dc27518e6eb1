"""Services replaced while the machine goes on: one after the other, all of them or none.

Each in the order of dependencies: its container is ended (or, where the release says so, goes on
beside the new one until that is up), its data is copied aside if its format changes, and it is
started from the image and the definition of the release, which were brought when that was staged.
Then the machine's health decides. What is red is undone in reverse order; that needs no network.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, NotFound, OrlopError, ResourceExhausted, Unavailable
from orlop.system.health.builtin import read_baseline
from orlop.system.health.plan import Verdict, of_release
from orlop.system.services.data import ServiceData
from orlop.system.services.ordering import order
from orlop.system.services.state import ServiceState
from orlop.system.updates import service_changes, staging
from orlop.system.updates.journal import Status
from orlop.system.updates.service_changes import HEALTH, SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orlop.system.boot import Boot
    from orlop.system.health.builtin import Baseline
    from orlop.system.services.overlay import ServiceVersion
    from orlop.system.updates.generations import Generation
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json, ServiceDefinition

log = logging.getLogger(__name__)

OLD = ".before"
"""Behind the name of a container that goes on beside the new one."""
UP_S = 120.0
"""For a service that is started beside the old one to be up."""
AGAIN_S = 10.0
"""How often what cannot be put back is tried again."""
_DOWN = (ServiceState.FAILED, ServiceState.STARTING)
"""Of a service that could not be put back, or whose data could not."""
_IDLE = (ServiceState.STOPPED, ServiceState.DISABLED, ServiceState.SKIPPED)


class Ended(Exception):
    """The machine goes down meanwhile: its next boot takes back what has been done."""


class ServiceUpdate:
    """From the services of *before*, which run, to those of *target*, which has the same image."""

    def __init__(self, boot: Boot, ledger: Ledger, before: Generation, target: Generation) -> None:
        self._boot, self._ledger = boot, ledger
        self._before, self._target = before, target
        self._data = ServiceData(boot, ledger.directory)
        self._idle: set[str] = set()

    def changed(self) -> list[str]:
        """The services that are not the same in both, in the order in which they are replaced."""
        old, new = self._before.services, self._target.services
        names = {name for name in {*old, *new} if old.get(name) != new.get(name)}
        services = self._boot.services
        known = {name: services.definition(name) for name in services.names()}
        return in_order(names, known)

    async def check(self) -> None:
        """Raises OrlopError: it would not work."""
        needs = {n: _epoch(self._target.services, n) for n in self.changed()}
        await self._data.check_room(needs)

    async def run(self, verb: str, *, watched: bool, more: Mapping[str, Json]) -> None:
        """Replace them; *watched*: and see whether the machine is good with them.

        Raises:
            OrlopError, OSError: why not; all services are as they were.
            Ended: the machine goes down.
        """
        await self.check()
        await asyncio.to_thread(self._check_disk)
        names = self.changed()
        statuses = {s.name: s.state for s in self._boot.services.statuses()}
        self._idle = {name for name in names if statuses.get(name) in _IDLE}
        baseline = await asyncio.to_thread(read_baseline)
        change = await asyncio.to_thread(
            service_changes.begin,
            self._ledger,
            verb,
            self._before,
            self._target,
            names,
            {**more, "baseline": asdict(baseline)},
        )
        number = change.number
        try:
            for name in names:
                await self._set(number, f"{SERVICE}{name}", Status.DOING)
                await self._put(name, self._target.services.get(name))
                await self._set(number, f"{SERVICE}{name}", Status.DONE)
            if watched:
                await self._set(number, HEALTH, Status.DOING)
                await self._judge(baseline)
            await asyncio.to_thread(service_changes.finish, self._ledger, number)
        except Exception as error:
            if isinstance(error, Ended) or self._boot.power.requested is not None:
                raise Ended from error
            await self._undo(number, error)
            raise

    async def _undo(self, number: int, error: Exception) -> None:
        """In reverse order. What cannot be undone now is tried again, also by the next boot."""
        log.warning("services are put back: %s", error)
        change, failed = self._ledger.journal.changes[number], ""
        for name in reversed(service_changes.names(change)):
            if change.tasks[f"{SERVICE}{name}"] is Status.DO:
                continue
            with suppress(OSError):  # a full disk: it is put back all the same
                await self._set(number, f"{SERVICE}{name}", Status.UNDOING)
            try:
                await self._put(name, self._before.services.get(name))
            except (OrlopError, OSError) as failure:
                failed += f"; service {name} cannot be put back: {failure}"
                self._boot.tasks.start(self._put_back_later(name), f"put back {name}")

        def work() -> None:
            # A full disk is not the release's fault.
            is_bad = isinstance(error, OrlopError) and not failed and not self._is_full()
            service_changes.undone(self._ledger, number, f"{error}{failed}", is_bad=is_bad)

        await asyncio.to_thread(work)

    def _check_disk(self) -> None:
        """Raises ResourceExhausted: there may be no room for the container of a service. Blocks."""
        staging.check_space(self._ledger.directory, 0, "the state partition")

    def _is_full(self) -> bool:
        try:
            self._check_disk()
        except ResourceExhausted:
            return True
        return False

    async def _put_back_later(self, name: str) -> None:
        """As soon as the disk, for example, has room again."""
        updates, good = self._boot.updates.now, self._before
        while self._boot.power.requested is None:
            await asyncio.sleep(AGAIN_S)
            try:
                with updates.doing("put services back"):
                    standing = await asyncio.to_thread(self._ledger.generations.standing)
                    states = {s.name: s.state for s in self._boot.services.statuses()}
                    if standing.good == good.number and states.get(name) in _DOWN:
                        await self._put(name, good.services.get(name))
            except (OrlopError, OSError) as error:
                log.info("service %s is not put back yet: %s", name, error)
            else:
                return

    async def _set(self, number: int, task: str, status: Status) -> None:
        if self._boot.power.requested is not None:
            raise Ended
        await asyncio.to_thread(self._ledger.journal.set_task, number, task, status)

    async def _put(self, name: str, version: ServiceVersion | None) -> None:
        """Let *version* of service *name* be what there is, and run if it ran before."""
        boot, services = self._boot, self._boot.services
        known, runs = name in services.names(), name not in self._idle
        epoch = 0 if version is None else version.epoch
        beside = (
            known
            and runs
            and version is not None
            and version.handover
            and epoch == boot.images.overlay.epoch(name)
        )
        if beside:
            await self._set_aside(name)
        elif known:
            await services.hold(name) if runs else None
        boot.images.overlay.set(name, version)
        boot.define_services()
        if name not in services.names():
            await self._forget(name)
            return
        if version is not None and version.digest:
            self._refuse_without_image(name)
        if not runs:
            await self._data.bring(name, epoch)
            return
        try:
            if not beside:
                await self._data.bring(name, epoch)
            await services.start_again(name)
            if beside:
                await self._until_up(name, services.definition(name))
        finally:
            if beside:
                await self._forget(f"{name}{OLD}")

    def _refuse_without_image(self, name: str) -> None:
        """Raises Unavailable: what runs would be that of the system."""
        from orlop.system.services.overlay import is_reference

        if not is_reference(self._boot.services.definition(name).image):
            raise Unavailable(f"the image of service {name} is not there")

    async def _set_aside(self, name: str) -> None:
        """The container of *name* goes on with another name."""
        await self._forget(f"{name}{OLD}")
        with suppress(NotFound):
            await self._boot.engine.rename_container(name, f"{name}{OLD}")

    async def _forget(self, container: str) -> None:
        engine = self._boot.engine
        with suppress(OrlopError):
            await engine.stop_container(container)
        with suppress(NotFound):
            await engine.remove_container(container, force=True, volumes=True)

    async def _until_up(self, name: str, definition: ServiceDefinition) -> None:
        """Raises Conflict: the new one does not come up beside the old one."""
        healthy = definition.healthcheck is not None
        try:
            async with asyncio.timeout(UP_S):
                await self._boot.engine.wait_started(name, healthy=healthy)
        except TimeoutError:
            raise Conflict(f"service {name} is not up after {UP_S:g} s") from None

    async def _judge(self, baseline: Baseline) -> None:
        """Raises Conflict: the machine is not good with them."""
        checks = of_release(self._target.release.health)
        health = self._boot.health.now
        watching = asyncio.ensure_future(health.watch(before=baseline, more=checks))
        ending = asyncio.ensure_future(self._boot.power.request_made.wait())
        try:
            await asyncio.wait((watching, ending), return_when=asyncio.FIRST_COMPLETED)
            if not watching.done():
                raise Ended
            report = watching.result()
        finally:
            watching.cancel()
            ending.cancel()
        if report.verdict is not Verdict.GREEN:
            raise Conflict(f"the machine is not good with it ({report.code}): {report.text}")


async def forget_interrupted(boot: Boot, names: Iterable[str]) -> None:
    """After a re-execution: the containers of services whose replacement was interrupted go, so
    that the services of the good generation are started in their place."""
    for name in names:
        for container in (name, f"{name}{OLD}"):
            with suppress(NotFound):
                await boot.engine.remove_container(container, force=True)


def in_order(names: Iterable[str], known: Mapping[str, ServiceDefinition]) -> list[str]:
    """*names*, each behind those of them that it waits for; pure."""
    wanted, waits = sorted(names), order(known).waits
    found: list[str] = []
    visited: set[str] = set()

    def visit(name: str) -> None:
        if name in visited:
            return
        visited.add(name)
        for dependency in waits.get(name, ()):
            visit(dependency.service)
        if name in wanted:
            found.append(name)

    for name in wanted:
        visit(name)
    return found


def _epoch(services: Mapping[str, ServiceVersion], name: str) -> int:
    version = services.get(name)
    return 0 if version is None else version.epoch
