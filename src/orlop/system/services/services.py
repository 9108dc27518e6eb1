"""The system's services: when each starts, what it waits for, what became of it.

Each service has one task that brings it up: it waits for what the service depends on, checks its
conditions, and asks the engine to start it, again with growing delays while the engine cannot. From
then on the engine restarts it by its own policy; this module only listens.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from orlop.engine.container.config import SERVICE_LABEL
from orlop.engine.engine import ContainerInfo, Health, State
from orlop.engine.tasks import TaskSet
from orlop.lib.errors import NotFound, NotModified, OrlopError
from orlop.system.services.definitions import IMAGES
from orlop.system.services.end import end_in_order
from orlop.system.services.ordering import order
from orlop.system.services.start import start
from orlop.system.services.state import Service, ServiceState, ServiceStatus, describe, in_utc
from orlop.system.services.waits import until_met
from orlop.wire.compose_model import ConfigDelivery

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from orlop.system.services.state import ContainerEngine, Provider
    from orlop.system.services.waits import Online
    from orlop.wire.compose_model import Dependency, ServiceDefinition

log = logging.getLogger(__name__)

__all__ = ["ServiceState", "ServiceStatus", "Services"]

START_DELAYS_S = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
"""Waits between attempts while the engine cannot start a service; the last one repeats."""


class Services:
    """All services of the machine.

    *may_start* tells why a service is not to be started (empty: it is); *prepare* makes its files.
    *report* is told the name and the new state of a service whenever one changes. *provide* makes
    the image of a service be there, or raises; None: all are. *zone* is the machine's time zone.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        *,
        may_start: Callable[[ServiceDefinition], tuple[ServiceState, str] | None],
        prepare: Callable[[ServiceDefinition], object],
        report: Callable[[str, ServiceState], None],
        online: Online | None = None,
        provide: Provider | None = None,
        zone: Callable[[], str] = str,
        delays_s: tuple[float, ...] = START_DELAYS_S,
    ) -> None:
        self._engine, self._online = engine, online
        self._provide, self._zone = provide, zone
        self._may_start, self._prepare, self._report = may_start, prepare, report
        self._delays_s = delays_s
        self._services: dict[str, Service] = {}
        self._refused: frozenset[str] = frozenset()
        self._tasks = TaskSet()
        self.stopping = False

    def define(
        self, definitions: Mapping[str, ServiceDefinition], sources: Mapping[str, str]
    ) -> list[str]:
        """Set or replace what there is to run; returns what cannot start, in words."""
        graph = order(definitions)
        fixed = {n for n in self._refused if n not in graph.refused}
        self._refused = frozenset(graph.refused)
        services: dict[str, Service] = {}
        for name, definition in definitions.items():
            known = self._services.get(name)
            service = known if known is not None else Service(definition, "")
            if not service.up.is_set() and (service.definition != definition or name in fixed):
                self._cancel(service)
                self._change(service, ServiceState.WAITING)
            service.definition, service.source = definition, sources.get(name, "")
            service.waits = graph.waits.get(name, ())
            if name in graph.refused and not service.up.is_set():
                self._settle(service, ServiceState.FAILED, graph.refused[name])
            services[name] = service
        self._services = services
        return [f"service {name} {reason}" for name, reason in graph.refused.items()]

    def watch(self) -> None:
        """Begin to listen to the engine."""
        self._tasks.start(self._listen(), "service events")

    def start_all(self) -> None:
        """Bring up every service as soon as it can be."""
        for service in self._services.values():
            at_work = service.task is not None and not service.task.done()
            if service.state is ServiceState.WAITING and not at_work:
                self._bring_up(service)

    def bring_up(self, names: Iterable[str]) -> None:
        """Start *names*, enabled or not, when what they depend on is there."""
        for service in (services := [self._find(name) for name in names]):
            service.asked = True
            service.attempted.clear()
            self._change(service, ServiceState.WAITING)
        for service in services:
            self._bring_up(service)

    async def retire(self, name: str) -> None:
        """End *name* if it is not to run, whoever has asked for it."""
        service = self._find(name)
        service.asked = False
        refusal = self._may_start(service.definition)
        if refusal is not None:
            await self._disable(service, *refusal)

    def is_outdated(self, name: str) -> bool:
        """Whether *name* was started by another definition than it has now."""
        service = self._find(name)
        ended = service.state in (ServiceState.STOPPED, ServiceState.DISABLED)
        return (
            service.up.is_set() and not ended and service.started not in (None, service.definition)
        )

    def adopt(self) -> None:
        """Take over the containers that are there already: after a re-execution.

        Nothing is started that has run before, whatever its dependencies do by now.
        """
        for name, service in self._services.items():
            info = self._info(name)
            if service.definition.schedule:
                continue  # its times are followed from now on
            if info is not None and info.state is not State.CREATED:
                self._settle(service, ServiceState.RUNNING)
                service.up.set()
                service.started = service.definition
                service.asked = info.pid > 0 and self._may_start(service.definition) is not None

    def mark_stopped(self, names: Iterable[str]) -> None:
        """Leave *names* stopped: a person wanted that before the re-execution."""
        for name in names:
            if (service := self._services.get(name)) is not None:
                self._settle(service, ServiceState.STOPPED, "stopped on request")

    async def settled(self) -> None:
        """Wait until every service has been started or has failed to, once."""
        await asyncio.gather(*(service.attempted.wait() for service in self._services.values()))

    async def wait_up(self, name: str) -> None:
        """Wait until service *name* has been started; for ever if it never is.

        Raises:
            NotFound: there is no such service.
        """
        await self._find(name).up.wait()

    def names(self) -> list[str]:
        return list(self._services)

    def definition(self, name: str) -> ServiceDefinition:
        return self._find(name).definition

    def status(self, name: str) -> ServiceStatus:
        """What there is to say about service *name*.

        Raises:
            NotFound: there is no such service.
        """
        service = self._find(name)
        info = self._info(name)
        state, reason = service.state, service.reason
        settled = state in (ServiceState.RUNNING, ServiceState.DONE)
        if info is not None and (settled or (service.next_s and state is ServiceState.WAITING)):
            state, reason = describe(info)
            if state is service.state is ServiceState.RUNNING:
                reason = reason or service.reason
        if service.next_s and state not in (ServiceState.RUNNING, ServiceState.STARTING):
            reason = f"{reason}; next run {in_utc(service.next_s)}".removeprefix("; ")
        return ServiceStatus(
            name=name,
            state=state,
            reason=reason,
            health=Health.NONE if info is None else info.health,
            pid=0 if info is None else info.pid,
            restarts=0 if info is None else info.restart_count,
            started_s=0.0 if info is None else info.started_ns / 1e9,
            depends_on=tuple(d.service for d in service.definition.depends_on),
            source=service.source,
            next_s=service.next_s,
        )

    def statuses(self) -> list[ServiceStatus]:
        return [self.status(name) for name in self._services]

    async def start(self, name: str) -> None:
        """Start *name* now, whatever its conditions, and wait for the outcome.

        Raises:
            NotFound; NotModified: it runs; OrlopError: why the engine could not.
        """
        service = self._find(name)
        info = self._info(name)
        if info is not None and info.state is State.RUNNING:
            raise NotModified(f"service {name} runs already")
        self._cancel(service)
        service.asked = True
        await self._start_now(service)

    async def remove(self, name: str) -> None:
        """End *name*, and forget it with its container.

        Raises:
            NotFound: there is no such service. OrlopError: its container does not go.
        """
        self._cancel(self._find(name))
        with suppress(NotFound, NotModified):
            await self._engine.stop_container(name)
        with suppress(NotFound):
            await self._engine.remove_container(name, force=True, volumes=True)
        self._services.pop(name, None)

    async def stop(self, name: str) -> None:
        """Stop *name* and leave it stopped until it is started again or the machine boots.

        Raises:
            NotFound; NotModified: it does not run.
        """
        service = self._find(name)
        self._cancel(service)
        self._change(service, ServiceState.STOPPED, "stopped on request")
        service.attempted.set()
        try:
            await self._engine.stop_container(name)
        except NotFound as error:
            raise NotModified(f"service {name} does not run") from error

    async def restart(self, name: str) -> None:
        """Stop if it runs, then start."""
        with suppress(NotModified):
            await self.stop(name)
        await self._start_now(self._find(name))

    async def hold(self, name: str) -> None:
        """End the container of *name*, which is replaced: see `start_again`.

        Not as `stop` does: nobody wants it to be stopped after a re-execution.
        """
        service = self._find(name)
        self._cancel(service)
        self._change(service, ServiceState.STARTING, "is being replaced")
        with suppress(NotFound, NotModified):
            await self._engine.stop_container(name)

    async def start_again(self, name: str) -> None:
        """Start *name* as it is described now, in the place of its container.

        Raises:
            OrlopError, OSError: it cannot be started.
        """
        service = self._find(name)
        self._cancel(service)
        await self._start_now(service)

    def refuse(self, name: str, reason: str) -> None:
        """Do not start *name* at this boot."""
        if (service := self._services.get(name)) is not None:
            self._settle(service, ServiceState.FAILED, reason)

    async def signal(self, name: str, signal: str) -> bool:
        """Send *signal* to service *name*; False if it does not run or does not exist.

        It is not started again after that: the signal is to be its last.
        """
        try:
            await self._engine.kill_container(name, signal)
        except OrlopError as error:
            log.debug("no %s for service %s: %s", signal, name, error)
            return False
        return True

    async def configuration_changed(self, changed: Iterable[str]) -> None:
        """Act on new configuration files of services *changed*; start what may start by now."""
        for name in changed:
            service = self._services.get(name)
            if service is None or service.state is not ServiceState.RUNNING:
                continue
            try:
                if service.definition.config is ConfigDelivery.RELOAD:
                    await self._engine.kill_container(name, "SIGHUP", last=False)
                elif service.definition.config is ConfigDelivery.RESTART:
                    await self.restart(name)
            except OrlopError as error:
                log.warning("cannot tell service %s its configuration: %s", name, error)
        idle = (ServiceState.SKIPPED, ServiceState.DISABLED)
        for name, service in self._services.items():
            refusal = self._may_start(service.definition)
            if service.state in idle and refusal is None:
                self._bring_up(service)
            elif (
                service.state is ServiceState.RUNNING
                and refusal is not None
                and refusal[0] is ServiceState.DISABLED
                and not service.asked
            ):
                self._tasks.start(self._disable(service, *refusal), f"disable {name}")

    async def stop_all(self, force: asyncio.Event) -> None:
        """Stop every service, each after those that depend on it, in parallel where possible.

        Ends early when *force* is set; the caller kills what is left then.
        """
        self.stopping = True
        for service in self._services.values():
            self._cancel(service)
        definitions = {name: service.definition for name, service in self._services.items()}
        await end_in_order(self._engine, definitions, force)

    async def close(self) -> None:
        """Stop watching; containers go on."""
        await self._tasks.close()

    # What follows is the life of one service.

    def _bring_up(self, service: Service) -> None:
        self._cancel(service)
        name = service.definition.name
        service.task = self._tasks.start(self._bring_up_task(service), f"service {name}")

    def _cancel(self, service: Service) -> None:
        if service.task is not None and service.task is not asyncio.current_task():
            service.task.cancel()
        service.task, service.next_s = None, 0.0

    async def _bring_up_task(self, service: Service) -> None:
        """Whatever goes wrong here, other services do not wait for it, and `status` shows it."""
        try:
            await self._start_when_possible(service)
        except Exception as error:
            log.exception("a fault of Orlop's own keeps %s from starting", service.definition.name)
            self._settle(service, ServiceState.FAILED, str(error) or repr(error))

    async def _start_when_possible(self, service: Service) -> None:
        name = service.definition.name
        refusal = self._may_start(service.definition)
        if refusal is not None and not (service.asked and refusal[0] is ServiceState.DISABLED):
            self._settle(service, *refusal)
            return
        for dependency in service.waits:
            reason = await self._wait_for(service, dependency)
            if reason and dependency.required:
                self._settle(service, ServiceState.FAILED, reason)
                return
        if service.definition.create_only:
            self._settle(service, ServiceState.SKIPPED, "is only created, as it says")
            return
        attempt = 0
        while not self.stopping:
            try:
                await self._have_image(service)
                if service.definition.schedule:
                    self._settle(service, ServiceState.WAITING)
                    await self._follow_schedule(service)
                else:
                    await self._start_once(service)
                return
            except (OrlopError, OSError) as error:
                log.warning("cannot start service %s: %s", name, error)
            except Exception:
                log.exception("a fault of Orlop's own keeps service %s from starting", name)
            await asyncio.sleep(self._delays_s[min(attempt, len(self._delays_s) - 1)])
            attempt += 1

    async def _have_image(self, service: Service) -> None:
        """Fetch the image of *service* if it is missing; nobody waits for the service meanwhile.

        Raises:
            OrlopError: it cannot be had.
        """
        image = service.definition.image
        is_own = service.source.startswith(f"{IMAGES}/")
        if self._provide is None or is_own or self._provide.is_there(image):
            return
        self._settle(service, ServiceState.WAITING, f"fetches its image {image}")
        try:
            await self._provide.provide(image)
        except OrlopError as error:
            self._settle(service, ServiceState.FAILED, f"image {image}: {error}")
            raise

    async def _follow_schedule(self, service: Service) -> None:
        """Start *service* at its times, never twice at once."""
        from orlop.system.services.schedule import follow, why_never

        await follow(service, self._zone(), self._info, self._start_once)
        reason = why_never(service.definition, self._zone()) or "its schedule has ended"
        self._change(service, ServiceState.FAILED, reason)

    async def _start_now(self, service: Service) -> None:
        """As `start`; a schedule is followed on from here."""
        await self._have_image(service)
        await self._start_once(service)
        if service.definition.schedule:
            self._bring_up(service)

    async def _start_once(self, service: Service) -> None:
        """Create and start the container of *service*.

        Raises:
            OrlopError, OSError: it cannot be.
        """
        definition = service.definition
        self._change(service, ServiceState.STARTING)
        try:
            self._prepare(definition)
            left_out = await start(self._engine, self._provide, definition)
        except Exception as error:
            self._settle(service, ServiceState.FAILED, str(error) or repr(error))
            raise
        self._settle(service, ServiceState.RUNNING, left_out)
        service.started = definition
        service.up.set()

    async def _wait_for(self, service: Service, dependency: Dependency) -> str:
        """Wait until *dependency* is met; why it never will be, or nothing."""
        other = self._services[dependency.service]
        name = dependency.service
        self._change(service, ServiceState.WAITING, f"waits for {name}")
        await other.attempted.wait()
        if not other.up.is_set():
            final = (ServiceState.SKIPPED, ServiceState.DISABLED, ServiceState.STOPPED)
            if not dependency.required or other.state in final:
                return f"depends on {name}, which is not started ({other.reason})"
            # It may come up at a later attempt. Nobody has to wait for this service until then.
            self._settle(service, ServiceState.WAITING, f"waits for {name}, which has failed")
            await other.up.wait()
        change = partial(self._change, service, ServiceState.WAITING)
        settle = partial(self._settle, service, ServiceState.WAITING)
        return await until_met(self._engine, dependency, self._online, change, settle)

    async def _disable(self, service: Service, state: ServiceState, reason: str) -> None:
        try:
            await self.stop(service.definition.name)
        except OrlopError as error:
            log.warning("cannot stop service %s: %s", service.definition.name, error)
        self._change(service, state, reason)

    async def _listen(self) -> None:
        """Report what happens to the containers of services, as it happens."""
        with self._engine.events.subscribe() as events:
            async for event in events:
                name = event.attributes.get("name", "")
                service = self._services.get(name)
                if service is None or event.attributes.get(SERVICE_LABEL, name) != name:
                    continue
                if event.action == "die" and not self.stopping:
                    code = event.attributes.get("exitCode", "?")
                    level = logging.INFO if code == "0" else logging.WARNING
                    if service.state is not ServiceState.STOPPED:
                        log.log(level, "service %s ended with status %s", name, code)
                elif event.action == "oom":
                    log.warning("service %s has used up its memory", name)
                elif event.action.startswith("health_status"):
                    log.info("service %s is %s", name, event.action.partition(": ")[2])
                else:
                    continue
                self._report(name, self.status(name).state)

    def _settle(self, service: Service, state: ServiceState, reason: str = "") -> None:
        self._change(service, state, reason)
        service.attempted.set()

    def _change(self, service: Service, state: ServiceState, reason: str = "") -> None:
        """The one place where the state of a service changes."""
        changed = service.state is not state
        service.state, service.reason = state, reason
        if changed:
            self._report(service.definition.name, state)

    def _find(self, name: str) -> Service:
        try:
            return self._services[name]
        except KeyError:
            raise NotFound(f"no service {name}", hint="orlop service ls lists them") from None

    def _info(self, name: str) -> ContainerInfo | None:
        try:
            return self._engine.get(name)
        except OrlopError:
            return None
