"""A native machine with a console and the user's engine, and its `orlop` command."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from orlop.engine.runtime.capabilities import read_available
from orlop.wire.compose import parse_service
from orlop.wire.compose_model import to_json
from tests.engine.native_machine import NativeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVICES = Path(__file__).parents[2] / "os/services"
PROGRAMS = ["/usr:/usr:ro", "/usr/lib:/lib:ro", "/usr/lib64:/lib64:ro"]
"""What makes an image of busybox one in which Python runs."""

ORLOP = ["/usr/bin/python3.13", "-I", "-S", "-OO", "/usr/lib/orlop/python", "cli"]
DISKS = ("/var/lib/orlop/user", "/var/lib/orlop/images")


def definition(name: str, **changes: Any) -> dict[str, Any]:
    """Service *name* as the system has it, with *changes*."""
    found = yaml.safe_load((SERVICES / name / "service.yml").read_text())["services"][name]
    for key in ("ulimits", "oom_score_adj"):  # which the root of a sandbox may not set
        found.pop(key, None)
    found["cap_add"] = [c for c in found["cap_add"] if f"CAP_{c}" in read_available()]
    found = {**found, "volumes": [*found.get("volumes", ()), *PROGRAMS], **changes}
    return to_json(parse_service(name, found))


def services() -> dict[str, dict[str, Any]]:
    console = definition("console", command=["/bin/sh", "-c", "while :; do sleep 1; done"])
    engine = definition("engine")
    engine["command"] = [*engine["command"], "--no-networks"]
    return {"console": console, "engine": engine}


class ConsolesMachine(NativeMachine):
    """Its images have the files of their own that the system's have."""

    def _make_service(self, image: Path, definition: dict[str, Any]) -> None:
        super()._make_service(image, definition)
        files = SERVICES / image.name / "rootfs/usr/lib"
        if files.is_dir():
            shutil.copytree(files, image / "rootfs/usr/lib")


@contextlib.contextmanager
def consoles_machine() -> Iterator[NativeMachine]:
    """It is ready, and so is the user's engine, whose data are on a disk."""
    with ConsolesMachine(services()) as machine:
        machine.wait_ready()
        machine.request("POST", "/orlop/services/engine/stop")
        for path in DISKS:
            machine.keep(path)
        started = machine.request("POST", "/orlop/services/engine/start")
        assert started[0] == 204, (started, machine.log())
        socket = machine.path("/run/orlop/docker/docker.sock")
        machine.wait_for(lambda _: socket.exists())
        yield machine


def orlop(
    machine: NativeMachine, *words: str, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """`orlop WORDS...` in the container of the console."""
    pid = machine.request("GET", "/containers/console/json")[1]["State"]["Pid"]
    command = ["nsenter", f"--target={outside(machine, pid)}", "--mount", "--pid", "--root", "--wd"]
    return subprocess.run(
        [*command, *ORLOP, *words], input=stdin, capture_output=True, timeout=120, check=False
    )


def docker(machine: NativeMachine, *words: str) -> subprocess.CompletedProcess[bytes]:
    """`docker WORDS...` there, on the user's engine."""
    return orlop(machine, "docker", "-H", "unix:///run/orlop/docker/docker.sock", *words)


def outside(machine: NativeMachine, pid: int) -> int:
    """The number here of the process that the machine knows as *pid*."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            status = (entry / "status").read_text()
            ours = machine.cgroup in (entry / "cgroup").read_text()
        except OSError:
            continue
        numbers = status.partition("\nNSpid:\t")[2].partition("\n")[0].split()
        if ours and numbers[1:] == [str(pid)]:
            return int(entry.name)
    raise AssertionError(f"no process {pid}:\n{machine.log()}")
