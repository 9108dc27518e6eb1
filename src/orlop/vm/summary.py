"""What a person is told about a machine: how its boot went, how to get in, what there is."""

import time
from collections.abc import Sequence

from orlop.lib.units import format_duration
from orlop.vm import boot_log, ssh
from orlop.vm.boot_log import BootEvent
from orlop.vm.directory import DOCKER_SOCKET, KEY, MachineDirectory


def ready_lines(
    directory: MachineDirectory, events: Sequence[BootEvent], since_start_s: float
) -> list[str]:
    """The stages of the boot and the ways in, for a machine that has just become ready.

    *since_start_s* is the time since power-on as this host saw it; what the kernel does not
    account for went to the firmware and the boot loader.
    """
    ready = next(event for event in reversed(events) if event.event == "ready")
    firmware_s = max(since_start_s - ready.uptime_s, 0.0)
    accelerator = directory.read_machine().get("accelerator", "?")
    took = f"{since_start_s:.1f} s after power-on ({accelerator})"
    lines = [
        f"machine {directory.name} is ready: {took}, {firmware_s:.1f} s of it firmware and loader",
        "",
        f"  {'stage':<14} {'took':>9} {'since kernel':>12}",
        *boot_log.render_stages(events),
        "",
    ]
    bad = [f"{name} ({state})" for name, state in ready.services.items() if _is_bad(state)]
    if bad:
        lines += [f"  not running: {', '.join(sorted(bad))}", ""]
    return lines + ways_in(directory, ready.addresses)


def ways_in(directory: MachineDirectory, addresses: Sequence[str] = ()) -> list[str]:
    """How to reach the machine: console, SSH, the engine's API, and how to end it."""
    name, path = directory.name, directory.path
    lines = [f"  address   {' '.join(addresses)}"] if addresses else []
    lines += [f"  console   ./orlop run console {name}      (leave it with Ctrl-] d)"]
    port = directory.ssh_port()
    if port is not None:
        by_ssh = f"ssh://{ssh.USER}@127.0.0.1:{port}"
        lines += [
            f"  ssh       ./orlop run ssh {name}",
            f"            {ssh.short_command(path, port)}",
            f"  docker    export DOCKER_HOST=unix://{path / DOCKER_SOCKET}",
            f"            ssh-add {path / KEY} && export DOCKER_HOST={by_ssh}",
        ]
    lines += _published(directory)
    return [*lines, f"  stop      ./orlop run stop {name}", "  try       orlop ps"]


def _published(directory: MachineDirectory) -> list[str]:
    ports = directory.read_state().get("ports")
    if not isinstance(ports, dict):
        return []
    shown = [f"127.0.0.1:{host} -> {guest}" for guest, host in ports.items() if guest != "22/tcp"]
    return [f"  ports     {', '.join(shown)}"] if shown else []


def _is_bad(state: str) -> bool:
    """Whether a service in *state* deserves to be named; one that is not wanted here does not."""
    return state in {"failed", "broken", "restarting", "dead", "unhealthy"}


def machine_row(directory: MachineDirectory, now_s: float | None = None) -> dict[str, object]:
    """What `./orlop run ls` shows of one machine."""
    state, machine = directory.read_state(), directory.read_machine()
    running = directory.running()
    started = state.get("started_at_s")
    up_s = (now_s or time.time()) - started if isinstance(started, float) and running else None
    return {
        "name": directory.name,
        "state": boot_log.current_state(directory.boot_events()) if running else _ended(state),
        "up_s": up_s,
        "firmware": machine.get("firmware", ""),
        "memory_mib": machine.get("memory_mib", 0),
        "accelerator": machine.get("accelerator", ""),
        "ssh_port": state.get("ssh_port") if running else None,
        "docker_host": f"unix://{directory.path / DOCKER_SOCKET}" if running else None,
        "directory": str(directory.path),
    }


def _ended(state: dict[str, object]) -> str:
    """How a machine without a keeper ended; `lost` if nobody wrote it down."""
    status = state.get("status")
    if status == "ended":
        return "killed" if state.get("killed") else "off"
    return "failed" if status == "failed" else "lost"


def table_lines(rows: Sequence[dict[str, object]]) -> list[str]:
    """The rows of `machine_row` as an aligned table."""
    lines = [f"{'NAME':<16} {'STATE':<9} {'UP':>7}  {'FIRMWARE':<8} {'MEMORY':>8}  SSH"]
    for row in rows:
        up_s = row["up_s"]
        up = format_duration(up_s) if isinstance(up_s, float) else "-"
        port = f"127.0.0.1:{row['ssh_port']}" if row["ssh_port"] else "-"
        memory = f"{row['memory_mib']} MiB"
        lines.append(
            f"{row['name']:<16} {row['state']:<9} {up:>7}  {row['firmware']:<8} {memory:>8}  {port}"
        )
    return lines
