"""Crash points: the places where an engine or one of its workers changes something outside itself.

Runs inside the engine (`engine_program.py`) and inside its workers, and is told what to do through
a mapped file that the test shares with all of them. Every write, creation, rename, link, removal,
truncation, sync, mount, netlink change, start and end of a child is a point. A point is named by
the process, the call, the place in the engine's code and the path without its random parts;
together with a number, for the same is done many times, that finds it again in the next run.

At the chosen point, before the call, the engine dies, or the worker does, or the call fails.
Only what the engine's own code does is a point: what crun, nft and the kernel do is not.
"""

from __future__ import annotations

import builtins
import collections
import contextlib
import errno
import io
import json
import mmap
import os
import re
import signal
import stat
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

PLAN_BYTES = 4096
GENERATION, FIRED, PLAN = 0, 1, 2
"""Offsets in the shared file: 0 there is "disarmed"; whether it has happened; the plan's text."""

_RANDOM = re.compile(r"[0-9a-f]{8,}|\d+")
_SOURCE = f"{os.sep}orlop{os.sep}"

_os = {name: getattr(os, name) for name in dir(os)}
"""What the functions were before `install`."""


class Points:
    """Those of one process. *control* is the directory shared with the test."""

    def __init__(self, control: Path, process: str, roots: tuple[str, ...]) -> None:
        self.control = control
        self.process = process
        self._roots = roots
        descriptor = _os["open"](control / "plan", os.O_RDWR | os.O_CLOEXEC)
        self._shared = mmap.mmap(descriptor, PLAN_BYTES)
        _os["close"](descriptor)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._log = _os["open"](control / "points", flags, 0o666)
        self._doom = _os["open"](control / "doom", os.O_RDWR | os.O_CLOEXEC)
        self._parent = os.getppid()
        self._lock = threading.RLock()
        self._generation = 0
        self._plan: dict[str, Any] = {}
        self._counts: collections.Counter[str] = collections.Counter()
        self._kept: list[int] = []

    # What the wrappers call.

    def reach(self, call: str, path: object) -> None:
        """The call is about to happen.

        Raises:
            OSError: it is to fail.
        """
        if not self._shared[GENERATION]:
            return
        text = _text(path)
        if self._is_ignored(text):
            return
        pattern = text.replace(str(self.control.parent), "~").replace(self.control.parent.name, "~")
        name = f"{self.process} {call} {_place()} {_RANDOM.sub('*', pattern)}"
        with self._lock:
            self._counts[name] += 1
            number = self._counts[name]
        if self._plan["do"] == "record":
            self.note({"point": name, "number": number})
        elif (name, number) == (self._plan["point"], self._plan["number"]):
            if self._shared[FIRED]:
                return
            self._shared[FIRED] = 1
            self._happen(text)

    def synced(self, descriptor: int) -> None:
        """What is open as *descriptor* has been synced: keep what it was, for the power cut."""
        if not self._shared[GENERATION] or self.process != "engine":
            return
        with self._lock:
            self._look()
            if self._plan.get("keep_synced"):
                # Kept open: its inode's number must not be given to another file.
                self._kept.append(os.dup(descriptor))
                self.note({"synced": _image(descriptor, self.control)})

    def wants(self, path: str) -> bool:
        """Whether changes of *path* count."""
        return self.process != "engine" or path.startswith(self._roots)

    def note(self, line: dict[str, Any]) -> None:
        _os["write"](self._log, json.dumps(line).encode() + b"\n")

    def watch_doom(self) -> None:
        """In the engine: end who asks for it. Workers may send no signals."""

        def watch() -> None:
            with open(self.control / "doom", "rb", buffering=0) as stream:
                while words := stream.read(32).split():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(int(words[0]), signal.SIGKILL)

        threading.Thread(target=watch, daemon=True).start()

    def next_worker(self, words: tuple[str, ...]) -> str:
        """A name for a worker that is about to be started."""
        kind = " ".join(word for word in words if word.isidentifier())
        with self._lock:
            self._look()
            self._counts[f"worker {kind}"] += 1
            return f"{kind}/{self._counts[f'worker {kind}']}"

    def _is_ignored(self, path: str) -> bool:
        with self._lock:
            self._look()
            return any(word in path for word in self._plan["ignore"])

    def _look(self) -> None:
        """Read a plan that is new."""
        generation = self._shared[GENERATION]
        if generation != self._generation:
            text = bytes(self._shared[PLAN:]).partition(b"\0")[0]
            self._plan = json.loads(text) if text else {}
            self._counts.clear()
            self._generation = generation

    def _happen(self, path: str) -> None:
        number = self._plan.get("errno", 0)
        if number:
            raise OSError(number, os.strerror(number), path)
        if self.process == "engine":
            os.kill(os.getpid(), signal.SIGKILL)
        victim = self._parent if self._plan["do"] == "engine" else os.getpid()
        _os["write"](self._doom, f"{victim}".encode().ljust(32))
        # Whoever loses its engine goes on, as it would.
        while os.getppid() == self._parent:
            time.sleep(0.001)


def _text(path: object) -> str:
    """A path, or what the descriptor *path* is open on."""
    if isinstance(path, int):
        try:
            return str(_os["readlink"](f"/proc/self/fd/{path}"))
        except OSError:
            return "fd"  # in a worker's chroot
    return os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)


def _place() -> str:
    """Where in Orlop's code this is."""
    frame = sys._getframe(2)
    while frame.f_back is not None and _SOURCE not in frame.f_code.co_filename:
        frame = frame.f_back
    module = frame.f_code.co_filename.rpartition(_SOURCE)[2]
    caller = frame.f_back
    # A file is replaced for many reasons: the caller tells which.
    while caller is not None and caller.f_code.co_filename == frame.f_code.co_filename:
        caller = caller.f_back
    by = ""
    if module.startswith("lib") and caller is not None and _SOURCE in caller.f_code.co_filename:
        by = f"<{caller.f_code.co_filename.rpartition(_SOURCE)[2]}:{caller.f_lineno}"
    return f"{module}:{frame.f_lineno}{by}"


def _image(descriptor: int, control: Path) -> dict[str, Any]:
    """What a file or directory is now; a file's content is put aside."""
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        return {"inode": status.st_ino, "names": listing(descriptor)}
    name = f"content-{time.monotonic_ns()}"
    with (
        _real_open(f"/proc/self/fd/{descriptor}", "rb") as source,
        _real_open(control / name, "wb") as target,
    ):
        while data := source.read(1 << 20):
            target.write(data)
    return {"inode": status.st_ino, "content": name}


def listing(directory: int | str) -> dict[str, list[Any]]:
    """Inode, mode, owner, group, device and target of everything in *directory*."""
    found: dict[str, list[Any]] = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):
                status = entry.stat(follow_symlinks=False)
                target = ""
                if entry.is_symlink():
                    where = {"dir_fd": directory} if isinstance(directory, int) else {}
                    target = os.readlink(entry.name if where else entry.path, **where)
                found[entry.name] = [
                    *(status.st_ino, status.st_mode, status.st_uid, status.st_gid),
                    *(status.st_rdev, target),
                ]
    return found


_real_open = io.open


class _File(io.FileIO):
    """A file whose writes are points."""

    points: Points

    def write(self, data: Any, /) -> int:
        self.points.reach("write", self.name)
        return super().write(data)

    def truncate(self, size: int | None = None, /) -> int:
        self.points.reach("truncate", self.name)
        return super().truncate(size)


def _make_open(points: Points) -> Callable[..., Any]:
    """`open` whose files for writing are `_File`s."""
    _File.points = points

    def opened(
        file: Any,
        mode: str = "r",
        buffering: int = -1,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        closefd: bool = True,
        opener: Any = None,
    ) -> Any:
        path = _text(file)
        reading = not set(mode) & set("wax+")
        if reading or not points.wants(path) or (isinstance(file, int) and not _is_file(file)):
            return _real_open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if not isinstance(file, int):
            points.reach("create", path)
        raw = _File(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    return opened


def _is_file(descriptor: int) -> bool:
    return stat.S_ISREG(os.fstat(descriptor).st_mode)


_BY_PATH = (
    *("rename", "replace", "link", "symlink", "unlink", "remove", "mkdir", "rmdir"),
    *("truncate", "mkfifo", "mknod"),
)
_BY_DESCRIPTOR = ("write", "pwrite", "writev", "ftruncate", "fsync", "fdatasync")


def install(points: Points) -> None:
    """Put the points around the functions of `os`, `open`, the C library's mounts and netlink."""
    for name in _BY_PATH:
        setattr(os, name, _by_path(points, name))
    for name in _BY_DESCRIPTOR:
        setattr(os, name, _by_descriptor(points, name))
    os.open = _make_os_open(points)
    for name, at in (("sendfile", 0), ("copy_file_range", 1), ("splice", 1)):
        setattr(os, name, _by_descriptor(points, name, at))
    io.open = builtins.open = _make_open(points)
    from orlop.lib import linux

    linux.LIBC = _Library(points, linux.LIBC)  # type: ignore[assignment]


def _by_path(points: Points, name: str) -> Callable[..., Any]:
    real = _os[name]

    def wrapper(*arguments: Any, **named: Any) -> Any:
        # The new name of a rename or link says more than the old one.
        two = name in ("rename", "replace", "link", "symlink")
        path = _text(arguments[1] if two else arguments[0])
        if points.wants(path):
            points.reach(name, path)
        return real(*arguments, **named)

    return wrapper


def _by_descriptor(points: Points, name: str, at: int = 0) -> Callable[..., Any]:
    real = _os[name]

    def wrapper(*arguments: Any, **named: Any) -> Any:
        descriptor = arguments[at]
        is_sync = name in ("fsync", "fdatasync")
        if is_sync or _is_file(descriptor):
            path = _text(descriptor)
            if points.wants(path) and not path.startswith("/memfd:"):
                points.reach(name, path)
        result = real(*arguments, **named)
        if is_sync:
            points.synced(descriptor)
        return result

    return wrapper


def _make_os_open(points: Points) -> Callable[..., int]:
    def wrapper(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & (os.O_CREAT | os.O_TRUNC) or flags & os.O_TMPFILE == os.O_TMPFILE:
            text = _text(path)
            if points.wants(text):
                points.reach("create", text)
        return int(_os["open"](path, flags, *more, **named))

    return wrapper


_CALLS = {166: "umount2", 165: "mount", 429: "move_mount", 442: "mount_setattr", 306: "syncfs"}


class _Function:
    """A function of the C library, which can fail as it does."""

    points: Points
    name: str
    real: Any

    def __init__(self, points: Points, name: str, real: Any) -> None:
        vars(self).update(points=points, name=name, real=real)

    def __setattr__(self, key: str, value: object) -> None:
        setattr(self.real, key, value)

    def __call__(self, *arguments: Any) -> Any:
        import ctypes

        name, path = self.name, arguments[0]
        if name == "syscall":
            name, path = _CALLS.get(getattr(arguments[0], "value", 0), ""), ""
        elif name == "mount":
            path = arguments[1]
        if name:
            try:
                self.points.reach(name, path)
            except OSError as error:
                ctypes.set_errno(error.errno or errno.EIO)
                return -1
        return self.real(*arguments)


class _Library:
    """The C library with points around what mounts."""

    def __init__(self, points: Points, real: Any) -> None:
        self._points, self._real = points, real
        self._made: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name not in ("mount", "umount2", "syscall", "syncfs"):
            return getattr(self._real, name)
        if name not in self._made:
            self._made[name] = _Function(self._points, name, getattr(self._real, name))
        return self._made[name]


def install_in_engine(points: Points) -> None:
    """What only the engine has: network changes, children, and workers that have points too."""
    from orlop.engine import worker_process
    from orlop.lib.children import Child
    from orlop.lib.netlink_message import NetlinkError
    from orlop.lib.netlink_socket import NetlinkSocket

    def wrap(name: str) -> None:
        real = getattr(NetlinkSocket, name)

        def wrapper(self: NetlinkSocket, *arguments: Any) -> Any:
            try:
                points.reach("netlink", name)
            except OSError as error:
                raise NetlinkError(error.errno or errno.EIO) from None
            return real(self, *arguments)

        setattr(NetlinkSocket, name, wrapper)

    wrap("send")
    wrap("send_raw")
    spawn, finish = os.posix_spawn, Child.finish

    def posix_spawn(path: Any, argv: Any, *more: Any, **named: Any) -> int:
        points.reach("spawn", os.path.basename(path))
        return spawn(path, argv, *more, **named)

    def finished(self: Child, status: Any) -> None:
        with contextlib.suppress(OSError):
            points.reach("ended", "child")
        finish(self, status)

    os.posix_spawn = posix_spawn
    Child.finish = finished  # type: ignore[method-assign]
    make_argv = worker_process.worker_argv

    def worker_argv(name: str, *arguments: str) -> list[str]:
        argv = make_argv(name, *arguments)
        label = points.next_worker((name, *arguments[:1]))
        place = argv.index("-c") + 1
        start = "from tests.engine.crash import points; points.install_in_worker"
        argv[place] = argv[place].replace(
            "from orlop.__main__",
            f"{start}({str(points.control)!r}, {label!r}); from orlop.__main__",
        )
        return argv

    worker_process.worker_argv = worker_argv


def install_in_worker(control: str, label: str) -> None:
    """The first thing a worker does."""
    install(Points(Path(control), label, ()))
