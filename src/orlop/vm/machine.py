"""A virtual machine that a program drives: boots it, runs commands in it, breaks it.

The vocabulary is that of tests: `succeed`, `fail`, `execute`, `wait_until_succeeds`,
`power_cut`. The commands go over the agent's virtio port and never over the console. A command
that ends otherwise than expected is an AssertionError; a machine that is gone is `LostVM`.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orlop.lib.errors import DeadlineExceeded, OrlopError, Unavailable
from orlop.lib.process import pasteable
from orlop.vm import hotplug, qemu
from orlop.vm.agent_client import AgentClient, Answer
from orlop.vm.boot_log import BootEvent, BootLogReader
from orlop.vm.directory import SSH_GUEST_PORT, read_or_empty, tail
from orlop.vm.process import QemuProcess, parse_forwards, prepare
from orlop.vm.qmp import Qmp
from orlop.vm.serial_console import SerialConsole
from orlop.vm.spec import DiskBus, MachineSpec, Protocol

READY_TIMEOUT_S = 180.0
"""Ten times what a boot takes under emulation on two busy cores."""
COMMAND_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
AGENT = "agent"
"""The service that runs commands for the host."""

_POLL_S = 0.1
_FATAL_EVENTS = {"GUEST_PANICKED"}

type Command = str | Sequence[str]


class LostVM(OrlopError):
    """The machine ended, panicked or stopped answering: no verdict about what was tested."""


class CommandFailed(AssertionError):
    """A command in the guest ended otherwise than the test demands."""


class Machine:
    """One virtual machine over all its boots; a context manager that leaves no process behind."""

    def __init__(
        self,
        spec: MachineSpec,
        directory: Path,
        accelerator: qemu.Accelerator,
        *,
        slow_factor: float = 1.0,
    ) -> None:
        """Prepare *spec* to run in *directory*, which must exist; starts nothing.

        All time limits are multiplied by *slow_factor*.
        """
        self.spec = spec
        self.directory = directory
        self.argv = qemu.command_line(spec, accelerator)
        self.boot_events: list[BootEvent] = []
        self.slow_factor = slow_factor
        self._process: QemuProcess | None = None
        self._qmp: Qmp | None = None
        self._agent = AgentClient(directory, qemu.AGENT_SOCKET)
        self._reader = BootLogReader()
        self._boot_offset = 0
        self._pending: list[BootEvent] = []
        self._free_slots = [
            qemu.HOTPLUG_BUS.format(index=index) for index in range(spec.hotplug_slots)
        ]
        prepare(spec, directory)
        if spec.config is not None:
            (directory / qemu.CONFIG_FILE).write_bytes(spec.config)

    def __enter__(self) -> "Machine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # Power

    def start(self) -> None:
        """Switch it on."""
        assert self._process is None, "the machine is on"
        self._reader = BootLogReader()
        self._boot_offset = len(read_or_empty(self.directory / qemu.BOOT_LOG))
        self._pending = []
        self._process = QemuProcess(self.argv, self.directory)
        self._qmp = self._process.connect()

    def boot(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Switch it on and wait until it says that it is ready."""
        self.start()
        self.wait_for_ready(timeout_s)

    def power_cut(self) -> None:
        """Pull the plug: QEMU is killed, the guest can finish nothing."""
        self._forget()

    def reset(self) -> None:
        """Press the reset button; `wait_for_ready` then waits for the next boot."""
        self.qmp.execute("system_reset")

    def press_power_button(self) -> None:
        """Press the ACPI power button."""
        self.qmp.execute("system_powerdown")

    def wait_for_power_off(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Wait until the guest has switched the machine off.

        Raises:
            DeadlineExceeded: it still runs.
        """
        assert self._process is not None, "the machine is off"
        status = self._process.wait(timeout_s * self.slow_factor)
        if status is None:
            raise DeadlineExceeded(f"{self.spec.name} did not switch off in {timeout_s:.0f} s")
        self._collect()
        self._forget()

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """Shut down by the power button; kills it if that takes too long. May run twice."""
        if self._process is None:
            return
        with contextlib.suppress(OrlopError):
            self.press_power_button()
            self.wait_for_power_off(timeout_s)
        self._forget()

    def close(self) -> None:
        """End QEMU at once and release everything. May run twice."""
        self._forget()

    def running(self) -> bool:
        return self._process is not None and self._process.running()

    def _forget(self) -> None:
        self._agent.close()
        if self._qmp is not None:
            self._qmp.close()
            self._qmp = None
        if self._process is not None:
            self._process.close()
            self._process = None

    # The boot channel

    def wait_for_ready(self, timeout_s: float = READY_TIMEOUT_S) -> BootEvent:
        """Wait for the next `ready`, and for the agent if the machine has started it.

        `boot_events` are those of that boot then. What is sent to the agent before it has opened
        its port is lost, and it may open it after the machine has called itself ready.

        Raises:
            LostVM: the machine ended or panicked.
            DeadlineExceeded: it did not get ready; the message has the console's end.
        """
        deadline = time.monotonic() + timeout_s * self.slow_factor
        event = self.wait_for_event("ready", timeout_s=timeout_s)
        while event.services.get(AGENT) == "running" and not self.answers():
            self.check_alive()
            if time.monotonic() > deadline:
                raise DeadlineExceeded(f"{self.spec.name}: the agent does not answer")
        return event

    def wait_for_event(
        self, event: str, name: str = "", *, timeout_s: float = READY_TIMEOUT_S
    ) -> BootEvent:
        """Wait for the next *event* (of *name*) on the boot channel and consume up to it."""
        deadline = time.monotonic() + timeout_s * self.slow_factor
        while True:
            self._collect()
            while self._pending:
                found = self._pending.pop(0)
                if found.event == "stage" and found.name == "kernel":
                    self.boot_events = []
                self.boot_events.append(found)
                if found.event == event and name in ("", found.name):
                    return found
            self.check_alive()
            if time.monotonic() > deadline:
                raise DeadlineExceeded(
                    f"no {event} {name} from {self.spec.name} within {timeout_s:.0f} s\n"
                    + self.describe()
                )
            time.sleep(_POLL_S)

    def _collect(self) -> None:
        data = read_or_empty(self.directory / qemu.BOOT_LOG)[self._boot_offset :]
        self._boot_offset += len(data)
        self._pending += self._reader.feed(data)

    def check_alive(self) -> None:
        """Raise LostVM unless QEMU runs and the guest's kernel has not panicked."""
        if not self.running():
            raise LostVM(f"{self.spec.name} ended\n{self.describe()}")
        with contextlib.suppress(Unavailable):
            for event in self.qmp.events_nowait():
                if event.name in _FATAL_EVENTS:
                    raise LostVM(f"{self.spec.name} panicked\n{self.describe()}")

    # Commands

    def run(
        self, command: Command, *, stdin: bytes = b"", timeout_s: float = COMMAND_TIMEOUT_S
    ) -> Answer:
        """Run *command* (a string is one for `sh -c`) and return its answer, whatever it is.

        Raises:
            LostVM: the machine is gone or does not answer.
        """
        argv = ["sh", "-c", command] if isinstance(command, str) else list(command)
        try:
            return self._agent.run(argv, stdin=stdin, timeout_s=timeout_s * self.slow_factor)
        except (DeadlineExceeded, Unavailable) as error:
            self.check_alive()
            raise LostVM(f"{self.spec.name}: {error}\n{self.describe()}") from error

    def send(self, argv: Sequence[str]) -> None:
        """Run *argv* without waiting for an answer, which may never come: it may kill the agent."""
        with contextlib.suppress(DeadlineExceeded, Unavailable):
            self._agent.run(argv, timeout_s=3.0 * self.slow_factor, slack_s=0.0)

    def answers(self, timeout_s: float = 3.0) -> bool:
        """Whether a command can be run now; for after the agent itself was hit."""
        try:
            self._agent.run(["true"], timeout_s=timeout_s * self.slow_factor, slack_s=2.0)
        except (DeadlineExceeded, Unavailable):
            return False
        return True

    def execute(self, command: Command, *, timeout_s: float = COMMAND_TIMEOUT_S) -> tuple[int, str]:
        """The status and the standard output of *command*."""
        answer = self.run(command, timeout_s=timeout_s)
        return answer.status, answer.stdout.decode(errors="replace")

    def succeed(self, command: Command, *, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """The standard output of *command*, which must end with status 0."""
        answer = self.run(command, timeout_s=timeout_s)
        if answer.status != 0:
            raise CommandFailed(_report(command, answer))
        return answer.stdout.decode(errors="replace")

    def fail(self, command: Command, *, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Both outputs of *command*, which must not end with status 0."""
        answer = self.run(command, timeout_s=timeout_s)
        if answer.status == 0:
            raise CommandFailed(_report(command, answer))
        return (answer.stdout + answer.stderr).decode(errors="replace")

    def wait_until_succeeds(self, command: Command, *, timeout_s: float = COMMAND_TIMEOUT_S) -> str:
        """Repeat *command* until it ends with status 0; its output."""
        deadline = time.monotonic() + timeout_s * self.slow_factor
        while True:
            answer = self.run(command, timeout_s=timeout_s)
            if answer.status == 0:
                return answer.stdout.decode(errors="replace")
            if time.monotonic() > deadline:
                raise CommandFailed(f"for {timeout_s:.0f} s: {_report(command, answer)}")
            time.sleep(0.5)

    def wait_until(
        self, condition: Callable[[], bool], what: str, *, timeout_s: float = COMMAND_TIMEOUT_S
    ) -> None:
        """Repeat *condition* until it holds; *what* names it in the failure."""
        deadline = time.monotonic() + timeout_s * self.slow_factor
        while not condition():
            if time.monotonic() > deadline:
                raise CommandFailed(f"{what}: not within {timeout_s:.0f} s")
            time.sleep(0.5)

    # Hardware

    @property
    def qmp(self) -> Qmp:
        """The connection to QEMU, for what has no method here.

        Raises:
            LostVM: the machine is off.
        """
        if self._qmp is None:
            raise LostVM(f"{self.spec.name} is off")
        return self._qmp

    @contextlib.contextmanager
    def hotplug_disk(
        self, image: Path, bus: DiskBus = DiskBus.VIRTIO, *, serial: str = "hotplugged"
    ) -> Iterator[None]:
        """Plug a disk in for as long as the context lasts."""
        slot = self._free_slots.pop() if bus is not DiskBus.USB else None
        try:
            hotplug.plug_disk(self.qmp, serial, image, bus, slot=slot, serial=serial)
            yield
            hotplug.unplug(self.qmp, serial)
        finally:
            if slot is not None:
                self._free_slots.append(slot)

    def screenshot(self, path: Path) -> None:
        """Write what the monitor shows to *path*, as PNG."""
        self.qmp.execute("screendump", {"filename": str(path.absolute()), "format": "png"})

    def send_keys(self, *keys: str) -> None:
        """Press *keys* together (QEMU's names: `ctrl`, `alt`, `delete`, `ret`, `a`)."""
        chord = [{"type": "qcode", "data": key} for key in keys]
        self.qmp.execute("send-key", {"keys": chord})

    def serial_console(self) -> SerialConsole:
        """A connection to the serial console, to type on it."""
        return SerialConsole(self.directory)

    def host_port(self, guest_port: int, protocol: Protocol = Protocol.TCP) -> int:
        """The port of this host's loopback that leads to *guest_port*, which must be published."""
        return parse_forwards(self.qmp.human("info usernet"))[protocol, guest_port]

    def ssh_port(self) -> int:
        return self.host_port(SSH_GUEST_PORT)

    # For whoever reads a failure

    def console(self) -> str:
        """Everything the serial console showed."""
        return tail(read_or_empty(self.directory / qemu.CONSOLE_LOG), 1_000_000)

    def describe(self) -> str:
        """The end of the console and the command that started QEMU."""
        console = tail(read_or_empty(self.directory / qemu.CONSOLE_LOG), 40)
        return f"--- console\n{console}\n--- {pasteable(self.argv, self.directory)}"


def _report(command: Command, answer: Answer) -> str:
    words = command if isinstance(command, str) else " ".join(command)
    output = (answer.stdout + answer.stderr).decode(errors="replace").rstrip()
    return f"{words!r} ended with status {answer.status}:\n{output}"
