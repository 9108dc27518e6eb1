"""The engines side by side: how each is started and what it is made of.

All run in this benchmark's namespaces and end with them. Each has its own directory on the same
file system, its own store, and the same images.
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

SIDES = ("orlop", "dockerd", "podman", "floor")

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
PODMAN_REGISTRIES = """
unqualified-search-registries = ["docker.io"]
short-name-mode = "disabled"
[[registry]]
prefix = "127.0.0.1"
location = "127.0.0.1"
insecure = true
"""


@dataclass(slots=True)
class Contestant:
    """An engine that runs, or the floor (no *command*): the runtime alone, hashing alone.

    programs: names of the processes that it consists of, its containers' own apart.
    """

    name: str
    work: Path
    command: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def is_floor(self) -> bool:
        return not self.command

    @property
    def socket_path(self) -> Path:
        return self.work / "sock"

    def client(self) -> Client:
        return Client(self.socket_path)

    def docker(self) -> dict[str, str]:
        """The environment in which docker's command talks to it."""
        return {"DOCKER_HOST": f"unix://{self.socket_path}", **os.environ}

    def networks(self) -> frozenset[str]:
        """Names of the networks it has."""
        found = self.client().call("GET", "/networks")
        return frozenset(network["Name"] for network in found)

    def start(self) -> None:
        """Returns when it answers. Raises: TimeoutError."""
        with (self.work / "log").open("ab") as stream:
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                env={**os.environ, **self.environment},
            )
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                self.client().call("GET", "/_ping")
                return
            except OSError:
                pass
            if time.monotonic() > deadline or self.process.poll() is not None:
                log = (self.work / "log").read_text(errors="replace")[-2000:]
                raise TimeoutError(f"{self.name} does not answer:\n{log}")
            time.sleep(PAUSE_S)

    def restart(self) -> None:
        """Kill it, start it again, and remove its containers."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.socket_path.unlink(missing_ok=True)
        (self.work / "pid").unlink(missing_ok=True)
        self.start()
        for container in self.client().call("GET", "/containers/json?all=1"):
            self.client().end(container["Id"])


def make(name: str, work: Path, source: Path) -> Contestant:
    """The side *name* below *work*, not started."""
    directory = work / name
    directory.mkdir()
    match name:
        case "orlop":
            return _orlop(directory, source)
        case "dockerd":
            return _dockerd(directory)
        case "podman":
            return _podman(directory)
        case _:
            images.make_rootfs(directory)
            return Contestant(name, directory)


def _orlop(work: Path, source: Path) -> Contestant:
    """Our engine, as a process that is not PID 1 of a machine."""
    socket_option = f"--socket={work / 'sock'}"
    command = [sys.executable, "-m", "orlop", "engine", f"--data={work / 'data'}", socket_option]
    command += [f"--run={RUN / 'orlop'}", f"--cgroup={CONTROL_GROUPS / 'orlop'}"]
    environment = {"PYTHONPATH": os.fspath(source)}
    return Contestant("orlop", work, tuple(command), (socket_option,), environment)


def _dockerd(work: Path) -> Contestant:
    """Debian's dockerd with its containerd and runc."""
    command = ["dockerd", f"--host=unix://{work / 'sock'}", f"--data-root={work / 'data'}"]
    command += [f"--exec-root={RUN / 'dockerd'}", f"--pidfile={work / 'pid'}"]
    command += ["--storage-driver=overlay2", "--exec-opt=native.cgroupdriver=cgroupfs"]
    programs = ("dockerd", "containerd", "containerd-shim", "docker-proxy")
    return Contestant("dockerd", work, tuple(command), programs)


def _podman(work: Path) -> Contestant:
    """Podman's service with crun, overlay storage and cgroupfs."""
    files = {
        "storage.conf": PODMAN_STORAGE.format(run=RUN / "podman", data=work / "data"),
        "containers.conf": PODMAN_CONTAINERS.format(run=RUN / "libpod", networks=work / "networks"),
        "registries.conf": PODMAN_REGISTRIES,
    }
    for name, text in files.items():
        (work / name).write_text(text, encoding="utf-8")
    environment = {
        "CONTAINERS_STORAGE_CONF": str(work / "storage.conf"),
        "CONTAINERS_CONF": str(work / "containers.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(work / "registries.conf"),
    }
    command = ("podman", "system", "service", "--time=0", f"unix://{work / 'sock'}")
    return Contestant("podman", work, command, ("podman", "conmon"), environment)


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
