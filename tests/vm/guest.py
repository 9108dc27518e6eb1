"""Questions that many tests ask a machine, answered by its own commands."""

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from orlop.lib.errors import DeadlineExceeded, OrlopError
from orlop.vm.machine import LostVM, Machine

RUNNING = "running"
AGENT = "agent"
ALWAYS = frozenset({"agent", "console", "devices", "engine", "network", "power", "syslog", "time"})
"""Services that run on every machine of the tests; `ssh` runs where there is a key."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process of user space: its command line and the container it is in (`init` for PID 1)."""

    pid: int
    command: str
    container: str


def status(machine: Machine) -> dict[str, object]:
    """What `orlop status` shows, as JSON."""
    value = json.loads(machine.succeed("orlop status --json"))
    assert isinstance(value, dict)
    return value


def warnings(machine: Machine) -> list[str]:
    """What the machine complains about."""
    value = status(machine)["warnings"]
    assert isinstance(value, list)
    return [str(entry) for entry in value]


def service_rows(machine: Machine) -> dict[str, Mapping[str, object]]:
    """Every service by name, as the supervisor sees it."""
    rows = json.loads(machine.succeed("orlop service ls --json"))
    return {str(row["name"]): row for row in rows}


def services(machine: Machine) -> dict[str, str]:
    """Every service and its state."""
    return {name: str(row["state"]) for name, row in service_rows(machine).items()}


def pids(machine: Machine) -> dict[str, int]:
    """The process id of every service that runs."""
    rows = service_rows(machine).items()
    return {name: pid for name, row in rows if isinstance(pid := row["pid"], int) and pid > 0}


def wait_for_services(
    machine: Machine, *, changed_from: Mapping[str, int] | None = None, timeout_s: float = 120.0
) -> dict[str, int]:
    """Wait until all services run (with other processes than *changed_from*); their pids."""
    before = dict(changed_from or {})

    def settled() -> bool:
        try:
            states, now = services(machine), pids(machine)
        except (AssertionError, OrlopError, ValueError):
            return False
        wanted = ALWAYS | before.keys()
        return all(states.get(name) == RUNNING for name in wanted) and all(
            now.get(name, 0) not in (0, old) for name, old in before.items()
        )

    wait_for_agent(machine, timeout_s=timeout_s)
    machine.wait_until(settled, "all services run", timeout_s=timeout_s)
    return pids(machine)


def wait_for_agent(machine: Machine, *, timeout_s: float = 120.0) -> None:
    """Wait until commands work again, after the agent itself was hit."""
    deadline = time.monotonic() + timeout_s
    while not machine.answers():
        machine.check_alive()
        assert time.monotonic() < deadline, f"no agent for {timeout_s:.0f} s\n{machine.describe()}"


_LIST_PROCESSES = r"""
for d in /proc/[0-9]*; do
  c=$(tr '\0\n' '  ' < $d/cmdline 2>/dev/null) || continue
  [ -n "$c" ] || continue
  g=$(cut -d: -f3- $d/cgroup 2>/dev/null) || continue
  printf '%s\t%s\t%s\n' "${d#/proc/}" "$g" "$c"
done
"""


def processes(machine: Machine) -> list[Process]:
    """Every process that is not a kernel thread, and where it belongs.

    The agent is in a container itself and sees cgroups relative to its own: `/` is its own, and
    those of others begin with `/..`.
    """
    found: list[Process] = []
    for line in machine.succeed(_LIST_PROCESSES).splitlines():
        pid, cgroup, command = line.split("\t", 2)
        found.append(Process(int(pid), command.strip(), _container(cgroup)))
    return found


def _container(cgroup: str) -> str:
    parts = [part for part in cgroup.split("/") if part not in ("", "..", "system")]
    return parts[0] if parts else AGENT


def end(machine: Machine, *command: str) -> None:
    """Run what ends the machine: an answer may come, or the agent is gone before."""
    with contextlib.suppress(LostVM):
        machine.run(command)


def init_memory_kib(machine: Machine) -> int:
    """The resident memory of PID 1."""
    return int(machine.succeed("sed -n 's/^VmRSS:[^0-9]*\\([0-9]*\\).*/\\1/p' /proc/1/status"))


def init_started(machine: Machine) -> str:
    """When PID 1 started, in ticks: another one would have another number. Not its state."""
    return machine.succeed("cut -d' ' -f22 /proc/1/stat").strip()


def in_container(name: str, command: str) -> list[str]:
    """The command line that runs a shell command in another service's container."""
    return ["orlop", "exec", name, "sh", "-c", command]


def answer_passphrase(
    machine: Machine, passphrase: str, *, prompt_timeout_s: float, retype_s: float
) -> None:
    """Type *passphrase* when the console asks for it, again every *retype_s* until it is taken."""
    with machine.serial_console() as console:
        assert console.wait_for(b"Enter passphrase", prompt_timeout_s), machine.describe()
        # What is typed in the moment between the question and the end of the echo is not taken.
        while True:
            console.send(f"{passphrase}\r".encode())
            try:
                machine.wait_for_event("stage", "state", timeout_s=retype_s)
                break
            except DeadlineExceeded:
                continue
        machine.wait_for_ready()
