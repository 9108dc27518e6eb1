"""The stages of the boot that need an event loop, and what keeps the machine going afterwards.

Each stage is a method that does its part and reports; `_boot` says their order. A stage that fails
is reported and the next one follows with what there is: without a state partition /var is in
memory, without a configuration the defaults count, without an engine there is a shell on the
console.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.engine import Engine
from orlop.engine.settings import EngineSettings
from orlop.engine.tasks import TaskSet, dump_tasks
from orlop.lib.children import Children
from orlop.lib.errors import Internal, OrlopError
from orlop.lib.linux import RebootCommand, give_back_free_memory, reboot
from orlop.system import (
    early,
    emergency,
    handover,
    preload,
    recovery,
    supervisor,
    user_realm,
    watchdog,
)
from orlop.system.boot_channel import PORT_NAME, find_port, uptime_s
from orlop.system.cloud.control import CloudControl
from orlop.system.config import configuration
from orlop.system.config.control import ConfigControl
from orlop.system.consoles import Consoles
from orlop.system.engines import Engines
from orlop.system.health.later import HealthLater
from orlop.system.machine import Machine, Phase, StageTime
from orlop.system.network import addresses, hostname, name_servers
from orlop.system.network.firewall import Firewall
from orlop.system.output_keeper import OutputKeeper
from orlop.system.power import Power, PowerAction
from orlop.system.power_socket import PowerSocket
from orlop.system.services import definitions, files
from orlop.system.services.conditions import Conditions
from orlop.system.services.images import ServiceImages
from orlop.system.services.services import Services, ServiceState
from orlop.system.storage import state
from orlop.system.updates.later import UpdatesLater

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from orlop.lib.children import Child
    from orlop.system.services.add import AddedServices

log = logging.getLogger(__name__)

COLD_PLUG_TIMEOUT_S = 20.0
"""A driver may wait for its hardware: the boot goes on, and what comes later is hot-plug."""

READY_TIMEOUT_S = 60.0
"""When the machine is called ready although a service still waits for another one."""

ENGINE_ATTEMPTS = 3
SOCKET_CHECK_S = 30.0
"""How often it is made sure that the API's socket is still in the file system."""

REEXEC_DELAY_S = 0.2
"""Time for the answer to whoever asked for the re-execution to leave this process."""


class Boot:
    """Owner of everything in PID 1. `run` does not return, except into a re-execution."""

    def __init__(self, first: early.Early, resumed: handover.Handover | None = None) -> None:
        self._first, self._resumed = first, resumed
        parameters = first.parameters
        self.machine = Machine(
            parameters,
            release=early.read_release(),
            stages=[StageTime(*stage) for stage in first.stages],
            hostname=parameters.hostname or early.DEFAULT_HOSTNAME,
        )
        self.config = ConfigControl(self, first.command_line)
        self.cloud, self.updates = CloudControl(self, first.command_line), UpdatesLater(self)
        self.chosen_console, self.chosen_engine = Consoles(self), Engines(self)
        self.firewall, self.health = Firewall(self), HealthLater(self)
        self.conditions = Conditions(
            first.command_line,
            frozenset(parameters.disabled_services),
            only=frozenset({"console"}) if parameters.recovery else None,
        )

    def run(self) -> None:
        """Run the machine."""
        supervisor.install_hooks()
        supervisor.ignore_default_signals()
        supervisor.run_for_ever(self._main)

    async def _main(self) -> None:
        """Make the long-lived objects, which need the loop, and start the boot among them."""
        self.children = Children(user_realm.note_exit)
        self.children.start()
        self.tasks = TaskSet()
        self.power_socket = PowerSocket(
            files.POWER_SOCKET,
            lambda action: self.power.request(action, "the power service asks for it"),
        )
        self.engine = Engine(
            EngineSettings(
                run_dir=Path("/run/orlop/engine"),
                data_dir=Path("/var/lib/orlop/engine"),
                images_dir=definitions.IMAGES,
                late_store_dir=Path("/var/lib/orlop/images"),
                is_pid1=os.getpid() == 1,
                version=self.machine.release.get("version", "0"),
            ),
            children=self.children,
        )
        self.power = Power(self.machine, stop_engine=self.engine.close)
        self.images = ServiceImages(self)
        self.services = Services(
            self.engine,
            may_start=self.conditions.refusal,
            prepare=lambda definition: self.config.write_service(definition.name),
            report=self._report_service,
            provide=self.images,
            zone=lambda: str(self.config.current.get("timezone") or ""),
            online=self.conditions.wait_online,
        )
        self._catch_signals()
        self.tasks.start(self.power.serve(), "power")
        if self._resumed is None:
            await self._boot()
        else:
            await self._resume(self._resumed)

    async def _boot(self) -> None:
        machine = self.machine
        machine.channel.connect(find_port(PORT_NAME))
        for stage in machine.stages:
            machine.channel.send("stage", name=stage.name, uptime_s=stage.uptime_s)
        for problem in self._first.problems:
            machine.warn(problem)
        if machine.parameters.recovery:
            machine.warn("recovery mode: only the console is started, the state is not mounted")
        try:
            addresses.bring_up_loopback()
        except OSError as error:
            machine.warn(f"cannot switch the loopback interface on: {error.strerror}")
        await self._attempt("open the power socket", self._serve_power())
        cold_plug = self.tasks.start(self._attempt("load drivers", self._cold_plug()), "cold-plug")
        _import_what_comes_next()
        await self._attempt("find the state partition", self._find_state(cold_plug))
        all_disks = cold_plug.done()
        # The worker is a process of its own: meanwhile the engine starts here.
        reading = self.tasks.start(
            self._attempt("read the configuration", self._first_configuration(cold_plug)),
            "configuration",
        )
        if not await self._start_engine(None):
            return
        machine.stage("engine")
        await reading
        await self._attempt("prepare the user's engine", self._prepare_user_realm())
        await self._attempt("bring images of services", preload.bring_images(self.engine))
        await self._attempt("start the services", self._start_services())
        await cold_plug
        if not all_disks or self.cloud.trusts_no_disk:
            await self._attempt("look for more disks", self.cloud.look_again(cold_plug))
        self._become_ready()
        self.tasks.start(self._look_after_sockets(), "sockets")

    async def _attempt(self, what: str, step: Awaitable[object]) -> None:
        """A stage may fail; the boot may not."""
        try:
            await step
        except Exception as error:  # noqa: BLE001 - whatever it is, the next stage follows
            supervisor.report(what, error)
            self.machine.warn(f"cannot {what}: {error}")

    async def _serve_power(self) -> None:
        descriptor = -1 if self._resumed is None else self._resumed.power_socket
        self.power_socket.open(descriptor)
        self.tasks.start(self.power_socket.serve(), "power socket")

    async def _cold_plug(self) -> None:
        """Wait for the program that loads drivers; then look for what may have come with them."""
        if self._first.cold_plug_pid:
            child: Child = self.children.adopt(self._first.cold_plug_pid)
            try:
                async with asyncio.timeout(COLD_PLUG_TIMEOUT_S):
                    status = await child.wait()
                if not status.ok:
                    log.info("some drivers could not be loaded (status %d)", status.code)
            except TimeoutError:
                self.machine.warn("drivers are still being loaded, not waiting any longer")
        self.machine.stage("devices")
        self.machine.channel.connect(find_port(PORT_NAME))
        self.machine.channel.give_up()
        self._open_watchdog()

    async def _plug_again(self) -> None:
        """Load drivers for what has appeared since: a disk behind a USB port comes late."""
        try:
            await self.children.run(early.COLD_PLUG, timeout_s=COLD_PLUG_TIMEOUT_S)
        except OrlopError as error:
            log.debug("cold-plug again: %s", error)

    def _open_watchdog(self) -> None:
        if (dog := watchdog.open_watchdog(self.machine.parameters.watchdog_s)) is not None:
            self.power.watchdog = dog
            self.tasks.start(dog.serve(), "watchdog")

    async def _find_state(self, cold_plug: Awaitable[None]) -> None:
        parameters = self.machine.parameters
        choice = await state.find(parameters, cold_plug, self._plug_again, self.children)
        if parameters.recovery:
            choice = await recovery.find_lock(self, choice)
        found = await state.mount_state(choice, self.children, parameters)
        self.machine.state, self.conditions.withheld = found, state.withheld(found, parameters)
        for warning in found.warnings:
            self.machine.warn(warning)
        self.machine.stage("state")

    async def _first_configuration(self, cold_plug: Awaitable[object]) -> None:
        await self._attempt("look for seed disks", self.cloud.look(cold_plug))
        await self._read_configuration()

    async def _read_configuration(self) -> None:
        await self.updates.look()
        await self.config.start()
        self.machine.stage("config")

    def set_hostname(self, name: str | None) -> None:
        """Give the machine *name*, or what DHCP said, or the default; write /etc/hosts."""
        wanted = name or hostname.from_network() or early.DEFAULT_HOSTNAME
        try:
            if wanted != self.machine.hostname:
                early.set_hostname(wanted)
                self.machine.hostname = wanted
            files.write_names(wanted, fqdn=self.config.current.fqdn)
        except OSError as error:
            self.machine.warn(f"cannot set the host name {wanted}: {error.strerror}")

    async def _start_engine(self, handed_over: handover.Handover | None) -> bool:
        """Start the engine and its API. Without it there is nothing but an emergency shell."""
        from orlop.system.routes import make_routes

        for attempt in range(1, ENGINE_ATTEMPTS + 1):
            try:
                await self.engine.start(None if handed_over is None else handed_over.engine)
                await self.engine.serve(Path(files.API_SOCKET), make_routes(self))
                return True
            except Exception as error:  # noqa: BLE001 - there is an emergency shell for it
                supervisor.report(f"starting the engine, attempt {attempt},", error)
                await asyncio.sleep(attempt)
        self.machine.warn("the engine cannot start")
        self._enter_emergency("The container engine cannot start; see dmesg.")
        return False

    def _enter_emergency(self, why: str) -> None:
        self.machine.phase = Phase.RECOVERY
        self.machine.stage("emergency")
        text = f"\norlop: {why}\nThis is an emergency shell. `kill -INT 1` reboots.\n"
        self.tasks.start(emergency.keep_shell(self.children, text), "emergency shell")

    async def _prepare_user_realm(self) -> None:
        user_realm.prepare()
        keeper = OutputKeeper(f"{files.USER_DIRECTORY}/containers", self.tasks)
        self.tasks.start(keeper.follow(self.engine, "engine"), "output of the user's containers")
        await self.chosen_engine.prepare()

    def define_services(self) -> definitions.Definitions:
        """Let there be the services of the image and of the configuration."""
        found = definitions.collect(self.config.current, overlay=self.images.overlay)
        self.chosen_console.add_to(found)
        self.chosen_engine.add_to(found)
        for problem in (*found.problems, *self.services.define(found.services, found.sources)):
            self.machine.warn(problem)
        return found

    async def _start_services(self) -> None:
        found = self.define_services()
        await self._attempt("bring the data of services", self.images.overlay.bring_data(self))
        syslog = found.services.get("syslog")
        try:
            files.make_links((0, 0) if syslog is None else definitions.owner(syslog))
        except OSError as error:
            self.machine.warn(f"cannot make the links to the system log: {error}")
        await self._attempt("set up the firewall", self.firewall.start())
        self.cloud.prepare()
        self.services.watch()
        self.power.services = self.services
        if self._resumed is not None:
            self.services.adopt()
            self.services.mark_stopped(self._resumed.stopped)
        self.services.start_all()
        self.tasks.start(self._follow_network_hostname(), "host name")
        self.tasks.start(name_servers.follow(self.engine), "name servers")
        self.tasks.start(self.config.actions.follow_commands(), "runcmd")
        self.tasks.start(self.chosen_engine.look_after(), "user's engine")
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self.services.settled()
        except TimeoutError:
            waiting = [s.name for s in self.services.statuses() if s.state is ServiceState.WAITING]
            self.machine.warn(f"ready without waiting for {', '.join(waiting)}")
        self.machine.stage("services")

    def _become_ready(self) -> None:
        machine = self.machine
        if self.power.requested is not None:
            return  # it was ended during its boot
        if machine.parameters.recovery:
            machine.phase = Phase.RECOVERY
            states = {status.name: status.state for status in self.services.statuses()}
            if states.get("console") is not ServiceState.RUNNING:
                self._enter_emergency("The console's container cannot start.")
        else:
            machine.phase = Phase.READY
        machine.stage("ready")
        self.tasks.start(self.config.keep_good(), "copies of the configuration")
        if self.config.current.get("orlop.services"):
            self.tasks.start(self.added.complete(), "services of the configuration")
        machine.channel.send(
            "ready",
            uptime_s=machine.stages[-1].uptime_s,
            addresses=[address.text for address in addresses.read_addresses()],
            services={status.name: status.state.value for status in self.services.statuses()},
        )
        self.health.begin()
        log.info("ready after %.2f s", machine.stages[-1].uptime_s)
        give_back_free_memory()

    # Services.

    @functools.cached_property
    def added(self) -> AddedServices:
        """What changes which services there are; most boots do without its code."""
        from orlop.system.services.add import AddedServices

        return AddedServices(self)

    def _report_service(self, name: str, service_state: ServiceState) -> None:
        self.machine.channel.send("service", name=name, state=service_state.value)
        self.chosen_console.report(name, service_state)
        if service_state is ServiceState.DONE and self.services.definition(name).reload_config:
            self._on_reload()

    async def _follow_network_hostname(self) -> None:
        """Take the name that DHCP gives, unless somebody configured one."""
        async for _ in hostname.changes():
            if self.machine.parameters.hostname is None and self.config.current.hostname is None:
                self.set_hostname(None)

    # Signals, re-execution, the end.

    def _catch_signals(self) -> None:
        """docs/boot.md lists these signals and what they do."""
        loop, power = asyncio.get_running_loop(), self.power.request
        loop.add_signal_handler(signal.SIGTERM, power, PowerAction.POWEROFF, "SIGTERM")
        loop.add_signal_handler(signal.SIGPWR, power, PowerAction.POWEROFF, "the power fails")
        loop.add_signal_handler(signal.SIGINT, power, PowerAction.REBOOT, "Ctrl-Alt-Del")
        loop.add_signal_handler(signal.SIGHUP, self._on_reload)
        loop.add_signal_handler(signal.SIGUSR1, dump_tasks)
        loop.add_signal_handler(signal.SIGUSR2, self._on_reexec)
        if os.getpid() == 1:
            try:
                reboot(RebootCommand.CAD_OFF)
            except OSError as error:
                log.debug("Ctrl-Alt-Del stays with the kernel: %s", error.strerror)

    def _on_reload(self) -> None:
        if self.power.requested is not None:
            return  # a service that is restarted for it would be in the way

        async def work() -> None:
            await self._ensure_api_socket()
            await self.config.reload()

        self.tasks.start(work(), "reload")

    def _on_reexec(self) -> None:
        async def work() -> None:
            await self.check_code()
            self.reexec()

        self.tasks.start(work(), "re-execution")

    async def check_code(self) -> None:
        """Try out, in a child, whether the code that there is now can be loaded.

        Raises:
            OrlopError: it cannot; the present one should go on.
        """
        command = configuration.program("init")
        status, output = await self.children.run([*command, handover.CHECK], timeout_s=60.0)
        if not status.ok:
            tail = output.decode(errors="replace").strip().splitlines()[-1:]
            raise Internal(f"the new code cannot be loaded: {' '.join(tail)}")

    def reexec_soon(self) -> None:
        """`reexec` as soon as what is being written now has been written."""
        asyncio.get_running_loop().call_later(REEXEC_DELAY_S, self.reexec)

    def reexec(self) -> None:
        """Replace this program by a new copy of its code, in place; containers do not notice.

        Returns only when that is impossible; everything goes on then. The end of the machine goes
        on in any case: the new copy would not know of it.
        """
        if self.power.requested is not None:
            log.warning("no re-execution: the machine is going down")
            return
        command = configuration.program("init")
        handed_over = handover.Handover(
            stages=[(stage.name, stage.uptime_s) for stage in self.machine.stages],
            warnings=list(self.machine.warnings),
            stopped=[s.name for s in self.services.statuses() if s.state is ServiceState.STOPPED],
            channel=self.machine.channel.descriptor,
            power_socket=self.power_socket.descriptor,
            watchdog=-1 if self.power.watchdog is None else self.power.watchdog.descriptor,
            reexecutions=self.machine.reexecutions + 1,
        )
        handed_over.engine = self.engine.prepare_reexec()
        descriptor = -1
        try:
            descriptor = handover.store(handed_over)
            log.info("executing anew")
            os.execv(sys.executable, [*command, f"{handover.RESUME}{descriptor}"])
        except OSError as error:
            if descriptor >= 0:
                os.close(descriptor)
            handover.take_back(handed_over)
            self.engine.abandon_reexec(handed_over.engine)
            self.machine.warn(f"cannot execute {sys.executable}: {error.strerror}")

    async def _resume(self, resumed: handover.Handover) -> None:
        """Go on after a re-execution: everything runs, nothing is started."""
        machine = self.machine
        machine.reexecutions = resumed.reexecutions
        machine.warnings = list(resumed.warnings)
        for problem in self._first.problems:
            machine.warn(problem)
        if resumed.channel >= 0:
            machine.channel.adopt(resumed.channel)
        else:
            machine.channel.connect(find_port(PORT_NAME))
            machine.channel.give_up()
        if resumed.watchdog >= 0:
            self.power.watchdog = watchdog.Watchdog(resumed.watchdog, machine.parameters.watchdog_s)
            self.tasks.start(self.power.watchdog.serve(), "watchdog")
        else:
            self._open_watchdog()
        machine.state = await state.present(machine.parameters.state_directory)
        self.conditions.withheld = state.withheld(machine.state, machine.parameters)
        await self._attempt("open the power socket", self._serve_power())
        if not await self._start_engine(resumed):
            return
        await self._attempt("read the configuration", self._read_configuration())
        await self._attempt("prepare the user's engine", self._prepare_user_realm())
        await self._attempt("start the services", self._start_services())
        machine.stages = [StageTime(*stage) for stage in resumed.stages]
        machine.phase = Phase.RECOVERY if machine.parameters.recovery else Phase.READY
        self.health.begin()
        machine.channel.send("reexecuted", count=machine.reexecutions)
        log.info("executed anew at %.2f s", uptime_s())
        give_back_free_memory()
        self.tasks.start(self._look_after_sockets(), "sockets")

    async def _look_after_sockets(self) -> None:
        """Somebody may remove a socket from /run; then it is made again."""
        while self.power.requested is None:
            await asyncio.sleep(SOCKET_CHECK_S)
            await self._ensure_api_socket()

    async def _ensure_api_socket(self) -> None:
        from orlop.system.routes import make_routes

        path = Path(files.API_SOCKET)
        if not path.exists():
            log.warning("the API's socket has vanished, making it again")
            path.parent.mkdir(parents=True, exist_ok=True)
            await self._attempt("serve the API", self.engine.serve(path, make_routes(self)))


def _import_what_comes_next() -> None:
    """Load what the API needs while another processor loads drivers: nothing else is to do."""
    from orlop.engine.api import server, table  # noqa: F401
    from orlop.system import routes  # noqa: F401
