"""Starting a machine that may outlive the command that started it."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from orlop.lib.errors import DeadlineExceeded, OrlopError
from orlop.lib.process import environment, pasteable
from orlop.vm import boot_log, keeper, qemu
from orlop.vm.directory import QEMU_LOG, MachineDirectory, read_or_empty, tail
from orlop.vm.process import START_TIMEOUT_S, prepare
from orlop.vm.spec import MachineSpec

CONSOLE_TAIL_LINES = 40
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class Launched:
    """A machine whose keeper runs; dropping *leash* without `release` shuts it down."""

    directory: MachineDirectory
    argv: list[str]
    leash: int
    started_monotonic_s: float

    def release(self) -> None:
        """Let the machine outlive this process."""
        os.write(self.leash, keeper.RELEASE)


def launch(
    spec: MachineSpec, directory: MachineDirectory, lock: int, accelerator: qemu.Accelerator
) -> Launched:
    """Start *spec* in *directory*, whose *lock* is handed on, and wait until QEMU runs.

    Raises:
        OrlopError: QEMU did not start; its message is in the error.
    """
    argv = qemu.command_line(spec, accelerator)
    prepare(spec, directory.path)
    if spec.config is not None:
        (directory.path / qemu.CONFIG_FILE).write_bytes(spec.config)
    directory.write_machine(
        {
            "name": spec.name,
            "firmware": str(spec.firmware),
            "memory_mib": spec.memory_mib,
            "cpus": spec.cpus,
            "accelerator": accelerator.name,
            "command": pasteable(argv, directory.path),
        }
    )
    leash_end, leash = os.pipe2(os.O_CLOEXEC)
    started = time.monotonic()
    child = subprocess.Popen(
        [sys.executable, "-m", "orlop.vm.keeper", str(directory.path), str(leash_end)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=(directory.path / "keeper.log").open("wb"),
        env=environment({"PYTHONPATH": str(Path(__file__).parents[2])}),
        pass_fds=(leash_end, lock),
        start_new_session=True,
        cwd="/",
    )
    os.close(leash_end)
    os.close(lock)
    _hand_over(child, argv)
    _wait_for_qemu(directory, child, argv)
    return Launched(directory, argv, leash, started)


def _hand_over(child: subprocess.Popen[bytes], argv: list[str]) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(argv).encode())
    child.stdin.close()


def _wait_for_qemu(
    directory: MachineDirectory, child: subprocess.Popen[bytes], argv: list[str]
) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while "ports" not in (state := directory.read_state()):
        if child.poll() is not None or time.monotonic() > deadline:
            output = tail(read_or_empty(directory.path / QEMU_LOG), 20)
            log = tail(read_or_empty(directory.path / "keeper.log"), 20)
            raise OrlopError(
                str(state.get("error") or f"the machine did not start: {output}{log}"),
                hint=pasteable(argv, directory.path),
            )
        time.sleep(_POLL_S)


def wait_until_ready(machine: Launched, timeout_s: float) -> list[boot_log.BootEvent]:
    """Wait until the machine says that it is ready; the events of its boot.

    Raises:
        OrlopError: it ended before.
        DeadlineExceeded: it is not ready after *timeout_s*. Both show the end of the console.
    """
    deadline = machine.started_monotonic_s + timeout_s
    while True:
        events = boot_log.last_boot(machine.directory.boot_events())
        if boot_log.current_state(events) == "ready":
            return events
        if not machine.directory.running():
            raise OrlopError(f"the machine ended\n{explain(machine)}", hint=_replay(machine))
        if time.monotonic() > deadline:
            stage = next((e.name for e in reversed(events) if e.event == "stage"), "none")
            raise DeadlineExceeded(
                f"the machine is not ready after {timeout_s:.0f} s (last stage: {stage})\n"
                + explain(machine),
                hint=_replay(machine),
            )
        time.sleep(_POLL_S)


def explain(machine: Launched) -> str:
    """The end of the machine's console and of QEMU's own words."""
    console = machine.directory.console_tail(CONSOLE_TAIL_LINES)
    words = tail(read_or_empty(machine.directory.path / QEMU_LOG), 10)
    return f"--- console (last {CONSOLE_TAIL_LINES} lines)\n{console}\n--- qemu\n{words}"


def _replay(machine: Launched) -> str:
    return pasteable(machine.argv, machine.directory.path)
