"""The engines side by side: how each is started, and one container's life on it.

All run in this benchmark's namespaces and end with them, so nothing here stops anything.
"""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = ["/bin/true"]
BUSYBOX = Path("/usr/bin/busybox")
DEADLINE_S = 120.0
PAUSE_S = 0.05
CONTROL_GROUPS = Path("/sys/fs/cgroup")

type Life = Callable[[str], None]
"""Creates, starts, waits for and deletes a container of the name it is given."""


@dataclass(frozen=True, slots=True)
class Contestant:
    """An engine that runs: its name, and one container's life on it."""

    name: str
    live: Life


def make_rootfs(folder: Path) -> Path:
    """The root of the containers: busybox, and where things are mounted."""
    root = folder / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "run"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in ("true", "sh"):
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    return root


def start_orlop(work: Path, source: Path) -> Contestant:
    """Our engine, as a process that is not PID 1 of a machine."""
    directory, images = work / "orlop", work / "images"
    directory.mkdir()
    make_rootfs(images / "busybox")
    command = [sys.executable, "-m", "bench.engine_start.orlop_engine"]
    command += [str(directory), str(CONTROL_GROUPS / "orlop"), str(images)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(source), str(source.parent)))}
    _start(command, work / "orlop.log", environment)
    return _ready("orlop", directory / "sock", "busybox", work / "orlop.log")


def start_dockerd(work: Path, tree: Path) -> Contestant:
    """dockerd of the Debian tree *tree*, without a bridge, its data on the same file system."""
    _run(["mount", "--bind", str(tree), str(tree)])  # dockerd insists that / is a mount
    for name in ("proc", "sys", "dev"):
        _run(["mount", "--rbind", f"/{name}", str(tree / name)])
    _run(["mount", "-t", "tmpfs", "tmpfs", str(tree / "run")])
    shutil.rmtree(tree / "var/lib/docker", ignore_errors=True)
    command = ["chroot", str(tree), "dockerd", "--bridge=none", "--iptables=false"]
    command += ["--ip6tables=false", "--exec-opt", "native.cgroupdriver=cgroupfs"]
    log = work / "dockerd.log"
    _start(command, log, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
    socket_path = tree / "run/docker.sock"
    contestant = _ready("dockerd", socket_path, "bench", log)
    archive = subprocess.run(
        ["tar", "-C", str(make_rootfs(work / "import")), "-c", "."],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    _expect(200, *_request(socket_path, "POST", "/images/create?fromSrc=-&repo=bench", archive))
    return contestant


def start_crun(work: Path) -> Contestant:
    """No engine: crun run of a ready bundle, the least that a container can take this way."""
    bundle = work / "crun"
    make_rootfs(bundle)
    _run(["crun", "spec"], cwd=bundle)
    config = json.loads((bundle / "config.json").read_text())
    config["process"] |= {"args": COMMAND, "terminal": False}
    config["root"]["readonly"] = True
    (bundle / "config.json").write_text(json.dumps(config))

    def live(name: str) -> None:
        root = f"--root={work / 'crun-state'}"
        _run(["crun", root, "--cgroup-manager=cgroupfs", "run", "--bundle", str(bundle), name])

    return Contestant("crun", live)


def _ready(name: str, path: Path, image: str, log: Path) -> Contestant:
    deadline = time.monotonic() + DEADLINE_S
    while True:
        try:
            if _request(path, "GET", "/_ping")[0] == 200:
                break
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} does not answer:\n{log.read_text()[-2000:]}")
        time.sleep(PAUSE_S)
    body = {"Image": image, "Cmd": COMMAND, "HostConfig": {"NetworkMode": "none"}}

    def live(container: str) -> None:
        target = f"/containers/{container}"
        _expect(201, *_request(path, "POST", f"/containers/create?name={container}", body))
        _expect(204, *_request(path, "POST", f"{target}/start"))
        _expect(200, *_request(path, "POST", f"{target}/wait"))
        _expect(204, *_request(path, "DELETE", target))

    return Contestant(name, live)


def _request(
    path: Path, method: str, target: str, body: Mapping[str, Any] | bytes | None = None
) -> tuple[int, bytes]:
    connection = _UnixConnection(path)
    try:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        kind = "application/x-tar" if isinstance(body, bytes) else "application/json"
        connection.request(method, target, data, {"Content-Type": kind} if data else {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def _expect(wanted: int, status: int, body: bytes) -> None:
    if status != wanted:
        raise RuntimeError(f"answered {status} and not {wanted}: {body.decode(errors='replace')}")


def _start(command: list[str], log: Path, environment: Mapping[str, str]) -> None:
    with log.open("wb") as stream:
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment
        )


def _run(command: list[str], cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, check=True)
