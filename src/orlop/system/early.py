"""The first steps of PID 1, before there is an event loop.

Short, synchronous, and started with as few imports as possible: what must be there before anything
else can be (file systems, messages), and what should run meanwhile (the cold-plug program). Each
step that fails is reported and the next one follows.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.lib import cgroup
from orlop.system import cgroups, filesystems, messages, tuning
from orlop.system.boot_channel import uptime_s
from orlop.system.parameters import Parameters, parse_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

COLD_PLUG = ("/usr/sbin/modload", "coldplug")
DEFAULT_HOSTNAME = "orlop"
RELEASE_FILE = "/usr/lib/orlop/release.json"


@dataclass(slots=True)
class Early:
    """What the first steps found and did. *cold_plug_pid* is 0 when there is no such program."""

    parameters: Parameters = field(default_factory=Parameters)
    command_line: str = ""
    stages: list[tuple[str, float]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    messages: messages.MessageHandler | None = None
    cold_plug_pid: int = 0


def run(started_s: float) -> Early:
    """Do the first steps; *started_s* is when Python began. Never raises."""
    early = Early(stages=[("kernel", started_s), ("python", uptime_s())])
    _attempt(early, "mount file systems", filesystems.mount_file_systems)
    early.stages.append(("filesystems", uptime_s()))
    _attempt(early, "read the command line", lambda: _read_command_line(early))
    set_up_output(early)
    _attempt(early, "start the cold-plug program", lambda: _start_cold_plug(early))
    _attempt(early, "make control groups", _make_cgroups)
    _attempt(early, "be spared by the OOM killer", cgroups.protect_from_oom)
    _attempt(early, "set kernel parameters", lambda: _tune(early))
    _attempt(early, "set the host name", lambda: set_hostname(_first_hostname(early)))
    early.stages.append(("cgroups", uptime_s()))
    return early


def _attempt(early: Early, what: str, step: Callable[[], list[str] | None]) -> None:
    try:
        early.problems += step() or []
    except Exception as error:  # noqa: BLE001 - a failed step must not end PID 1
        early.problems.append(f"cannot {what}: {error!r}")


def _read_command_line(early: Early) -> list[str]:
    with open("/proc/cmdline", encoding="utf-8", errors="replace") as stream:
        early.command_line = stream.read()
    early.parameters = parse_parameters(early.command_line)
    return list(early.parameters.warnings)


def set_up_output(early: Early) -> None:
    """Messages to the kernel log; standard descriptors to places that cannot block or vanish."""
    try:
        redirect(0, "/dev/null", os.O_RDWR)
        # What Python itself prints when all else fails belongs into the kernel log, too.
        redirect(1, "/dev/kmsg", os.O_WRONLY)
        redirect(2, "/dev/kmsg", os.O_WRONLY)
    except OSError as error:
        early.problems.append(f"cannot redirect the standard descriptors: {error}")
    early.messages = messages.set_up(debug=early.parameters.debug)


def redirect(descriptor: int, path: str, flags: int) -> None:
    opened = os.open(path, flags | os.O_NOCTTY)
    if opened != descriptor:
        os.dup2(opened, descriptor)
        os.close(opened)


def _start_cold_plug(early: Early) -> list[str]:
    if not os.path.exists(COLD_PLUG[0]):
        return []  # a kernel with everything built in
    # The loop and its child watcher do not exist yet; they adopt this process later.
    early.cold_plug_pid = os.posix_spawn(
        COLD_PLUG[0],
        COLD_PLUG,
        {"PATH": "/usr/sbin:/usr/bin"},
        file_actions=[(os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)],
        setsid=True,
    )
    return []


def _make_cgroups() -> list[str]:
    with open("/proc/meminfo", encoding="ascii") as stream:
        memory_bytes = cgroups.memory_total_bytes(stream.read())
    with open("/proc/sys/kernel/threads-max", encoding="ascii") as stream:
        tasks = int(stream.read())
    controllers = cgroup.available_controllers(cgroups.ROOT)
    failures = cgroups.apply(cgroups.plan(memory_bytes, tasks, controllers))
    return cgroups.missing(controllers) + failures


def _tune(early: Early) -> list[str]:
    return tuning.apply_file(early.parameters.tuning, early.command_line)


def _first_hostname(early: Early) -> str:
    return early.parameters.hostname or DEFAULT_HOSTNAME


def set_hostname(name: str) -> None:
    """Give the machine its name."""
    with open("/proc/sys/kernel/hostname", "w", encoding="ascii") as stream:
        stream.write(name)


def read_release(path: str = RELEASE_FILE) -> dict[str, str]:
    """Version and build of this image; empty outside an image."""
    import json

    try:
        with open(path, encoding="utf-8") as stream:
            data = json.load(stream)
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}
