"""The engines side by side: how each is started and what it is made of.

All run in this benchmark's namespaces and end with them, so nothing here stops anything. Each has
its own directory on the same file system, its own store, and the same images.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.engine import images
from bench.engine.client import Client

DEADLINE_S = 120.0
PAUSE_S = 0.05
CONTROL_GROUPS = Path("/sys/fs/cgroup")
RUN = Path("/run/bench-engine")
"""What engines keep in memory: a tmpfs of the tool root, as /run is one elsewhere."""

SIDES = ("orlop", "dockerd", "podman", "crun")

PODMAN_STORAGE = """
[storage]
driver = "overlay"
runroot = "{run}"
graphroot = "{data}"
"""
# Where the machine has no controller for processes crun would refuse a limit.
PODMAN_CONTAINERS = """
[containers]
pids_limit = 0
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "crun"
tmp_dir = "{run}"
[network]
network_config_dir = "{networks}"
"""


@dataclass(frozen=True, slots=True)
class Contestant:
    """An engine that runs, or the runtime alone (*socket_path* None).

    programs: names of the processes that it consists of, its containers' own apart.
    """

    name: str
    work: Path
    socket_path: Path | None = None
    programs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_floor(self) -> bool:
        return self.socket_path is None

    def client(self) -> Client:
        assert self.socket_path is not None
        return Client(self.socket_path)

    def networks(self) -> frozenset[str]:
        """Names of the networks it has."""
        found = self.client().call("GET", "/networks")
        return frozenset(network["Name"] for network in found)


def start(name: str, work: Path, source: Path) -> Contestant:
    """Start the engine *name* below *work*."""
    directory = work / name
    directory.mkdir()
    match name:
        case "orlop":
            contestant = start_orlop(directory, source)
        case "dockerd":
            contestant = start_dockerd(directory)
        case "podman":
            contestant = start_podman(directory)
        case _:
            images.make_rootfs(directory)
            return Contestant(name, directory)
    _wait_until_ready(contestant)
    return contestant


def start_orlop(work: Path, source: Path) -> Contestant:
    """Our engine, as a process that is not PID 1 of a machine."""
    images.make_rootfs(work / "images" / "busybox")
    command = [sys.executable, "-m", "orlop", "engine", f"--data={work / 'data'}"]
    command += [f"--run={RUN / 'orlop'}", f"--socket={work / 'sock'}"]
    command += [f"--images={work / 'images'}", f"--cgroup={CONTROL_GROUPS / 'orlop'}"]
    _spawn(command, work, {**os.environ, "PYTHONPATH": os.fspath(source)})
    return Contestant("orlop", work, work / "sock", (f"--socket={work / 'sock'}",))


def start_dockerd(work: Path) -> Contestant:
    """Debian's dockerd with its containerd and runc."""
    socket_path = work / "sock"
    command = ["dockerd", f"--host=unix://{socket_path}", f"--data-root={work / 'data'}"]
    command += [f"--exec-root={RUN / 'dockerd'}", f"--pidfile={work / 'pid'}"]
    command += ["--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs"]
    _spawn(command, work, os.environ)
    programs = ("dockerd", "containerd", "containerd-shim", "docker-proxy")
    return Contestant("dockerd", work, socket_path, programs)


def start_podman(work: Path) -> Contestant:
    """Podman's service with crun, overlay storage and cgroupfs."""
    socket_path = work / "sock"
    (work / "storage.conf").write_text(
        PODMAN_STORAGE.format(run=RUN / "podman", data=work / "data"), encoding="utf-8"
    )
    (work / "containers.conf").write_text(
        PODMAN_CONTAINERS.format(run=RUN / "libpod", networks=work / "networks"), encoding="utf-8"
    )
    environment = {
        **os.environ,
        "CONTAINERS_STORAGE_CONF": str(work / "storage.conf"),
        "CONTAINERS_CONF": str(work / "containers.conf"),
    }
    _spawn(["podman", "system", "service", "--time=0", f"unix://{socket_path}"], work, environment)
    return Contestant("podman", work, socket_path, ("podman", "conmon"), environment)


def _wait_until_ready(contestant: Contestant) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            contestant.client().call("GET", "/_ping")
            return
        except OSError:
            pass
        if time.monotonic() > deadline:
            log = (contestant.work / "log").read_text()[-2000:]
            raise TimeoutError(f"{contestant.name} does not answer:\n{log}")
        time.sleep(PAUSE_S)


def _spawn(command: list[str], work: Path, environment: Mapping[str, str]) -> None:
    with (work / "log").open("wb") as stream:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment
        )


class Bundle:
    """A bundle that is ready for the runtime, for one command."""

    def __init__(self, floor: Contestant, command: list[str]) -> None:
        self.directory = floor.work
        self._root = f"--root={RUN / 'crun'}"
        if not (floor.work / "config.json").exists():
            subprocess.run(["crun", "spec"], cwd=floor.work, check=True)
        config = json.loads((floor.work / "config.json").read_text())
        config["process"] |= {"args": command, "terminal": False}
        config["root"]["readonly"] = True
        (floor.work / "config.json").write_text(json.dumps(config))

    def crun(self, *words: str, stdout: int = subprocess.DEVNULL) -> None:
        """Call the runtime."""
        command = [shutil.which("crun") or "crun", self._root, "--cgroup-manager=cgroupfs", *words]
        subprocess.run(
            command, cwd=self.directory, stdin=subprocess.DEVNULL, stdout=stdout, check=True
        )
