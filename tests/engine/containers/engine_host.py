"""Starts engines in private namespaces for tests, and talks to their API.

`enter_namespaces` moves the test process itself: mounts, network, IPC and UTS of its own, cgroup2
over /sys/fs/cgroup, and a root that is a mount, as the OCI runtime wants it. Nothing of it is seen
outside.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from orlop.lib import cgroup, mount
from orlop.wire.stdcopy import Decoder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BUSYBOX = Path("/usr/bin/busybox")
_APPLETS = """
    sh cat dd echo env false grep head hostname id kill ls mkdir mount nproc printf ps pwd seq sleep
    sort stty test touch tr true tty wc yes
"""
PROGRAM = Path(__file__).with_name("engine_program.py")
SOURCE = Path(__file__).parents[3] / "src"
DEADLINE_S = 60.0


@functools.cache
def enter_namespaces() -> None:
    """Once per test process.

    Raises:
        OSError: EINVAL in a plain chroot, whose mounts cannot be kept from the world outside.
    """
    os.unshare(os.CLONE_NEWNS | os.CLONE_NEWNET | os.CLONE_NEWIPC | os.CLONE_NEWUTS)
    mount.mount(None, "/", None, mount.MountFlag.REC | mount.MountFlag.PRIVATE)
    root = Path(tempfile.mkdtemp(prefix="orlop-root-"))
    mount.mount("/", root, None, mount.MountFlag.BIND | mount.MountFlag.REC)
    if not (root / "sys/fs/cgroup/cgroup.controllers").exists():
        mount.mount("cgroup2", root / "sys/fs/cgroup", "cgroup2")
    # Over the present root, as an initramfs does it: entering a mount namespace (`exec`) leads to
    # what is mounted at its root, and that must be what the containers were made from.
    back = Path.cwd()
    os.chdir(root)
    mount.mount(".", "/", None, mount.MountFlag.MOVE)
    os.chroot(".")
    os.chdir(back)  # the same directory by the new root: later tests stay where they were
    socket.sethostname("enginetest")


def prepare_host(*programs: str) -> None:
    """Enter the namespaces; the test is skipped where they or what it runs cannot be had."""
    for needed in ("/usr/bin/crun", str(BUSYBOX), *programs):
        if not Path(needed).exists():
            pytest.skip(f"{needed} is not installed")
    if os.geteuid() != 0:
        pytest.skip("needs root for namespaces and mounts")
    enter_namespaces()


@contextlib.contextmanager
def running[E: EngineProcess](
    make: Callable[[Path], E], directory: Path | None = None
) -> Iterator[E]:
    """A started engine in *directory*, or a fresh one; what it wrote is shown if the test fails."""
    directory = directory or Path(tempfile.mkdtemp(prefix="oe-"))
    process = make(directory)
    try:
        process.start()
        yield process
    finally:
        process.stop()
        print(process.log())
        shutil.rmtree(directory, ignore_errors=True)


def make_image(images: Path, name: str = "busybox", definition: object = None) -> None:
    """Lay out an image directory with busybox in it."""
    root = images / name / "rootfs"
    for directory in ("bin", "etc", "proc", "dev", "sys", "tmp", "run", "root"):
        (root / directory).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in _APPLETS.split():
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text(
        "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n"
    )
    (root / "etc/group").write_text("root:x:0:\nalice:x:1000:\nwheel:x:10:alice\n")
    if definition is not None:
        (images / name / "service.json").write_text(json.dumps(definition))


class EngineProcess:
    """One engine, in a directory of its own; may be killed and started again."""

    def __init__(self, directory: Path, images: Path) -> None:
        self.directory = directory
        self._images = images
        self.cgroup_root = Path("/sys/fs/cgroup") / f"orlop-test-{os.getpid()}-{directory.name}"
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_path = directory / "sock"
        self.log_path = directory / "engine.log"

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command_line(),
                env={**os.environ, "PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "default"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.wait_until(self.answers)

    def command_line(self) -> list[str | Path]:
        """What is executed."""
        return [sys.executable, PROGRAM, self.directory, self.cgroup_root, self._images]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def answers(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"the engine ended:\n{self.log()}")
        try:
            return self.request("GET", "/_ping")[0] == 200
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL the engine; its containers go on."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def reexec(self) -> None:
        """Have it replace itself in place, and wait until the new one answers."""
        before = self._generation()
        os.kill(self.pid, signal.SIGUSR1)
        self.wait_until(lambda: self._generation() == before + 1)
        self.wait_until(self.answers)

    def _generation(self) -> int:
        environment = Path(f"/proc/{self.pid}/environ").read_bytes()
        for item in environment.split(b"\0"):
            if item.startswith(b"ORLOP_TEST_GENERATION="):
                return int(item.partition(b"=")[2])
        return 0

    def descriptors(self) -> int:
        """How many the engine has open, when the connections of earlier requests are closed."""
        self.wait_until(lambda: not self._connections())
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def _connections(self) -> int:
        path = os.fspath(self.socket_path)
        lines = Path("/proc/net/unix").read_text().splitlines()
        return sum(line.endswith(path) and line.split()[5] == "03" for line in lines)

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def stop(self) -> None:
        """End the engine and everything it ran."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        with contextlib.suppress(OSError):
            cgroup.kill(self.cgroup_root)
        self.wait_until(lambda: cgroup.remove(self.cgroup_root))
        for entry in reversed(mount.read_mounts()):
            if entry.target.is_relative_to(self.directory):
                mount.detach(entry.target)

    def request(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        """One exchange: status, and the body decoded if it is JSON."""
        connection = UnixConnection(self.socket_path)
        try:
            data = None if body is None else json.dumps(body)
            headers = {} if data is None else {"Content-Type": "application/json"}
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            content = response.read()
            is_json = (response.getheader("Content-Type") or "").startswith("application/json")
            return response.status, json.loads(content) if is_json and content else content
        finally:
            connection.close()

    def lines(self, method: str, target: str) -> tuple[int, list[Any]]:
        """An exchange whose answer is a JSON value per line."""
        connection = UnixConnection(self.socket_path)
        try:
            connection.request(method, target)
            response = connection.getresponse()
            return response.status, [json.loads(line) for line in response.read().splitlines()]
        finally:
            connection.close()

    def create(self, name: str, command: list[str], **fields: Any) -> str:
        """Create a container; *fields* are Docker's, `HostConfig` among them."""
        body = {"Image": "busybox", "Cmd": command, **fields}
        status, answer = self.request("POST", f"/containers/create?name={name}", body)
        assert status == 201, answer
        return str(answer["Id"])

    def run(self, name: str, command: list[str], **fields: Any) -> str:
        """Create and start."""
        container_id = self.create(name, command, **fields)
        status, answer = self.request("POST", f"/containers/{name}/start")
        assert status == 204, answer
        return container_id

    def inspect(self, name: str) -> dict[str, Any]:
        status, answer = self.request("GET", f"/containers/{name}/json")
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def state(self, name: str) -> str:
        return str(self.inspect(name)["State"]["Status"])

    def wait(self, name: str) -> int:
        """Wait for its end; the exit code."""
        status, answer = self.request("POST", f"/containers/{name}/wait")
        assert status == 200, answer
        return int(answer["StatusCode"])

    def logs(self, name: str, query: str = "") -> bytes:
        """The output so far, frames removed."""
        target = f"/containers/{name}/logs?stdout=1&stderr=1&{query}"
        status, content = self.request("GET", target)
        assert status == 200, content
        return b"".join(frame.data for frame in Decoder().feed(content))

    def execute(self, name: str, command: list[str], **fields: Any) -> tuple[int, bytes]:
        """Run *command* in it; exit code and output."""
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": command, **fields}
        status, answer = self.request("POST", f"/containers/{name}/exec", body)
        assert status == 201, answer
        status, content = self.request("POST", f"/exec/{answer['Id']}/start", {"Detach": False})
        assert status == 200, content
        _, inspected = self.request("GET", f"/exec/{answer['Id']}/json")
        output = b"".join(frame.data for frame in Decoder().feed(content))
        return inspected["ExitCode"], output

    def wait_until(self, condition: Callable[[], object], timeout_s: float = DEADLINE_S) -> None:
        """Look again and again until *condition* holds."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not in time:\n{self.log()}")
            time.sleep(0.02)


class UserEngine(EngineProcess):
    """`orlop engine`, whose containers outlive a boot."""

    def command_line(self) -> list[str | Path]:
        return [
            *(sys.executable, "-m", "orlop", "engine"),
            *(f"--data={self.directory}/data", f"--run={self.directory}/run"),
            *(f"--socket={self.socket_path}", f"--images={self._images}"),
            *(f"--cgroup={self.cgroup_root}", *self.options),
        ]

    def __init__(self, directory: Path, images: Path, options: tuple[str, ...] = ()) -> None:
        super().__init__(directory, images)
        self.options = options

    def check(self, *words: str) -> tuple[int, str]:
        """`orlop engine check` on its data; status and output."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "orlop", "engine", "check"),
                *(f"--data={self.directory}/data", *words),
            ],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def cut_power(self) -> None:
        """What a power cut leaves: nothing runs, nothing is mounted, the run directory is gone."""
        self.kill()
        cgroup.kill(self.cgroup_root)
        self.wait_until(lambda: cgroup.remove(self.cgroup_root))
        for entry in reversed(mount.read_mounts()):
            if entry.target.is_relative_to(self.directory):
                mount.detach(entry.target)
        shutil.rmtree(self.directory / "run")


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))
