"""The OCI runtime, crun: one process to start a container, one to add a process to it, none after.

`crun run --detach` makes the container and ends; the container's init, orphaned by that, becomes
our child. Signals, freezing and the end need no runtime: they go through process and cgroup.
What crun remembers about a container is a small directory below `run_dir`, deleted here.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from typing import TYPE_CHECKING

from orlop.lib.children import wait_or_kill
from orlop.lib.errors import Internal, InvalidArgument, OrlopError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orlop.engine.settings import EngineSettings
    from orlop.lib.children import Child, Children

log = logging.getLogger(__name__)

TIMEOUT_S = 120.0
"""For one call of the runtime. Far above what a loaded machine needs: it only ends a hang."""

MAX_MESSAGE_BYTES = 8 << 10

_NOT_FOUND = ("not found", "no such file or directory")
_NOT_EXECUTABLE = (
    "permission denied",
    "not executable",
    "is a directory",
    "exec format error",
    "not a regular",
)


class StartError(InvalidArgument):
    """The program of the container cannot be executed. *exit_code* is what a shell would say."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def failure(message: str) -> OrlopError:
    """The error for what the runtime wrote before it failed."""
    lower = message.lower()
    text = f"OCI runtime error: {message}"
    about_program = lower.startswith(("executable file", "the path", "exec", "open executable"))
    # Docker's CLI takes its exit status from these words in the message.
    if about_program and any(words in lower for words in _NOT_EXECUTABLE):
        return StartError(f"{text}: permission denied", 126)
    if about_program and any(words in lower for words in _NOT_FOUND):
        return StartError(f"{text}: executable file not found in $PATH", 127)
    return Internal(text)


class Terminal:
    """A socket to which the runtime sends the master side of a new pseudo terminal."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._socket.bind(os.fspath(path))
        self._socket.listen(1)

    def receive(self) -> int:
        """The descriptor, once the runtime has ended well: it was sent before.

        Raises:
            Internal: nothing came.
        """
        try:
            connection, _ = self._socket.accept()
            with connection:
                # The whole message is in the buffer already: it was sent before its sender ended.
                _data, descriptors, _flags, _address = socket.recv_fds(connection, 4096, 1)
        except OSError as error:
            raise Internal(f"the runtime sent no terminal: {error}") from error
        if not descriptors:
            raise Internal("the runtime sent no terminal")
        os.set_inheritable(descriptors[0], False)
        os.set_blocking(descriptors[0], False)
        return descriptors[0]

    def close(self) -> None:
        self._socket.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class Runtime:
    """Calls of the runtime for the containers of one engine."""

    def __init__(self, settings: EngineSettings, children: Children) -> None:
        self._settings = settings
        self._children = children
        self._state_dir = settings.run_dir / "runtime"

    async def run(
        self, container_id: str, bundle: Path, fds: Mapping[int, int], console: Path | None
    ) -> Child:
        """Start the container of *bundle*; returns its init, watched.

        Raises:
            StartError: its program cannot be executed.
            Internal, Unavailable: the runtime failed, is missing or took too long.
        """
        arguments = ["run", "--detach", "--bundle", os.fspath(bundle)]
        return await self._call(arguments, [container_id], bundle / "run", fds, console)

    async def exec(
        self,
        container_id: str,
        process_file: Path,
        fds: Mapping[int, int],
        console: Path | None,
    ) -> Child:
        """Start the process described in *process_file* in a running container; as `run`."""
        arguments = ["exec", "--detach", "--process", os.fspath(process_file)]
        base = process_file.with_suffix("")
        return await self._call(arguments, [container_id], base, fds, console)

    def forget(self, container_id: str) -> None:
        """Delete what the runtime remembers of a container whose processes are gone."""
        directory = self._state_dir / container_id
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    os.unlink(entry.path)
            directory.rmdir()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("cannot delete %s: %s, ignoring", directory, error)

    async def _call(
        self,
        arguments: Sequence[str],
        operands: Sequence[str],
        base: Path,
        fds: Mapping[int, int],
        console: Path | None,
    ) -> Child:
        pid_file, log_file = base.with_suffix(".pid"), base.with_suffix(".log")
        for path in (pid_file, log_file):
            path.unlink(missing_ok=True)
        argv = [os.fspath(self._settings.runtime), "--root", os.fspath(self._state_dir)]
        argv += ["--cgroup-manager", "cgroupfs", "--log", os.fspath(log_file)]
        argv += ["--log-format", "json", *arguments, "--pid-file", os.fspath(pid_file)]
        if console is not None:
            argv += ["--console-socket", os.fspath(console)]
        argv += operands
        try:
            if not await self._wait(await self._spawn(argv, fds)):
                raise failure(_read_message(log_file))
            return self._children.adopt(_read_pid(pid_file))
        except ProcessLookupError as error:
            raise Internal("the container's process vanished at its start") from error
        finally:
            for path in (pid_file, log_file):
                with contextlib.suppress(OSError):
                    path.unlink()

    async def _spawn(self, argv: list[str], fds: Mapping[int, int]) -> Child:
        try:
            return await self._children.spawn_patiently(argv, fds=fds, new_session=True)
        except OSError as error:
            reason = f"cannot execute the OCI runtime {argv[0]}: {error.strerror}"
            raise Unavailable(reason) from error

    async def _wait(self, child: Child) -> bool:
        try:
            return (await wait_or_kill(child, TIMEOUT_S)).ok
        except TimeoutError:
            raise Unavailable(f"the OCI runtime took longer than {TIMEOUT_S:g} s") from None


def _read_pid(path: Path) -> int:
    try:
        return int(path.read_text())
    except (OSError, ValueError) as error:
        raise Internal(f"the runtime wrote no PID: {error}") from error


def _read_message(path: Path) -> str:
    """The last message in the runtime's log, or what can be read of it."""
    try:
        with open(path, "rb") as stream:
            text = stream.read(MAX_MESSAGE_BYTES).decode(errors="replace")
    except OSError:
        return "it failed without a message"
    for line in reversed(text.splitlines()):
        try:
            message = json.loads(line)["msg"]
        except (ValueError, KeyError, TypeError):
            continue
        return str(message)
    return text.strip() or "it failed without a message"
