"""A machine without a machine: PID 1 of Orlop in namespaces of this Linux, started in a second.

The root is made of this system's own /usr with the source tree laid over it as the builder would,
and service images of busybox. PID 1 runs in PID, mount, network, IPC, UTS and cgroup
namespaces of its own and believes it has booted: /dev is a memory file system with the harmless
nodes, /dev/kmsg and /dev/console are pipes that this class reads, reboot(2) ends the namespace.
Settings of the host's kernel are not touched, since the image has no tuning table.
"""

from __future__ import annotations

import atexit
import compileall
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self

SOURCE = Path(__file__).parents[2] / "src"
LIBRARIES = Path("/usr/lib/python3/dist-packages")
BUSYBOX_APPLETS = (
    "sh",
    "sleep",
    "cat",
    "true",
    "false",
    "kill",
    "ls",
    "test",
    "echo",
    "id",
    "trap",
)

_NODES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9))

# $1 the root to be, $2 its image, $3 the cgroup's name, $4 what is on a disk. The root becomes that
# of the mount namespace: entering one (`exec`) leads to there.
_OUTER = """
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1"
cd "$1"
mkdir usr etc dev proc sys run tmp var root cg disk
mount --bind "$4" disk
mount -t overlay -o ro,lowerdir="$2/usr:/usr" overlay usr
mount --bind "$2/etc" etc
mount --bind "$2/dev" dev
mount --bind "$2/var" var
for link in bin sbin lib lib64; do ln -s usr/$link $link; done
mount -t cgroup2 cgroup2 cg
mkdir "cg/$3"
exec unshare --pid --fork --kill-child --net --ipc --uts sh -c '
echo $$ > "$1/cg/$2/cgroup.procs"
umount -l "$1/cg"; rmdir "$1/cg"
cd "$1"
mount --move . /
exec unshare --cgroup chroot . /usr/bin/python3.13 -I -S -OO /usr/lib/orlop/python init
' sh "$1" "$3"
"""


@functools.cache
def compiled_python() -> Path:
    """The directory that Python is started on, compiled as in the image; made once per test run."""
    directory = Path(tempfile.mkdtemp(prefix="orlop-python-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    python = directory / "python"
    shutil.copytree(SOURCE, python, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(SOURCE / "orlop/__main__.py", python / "__main__.py")
    for library in ("yaml",):
        shutil.copytree(LIBRARIES / library, python / library)
    compileall.compile_dir(python, quiet=2, optimize=2)
    return python


class NativeMachine:
    """Use it in a `with` statement. *services* are Compose mappings by name.

    *disk* is a directory for what is to be there for the next machine: see `keep`.
    """

    def __init__(self, services: dict[str, dict[str, Any]], *, disk: Path | None = None) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="orlop-native-"))
        self._root = self._directory / "root"
        self._image = self._directory / "image"
        self._disk = disk or self._directory / "disk"
        self._process: subprocess.Popen[bytes] | None = None
        self._log: list[str] = []
        self._stop_reading = threading.Event()
        self._services = services

    def __enter__(self) -> Self:
        self._lay_out()
        for name in ("kmsg", "console"):
            threading.Thread(target=self._read_pipe, args=(name,), daemon=True).start()
        command = ["unshare", "--mount", "sh", "-c", _OUTER, "sh"]
        with (self._directory / "stdout").open("wb") as stdout:
            self._process = subprocess.Popen(
                [*command, self._root, self._image, self.cgroup, self._disk],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=subprocess.STDOUT,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._stop_reading.set()
        self._remove_cgroup()
        shutil.rmtree(self._directory, ignore_errors=True)

    @property
    def cgroup(self) -> str:
        return self._directory.name

    @property
    def pid(self) -> int:
        """PID 1 of the machine, as this system counts: the grandchild of what was started."""
        assert self._process is not None
        deadline_s = time.monotonic() + 10
        while time.monotonic() < deadline_s:
            path = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            children = path.read_text().split()
            if children and b"init" in Path(f"/proc/{children[0]}/cmdline").read_bytes():
                return int(children[0])
            time.sleep(0.01)
        raise AssertionError(f"PID 1 did not start:\n{self.log()}")

    def path(self, inside: str) -> Path:
        """A path of the machine, seen from here."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def keep(self, inside: str) -> None:
        """Let what is at *inside* be on the disk, where it stays for another machine."""
        on_disk = "/disk/" + inside.strip("/").replace("/", "-")
        for path in (inside, on_disk):
            self.path(path).mkdir(parents=True, exist_ok=True)
        command = ["nsenter", f"--target={self.pid}", "--mount", "mount", "--bind"]
        subprocess.run([*command, on_disk, inside], check=True)

    def log(self) -> str:
        """What PID 1 wrote to the kernel log and the console, and what was written before it."""
        return "".join(self._log) + (self._directory / "stdout").read_text(errors="replace")

    def request(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        """One request to the API, *body* as JSON unless it is bytes; status and decoded answer.

        Raises:
            OSError: nobody answers.
        """
        connection = _UnixConnection(str(self.path("/run/orlop/system.sock")))
        try:
            data = body if body is None or isinstance(body, bytes) else json.dumps(body)
            kind = "x-tar" if isinstance(body, bytes) else "json"
            headers = {} if data is None else {"Content-Type": f"application/{kind}"}
            connection.request(method, target, data, headers)
            response = connection.getresponse()
            content = response.read()
            is_json = (response.getheader("Content-Type") or "").startswith("application/json")
            return response.status, json.loads(content) if is_json and content else content
        finally:
            connection.close()

    def wait_ready(self, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until the status says ready (or recovery), and return it."""
        return self.wait_for(lambda status: status["phase"] in ("ready", "recovery"), timeout_s)

    def wait_for(self, condition: Any, timeout_s: float = 60) -> dict[str, Any]:
        """Wait until *condition* of the status holds, and return the status."""
        deadline_s = time.monotonic() + timeout_s
        status: dict[str, Any] = {}
        while time.monotonic() < deadline_s:
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"PID 1 ended:\n{self.log()}")
            try:
                code, status = self.request("GET", "/orlop/status")
            except OSError:
                code = 0
            if code == 200 and condition(status):
                return status
            time.sleep(0.05)
        raise AssertionError(f"not in time: {json.dumps(status, indent=1)}\n{self.log()}")

    def wait_end(self, timeout_s: float = 60) -> int:
        """Wait until the machine has ended, and return how (the negative signal)."""
        assert self._process is not None
        return self._process.wait(timeout_s)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to PID 1."""
        os.kill(self.pid, number)

    def kill_inside(self, pid: int) -> None:
        """SIGKILL to the process that the machine itself knows as *pid*."""
        for entry in os.listdir("/proc"):
            if not entry.isdecimal():
                continue
            try:
                status = Path(f"/proc/{entry}/status").read_text()
                ours = self.cgroup in Path(f"/proc/{entry}/cgroup").read_text()
            except OSError:
                continue
            # NSpid: the number here, the one in the machine, and those in namespaces within.
            numbers = status.partition("\nNSpid:\t")[2].partition("\n")[0].split()
            if ours and numbers[1:2] == [str(pid)]:
                os.kill(int(entry), signal.SIGKILL)
                return

    def _lay_out(self) -> None:
        usr, device = self._image / "usr/lib/orlop", self._image / "dev"
        for directory in (self._root, usr / "images", device, self._image / "etc"):
            directory.mkdir(parents=True)
        (self._image / "var").mkdir()
        self._disk.mkdir(exist_ok=True)
        shutil.copytree(compiled_python(), usr / "python", copy_function=os.link)
        (usr / "release.json").write_text('{"version": "0.0.1", "build_id": "native"}')
        (self._image / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (self._image / "etc/group").write_text("root:x:0:\n")
        for name, definition in self._services.items():
            self._make_service(usr / "images" / name, definition)
        for name, minor in _NODES:
            os.mknod(device / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        os.mknod(device / "tty", 0o666 | stat.S_IFCHR, os.makedev(5, 0))
        for name in ("kmsg", "console"):
            os.mkfifo(device / name, 0o600)
        for name in ("pts", "shm", "mqueue"):
            (device / name).mkdir()

    def _make_service(self, image: Path, definition: dict[str, Any]) -> None:
        root = image / "rootfs"
        for name in ("bin", "dev", "etc", "proc", "sys", "run", "tmp"):
            (root / name).mkdir(parents=True)
        shutil.copy("/usr/bin/busybox", root / "bin/busybox")
        for name in BUSYBOX_APPLETS:
            (root / "bin" / name).symlink_to("busybox")
        (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (root / "etc/group").write_text("root:x:0:\n")
        (image / "service.json").write_text(json.dumps(definition))

    def _read_pipe(self, name: str) -> None:
        """Keep the pipe open for ever, so that PID 1 can write at any time."""
        descriptor = os.open(self._image / "dev" / name, os.O_RDWR | os.O_NONBLOCK)
        try:
            while not self._stop_reading.wait(0.02):
                with contextlib.suppress(BlockingIOError):
                    data = os.read(descriptor, 65536).decode(errors="replace")
                    self._log.append(data.replace("<", "\n<"))
        finally:
            os.close(descriptor)

    def _remove_cgroup(self) -> None:
        """The kernel's cgroup2 tree keeps our directories until somebody removes them."""
        script = (
            'd=$(mktemp -d) && mount -t cgroup2 cgroup2 "$d" && '
            'echo 1 > "$d/$1/cgroup.kill"; sleep 0.1; '
            'find "$d/$1" -depth -type d -exec rmdir {} +; umount "$d"; rmdir "$d"'
        )
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", script, "sh", self.cgroup],
            check=False,
            stderr=subprocess.DEVNULL,
        )


class _UnixConnection(HTTPConnection):
    """http.client over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
