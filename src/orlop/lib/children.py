"""Starting processes, and learning how each child of this process ended, orphans included.

For PID 1 and for subreapers on an asyncio loop. One SIGCHLD handler collects every dead child;
asyncio's own process support must not be used beside it. Three kinds of process are known here:

* *spawned* ones, started by `Children.spawn`;
* *adopted* ones, which somebody else started and which became our children (a container's init
  after the runtime that made it has ended) or are not our children at all (after a crash of an
  earlier engine), in which case a pidfd tells the end and, where the kernel can, the status;
* *orphans*, which nobody asked about. They are reaped and remembered for a while, because the init
  of a short-lived container may be dead before anyone could adopt it.

No threads, no fork: `posix_spawn` returns when the program has been executed or could not be.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import signal
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import DeadlineExceeded, OrlopError, Unavailable
from orlop.lib.linux import set_child_subreaper

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

REMEMBERED_ORPHANS = 512
"""Statuses kept of children nobody owned: more than can die while one container starts."""

REAPED_PER_TURN = 128
"""Children reaped before other callbacks of the loop get their turn: a dying fork bomb is large."""

OUTPUT_LIMIT_BYTES = 64 << 10
"""How much `run` keeps of a program's output; the rest is read and dropped."""

SPAWN_RETRY_DELAYS_S = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Waits between attempts while the kernel has no memory or no PID for a new process."""

KILLED_LIMIT_S = 5.0
"""How long a killed process is waited for: the kernel may be busy with its memory."""

STATUS_RETRY_DELAY_S = 0.05
STATUS_RETRIES = 20
"""A foreign process is dead before its parent has reaped it; only then its status can be read."""

DEFAULT_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

_RESET_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_FIRST_HIGH_FD = 64

# struct pidfd_info of linux/pidfd.h (v6.13), 64 bytes: mask, cgroup id, eleven ids, exit code.
_PIDFD_INFO = struct.Struct("=QQ11Ii")
_PIDFD_GET_INFO = 3 << 30 | _PIDFD_INFO.size << 16 | 0xFF << 8 | 11
_PIDFD_INFO_EXIT = 1 << 3


@dataclass(frozen=True, slots=True)
class ExitStatus:
    """How a process ended. *code* is a shell's: 128 + signal for one killed by a signal.

    *known* is false for a process of another parent on a kernel that does not tell; *code* is
    then 255.
    """

    code: int
    signal: int = 0
    known: bool = True

    @property
    def ok(self) -> bool:
        return self.known and self.code == 0


UNKNOWN_STATUS = ExitStatus(255, known=False)


def decode_wait_status(status: int) -> ExitStatus:
    """The status of wait(2), as an `ExitStatus`."""
    if os.WIFSIGNALED(status):
        return killed_by(os.WTERMSIG(status))
    return ExitStatus(os.WEXITSTATUS(status))


def killed_by(number: int) -> ExitStatus:
    """The status of a process that signal *number* has ended."""
    return ExitStatus(128 + number, number)


class Child:
    """A process whose end is watched. Made by `Children` only."""

    def __init__(self, pid: int, pidfd: int = -1) -> None:
        self.pid = pid
        self.status: ExitStatus | None = None
        self.pidfd = pidfd
        self._callbacks: list[Callable[[ExitStatus], None]] = []
        self._future: asyncio.Future[ExitStatus] | None = None

    def on_exit(self, callback: Callable[[ExitStatus], None]) -> None:
        """Call *callback* once when the process has ended; soon, if it has already."""
        if self.status is not None:
            asyncio.get_running_loop().call_soon(callback, self.status)
        else:
            self._callbacks.append(callback)

    async def wait(self) -> ExitStatus:
        """Wait for the end. Cancelling stops the waiting only."""
        if self.status is not None:
            return self.status
        if self._future is None:
            self._future = asyncio.get_running_loop().create_future()
        return await asyncio.shield(self._future)

    def send_signal(self, number: int) -> bool:
        """Send a signal; False when the process has ended."""
        if self.status is not None:
            return False
        try:
            if self.pidfd >= 0:
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                # Ours and not reaped: the number cannot belong to another process.
                os.kill(self.pid, number)
        except ProcessLookupError:
            return False
        return True

    def finish(self, status: ExitStatus) -> None:
        """Called by `Children`, once."""
        self.status = status
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self._future is not None and not self._future.done():
            self._future.set_result(status)
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback(status)


class Children:
    """The one place of a process that starts children and waits for them."""

    def __init__(self, on_orphan: Callable[[int, ExitStatus], None] | None = None) -> None:
        """*on_orphan* is told how a process ended that nobody here owns, before it is reaped."""
        self._on_orphan = on_orphan
        self._owned: dict[int, Child] = {}
        self._foreign: dict[int, Child] = {}
        self._orphans: dict[int, ExitStatus] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self.orphans_reaped = 0

    def start(self) -> None:
        """Begin to reap, on the running loop; makes this process a subreaper unless it is PID 1.

        May be called again by somebody who shares this object.
        """
        if self._loop is not None:
            return
        self._loop = asyncio.get_running_loop()
        if os.getpid() != 1:
            set_child_subreaper()
        self._loop.add_signal_handler(signal.SIGCHLD, self._reap)
        # What died before the handler was there has no signal left to announce it.
        self._loop.call_soon(self._reap)

    def close(self) -> None:
        """Stop reaping, and being whom orphans are left to. Children go on."""
        if self._loop is not None:
            if os.getpid() != 1:
                set_child_subreaper(enabled=False)
            self._loop.remove_signal_handler(signal.SIGCHLD)
            for child in self._foreign.values():
                self._loop.remove_reader(child.pidfd)
                os.close(child.pidfd)
                child.pidfd = -1
            self._foreign.clear()
            self._loop = None

    def spawn(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        fds: Mapping[int, int] | None = None,
        new_session: bool = False,
    ) -> Child:
        """Execute *argv*, whose first word is a path, with nothing inherited but *fds*.

        *fds* maps descriptors of the child to ours; standard ones that it leaves out are
        /dev/null. Signals are at their defaults, none is blocked.

        Raises:
            OSError: it cannot be executed; EAGAIN or ENOMEM when the machine has no room.
        """
        wanted = dict(fds or {})
        copies = []
        try:
            for target, source in wanted.items():
                # A source that another entry overwrites first is moved out of the way.
                if source != target and source in wanted:
                    copies.append(fcntl.fcntl(source, fcntl.F_DUPFD_CLOEXEC, _FIRST_HIGH_FD))
                    wanted[target] = copies[-1]
            actions: list[tuple[int, ...] | tuple[int, int, str, int, int]] = [
                (os.POSIX_SPAWN_OPEN, fd, "/dev/null", os.O_RDWR, 0)
                for fd in (0, 1, 2)
                if fd not in wanted
            ]
            actions += [(os.POSIX_SPAWN_DUP2, source, target) for target, source in wanted.items()]
            pid = os.posix_spawn(
                argv[0],
                list(argv),
                dict(DEFAULT_ENVIRONMENT if env is None else env),
                file_actions=actions,
                setsid=new_session,
                setsigmask=(),
                setsigdef=_RESET_SIGNALS,
            )
        finally:
            for descriptor in copies:
                os.close(descriptor)
        self._orphans.pop(pid, None)
        child = Child(pid)
        self._owned[pid] = child
        return child

    async def spawn_patiently(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        fds: Mapping[int, int] | None = None,
        new_session: bool = False,
    ) -> Child:
        """As `spawn`; waits and tries again while the machine has no memory or PID to spare.

        Raises:
            Unavailable: there still was none after some seconds.
            OSError: any other reason.
        """
        for delay_s in (*SPAWN_RETRY_DELAYS_S, None):
            try:
                return self.spawn(argv, env=env, fds=fds, new_session=new_session)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.ENOMEM):
                    raise
                if delay_s is None:
                    raise Unavailable(
                        f"cannot start {argv[0]}: {error.strerror}",
                        hint="the machine has no memory or process numbers left",
                    ) from error
            await asyncio.sleep(delay_s)
        raise AssertionError

    def adopt(self, pid: int) -> Child:
        """Watch process *pid*, which somebody else started, child of ours or not.

        If it was our child and has been reaped lately, the result has its status already.

        Raises:
            ProcessLookupError: no such process, and none remembered.
        """
        if pid in self._owned:
            return self._owned[pid]
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            pass
        else:
            self._orphans.pop(pid, None)
            child = self._owned[pid] = Child(pid)
            return child
        if (status := self._orphans.pop(pid, None)) is not None:
            child = Child(pid)
            child.finish(status)
            return child
        child = Child(pid, os.pidfd_open(pid))
        self._foreign[pid] = child
        assert self._loop is not None, "start() comes first"
        self._loop.add_reader(child.pidfd, self._foreign_ended, child)
        return child

    async def run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin_fd: int | None = None,
        timeout_s: float = 30.0,
        started: Callable[[int], None] | None = None,
    ) -> tuple[ExitStatus, bytes]:
        """Run *argv* to its end; its status, and what it wrote, up to `OUTPUT_LIMIT_BYTES`.

        *started* is told its process id, before anything else on this loop can see what it does.
        Cancelling kills it with its whole session, and returns as `end_session` does.

        Raises:
            DeadlineExceeded: it took longer than *timeout_s*; it has been killed.
            OrlopError: it cannot be executed.
        """
        loop = asyncio.get_running_loop()
        reading, writing = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        output = bytearray()

        def drain() -> None:
            with contextlib.suppress(BlockingIOError):
                while data := os.read(reading, OUTPUT_LIMIT_BYTES):
                    output.extend(data[: OUTPUT_LIMIT_BYTES - len(output)])
                loop.remove_reader(reading)

        try:
            # The program gets a blocking end: O_NONBLOCK belongs to the open file, so not ours.
            os.set_blocking(writing, True)
            fds = {1: writing, 2: writing}
            if stdin_fd is not None:
                fds[0] = stdin_fd
            try:
                child = await self.spawn_patiently(argv, env=env, fds=fds, new_session=True)
            finally:
                os.close(writing)
            if started is not None:
                started(child.pid)
            loop.add_reader(reading, drain)
            status = await wait_or_kill(child, timeout_s)
            drain()
            return status, bytes(output)
        except TimeoutError:
            raise DeadlineExceeded(f"{argv[0]} took longer than {timeout_s:g} s") from None
        except OSError as error:
            raise OrlopError(f"cannot execute {argv[0]}: {error.strerror}") from error
        finally:
            loop.remove_reader(reading)
            os.close(reading)

    def _reap(self) -> None:
        for _ in range(REAPED_PER_TURN):
            try:
                wanted = self._next_ended()
                pid, status = os.waitpid(wanted, os.WNOHANG) if wanted else (0, 0)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._ended(pid, decode_wait_status(status))
        if self._loop is not None:
            self._loop.call_soon(self._reap)

    def _next_ended(self) -> int:
        """Whom to reap, -1 for any, 0 for nobody; of an orphan who wants to know is told before.

        Raises:
            ChildProcessError: there are no children.
        """
        if self._on_orphan is None:
            return -1
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if ended is None:
            return 0
        pid, number = ended.si_pid, ended.si_status
        if pid not in self._owned and pid not in self._foreign:
            by_itself = ended.si_code == os.CLD_EXITED
            self._on_orphan(pid, ExitStatus(number) if by_itself else killed_by(number))
        return pid

    def _ended(self, pid: int, status: ExitStatus) -> None:
        child = self._owned.pop(pid, None)
        if child is not None:
            child.finish(status)
            return
        if (child := self._foreign.pop(pid, None)) is not None:
            # It became ours after all: the runtime's last process had not ended when it was
            # adopted, so it had another parent still.
            if self._loop is not None:
                self._loop.remove_reader(child.pidfd)
            child.finish(status)
            return
        self.orphans_reaped += 1
        self._orphans.pop(pid, None)
        self._orphans[pid] = status
        if len(self._orphans) > REMEMBERED_ORPHANS:
            del self._orphans[next(iter(self._orphans))]

    def _foreign_ended(self, child: Child, attempt: int = 0) -> None:
        if self._foreign.get(child.pid) is not child or self._loop is None:
            return
        self._loop.remove_reader(child.pidfd)
        status = read_pidfd_status(child.pidfd)
        if status is None and attempt < STATUS_RETRIES and _is_unreaped(child.pidfd):
            # Its parent has not reaped it; or has ended itself, and the next one to do so is us.
            self._loop.call_later(STATUS_RETRY_DELAY_S, self._foreign_ended, child, attempt + 1)
            return
        del self._foreign[child.pid]
        child.finish(status or UNKNOWN_STATUS)


def _is_unreaped(pidfd: int) -> bool:
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def read_pidfd_status(pidfd: int) -> ExitStatus | None:
    """The status of a reaped process of any parent; None if it is not reaped, or not told.

    Source: Linux include/uapi/linux/pidfd.h, PIDFD_INFO_EXIT (in v6.15). Older kernels lack the
    request, or this bit of it.
    """
    buffer = bytearray(_PIDFD_INFO.size)
    _PIDFD_INFO.pack_into(buffer, 0, _PIDFD_INFO_EXIT, *[0] * 13)
    try:
        fcntl.ioctl(pidfd, _PIDFD_GET_INFO, buffer)
    except OSError:
        return None
    values = _PIDFD_INFO.unpack(buffer)
    if values[0] & _PIDFD_INFO_EXIT:
        return decode_wait_status(values[-1])
    return None


async def wait_or_kill(child: Child, timeout_s: float) -> ExitStatus:
    """Wait for *child*, the leader of its session; kill the session if cancelled or too late.

    Returns or raises only when the child is reaped, but for what `end_session` says.

    Raises:
        TimeoutError: it took longer than *timeout_s*.
    """
    try:
        async with asyncio.timeout(timeout_s):
            return await child.wait()
    finally:
        await end_session(child)


async def end_session(child: Child) -> None:
    """SIGKILL for *child*'s session, which it leads, if it still runs; returns when it is reaped.

    But not later than in `KILLED_LIMIT_S`: a process whose disk or server does not answer may be
    where no signal reaches it. It is reaped whenever that ends.
    """
    if child.status is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.send_signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(KILLED_LIMIT_S):
                await child.wait()


def run_with_children[T](work: Callable[[Children], Awaitable[T]]) -> T:
    """Run *work*, which starts programs, to its end: for a worker that has no loop of its own."""

    async def run() -> T:
        children = Children()
        children.start()
        try:
            return await work(children)
        finally:
            children.close()

    return asyncio.run(run())
