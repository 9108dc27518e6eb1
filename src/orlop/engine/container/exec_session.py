"""Further processes in a running container: `docker exec` and health probes.

An exec belongs to its container and ends with it. Its streams are ordinary pipes or a terminal of
this process: who dies with the engine is the client's connection, so nothing is gained by more.
"""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.engine.container import launch
from orlop.engine.container.health_check import OUTPUT_LIMIT_BYTES
from orlop.engine.container.state import State
from orlop.engine.container.streams import Fanout, InputWriter, Pump, set_terminal_size
from orlop.engine.runtime import spec
from orlop.engine.runtime.crun import StartError, Terminal
from orlop.lib.errors import Conflict, InvalidArgument, ResourceExhausted, Unavailable
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.container.container import Container
    from orlop.lib.children import Child, ExitStatus

MAX_EXECS = 256
"""Per container, running or remembered."""

REMEMBERED_S = 300.0
"""How long an exec that ended can still be inspected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """What to run, and which of its streams are wanted."""

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    user: str = ""
    working_dir: str = ""
    privileged: bool = False
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    detach_keys: str = ""
    console_size: tuple[int, int] | None = None


class ExecSession:
    """One further process. Made by `Container.exec_create`."""

    def __init__(self, container: Container, request: ExecRequest) -> None:
        if not request.arguments:
            raise InvalidArgument("No exec command specified")
        _make_room(container)
        if len(container.execs) >= MAX_EXECS:
            raise ResourceExhausted(f"container {container.name} has {MAX_EXECS} execs already")
        self.id = os.urandom(32).hex()
        self.container = container
        self.request = request
        self.started = False
        self.running = False
        self.exit_code: int | None = None
        self.pid = 0
        self.listeners = Fanout(self._resume)
        self._pumps: list[Pump] = []
        self._master_fd = -1
        self._stdin_fd = -1
        self._input: InputWriter | None = None
        self._child: Child | None = None
        self._ended = asyncio.Event()
        self._window = request.console_size
        self._quiet = False
        container.execs[self.id] = self

    def check_startable(self) -> None:
        """Refuse what `start` would refuse for reasons known now.

        Raises:
            Conflict: it was started before, or the container does not run or is frozen.
        """
        record = self.container.record
        if not record.state.is_up:
            raise Conflict(f"container {record.id} is not running")
        if record.state is State.PAUSED:
            raise Conflict(f"Container {record.id} is paused, unpause the container before exec")
        if self.started:
            raise Conflict(f"exec command {self.id} has already run")

    async def start(self, *, quiet: bool = False) -> None:
        """Run it; returns when the program has been executed. *quiet*: no events.

        Raises:
            Conflict: as `check_startable`.
            StartError: the program cannot be executed.
        """
        self.check_startable()
        self.started = True
        self._quiet = quiet
        if not quiet:
            self._publish("exec_start")
        try:
            child = await self._launch()
        except BaseException as error:  # also when the client leaves meanwhile
            self.exit_code = error.exit_code if isinstance(error, StartError) else 126
            self._close()
            self._forget_later()
            raise
        self._child = child
        self.pid = child.pid
        self.running = True
        for pump in self._pumps:
            pump.start()
        child.on_exit(self._exited)

    async def wait(self) -> int:
        """Wait for the end; the exit code."""
        await self._ended.wait()
        return 255 if self.exit_code is None else self.exit_code

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._child is not None:
            self._child.send_signal(9)

    async def write_input(self, data: bytes) -> None:
        """As `ContainerIO.write_input`."""
        descriptor = self._master_fd if self._master_fd >= 0 else self._stdin_fd
        if descriptor < 0:
            raise BrokenPipeError
        if self._input is None:
            self._input = InputWriter(descriptor)
        await self._input.write(data)

    async def close_input(self) -> None:
        """As `ContainerIO.close_input`."""
        if self._stdin_fd < 0:
            return
        if self._input is not None:
            await self._input.drain()
        if self._input is not None:
            self._input.close()
            self._input = None
        if self._stdin_fd >= 0:
            os.close(self._stdin_fd)
            self._stdin_fd = -1

    def resize(self, height: int, width: int) -> None:
        """Set the size of the terminal, now or when there is one."""
        self._window = (height, width)
        if self._master_fd >= 0:
            try:
                set_terminal_size(self._master_fd, height, width)
            except OSError:
                return

    def container_ended(self) -> None:
        """The container is gone: whatever is left of this ends too."""
        self.kill()
        if not self.started:
            del self.container.execs[self.id]

    async def _launch(self) -> Child:
        container = self.container
        process = self._process()
        path = container.layout.run / f"exec-{self.id[:16]}.json"
        theirs: dict[int, int] = {}
        terminal = None
        try:
            path.write_text(json.dumps(process, separators=(",", ":")))
            if self.request.tty:
                terminal = Terminal(container.host.settings.run_dir / "tty" / self.id[:12])
            else:
                theirs = self._open_pipes()
            child = await container.host.runtime.exec(
                container.record.id, path, theirs, terminal.path if terminal else None
            )
            if terminal is not None:
                self._use_terminal(terminal.receive())
        except OSError as error:
            raise Unavailable(f"cannot exec in container {container.name}: {error}") from error
        finally:
            for descriptor in theirs.values():
                os.close(descriptor)
            if terminal is not None:
                terminal.close()
            path.unlink(missing_ok=True)
        return child

    def _process(self) -> object:
        container, request = self.container, self.request
        image = container.image()
        facts = launch.gather_facts(
            container.host, container.layout, container.record, image, user=request.user
        )
        if (networks := container.host.networks) is not None:
            linked = networks.sandboxes.link_environment(container.record)
            facts = replace(facts, environment=linked)
        wanted = spec.ProcessRequest(
            arguments=request.arguments,
            environment=request.environment,
            working_dir=request.working_dir,
            terminal=request.tty,
            privileged=request.privileged,
            console_size=self._window,
        )
        return spec.plan_process(container.config, image, facts, wanted)

    def _open_pipes(self) -> dict[int, int]:
        theirs: dict[int, int] = {}
        wanted = ((Stream.STDOUT, self.request.stdout), (Stream.STDERR, self.request.stderr))
        try:
            for stream, is_wanted in wanted:
                if is_wanted:
                    reading, theirs[stream] = os.pipe2(os.O_CLOEXEC)
                    os.set_blocking(reading, False)
                    self._pumps.append(Pump(reading, stream, self.listeners.deliver))
            if self.request.stdin:
                theirs[0], self._stdin_fd = os.pipe2(os.O_CLOEXEC)
                os.set_blocking(self._stdin_fd, False)
        except OSError:
            for descriptor in theirs.values():
                os.close(descriptor)
            raise
        return theirs

    def _use_terminal(self, master_fd: int) -> None:
        self._master_fd = master_fd
        self._pumps = [Pump(master_fd, Stream.STDOUT, self.listeners.deliver)]
        if self._window is not None:
            set_terminal_size(master_fd, *self._window)

    def _resume(self) -> None:
        for pump in self._pumps:
            pump.start()

    def _exited(self, status: ExitStatus) -> None:
        self.running = False
        self.exit_code = status.code
        for pump in self._pumps:
            pump.drain()
        self._close()
        self._forget_later()
        if not self._quiet:
            self._publish("exec_die", {"exitCode": str(status.code)})

    def _close(self) -> None:
        if self._input is not None:
            self._input.close()
            self._input = None
        for pump in self._pumps:
            pump.close()
        self._pumps = []
        self._master_fd = -1
        if self._stdin_fd >= 0:
            os.close(self._stdin_fd)
            self._stdin_fd = -1
        self.listeners.finish()
        self._ended.set()

    def _forget_later(self) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(REMEMBERED_S, self.container.execs.pop, self.id, None)

    def _publish(self, action: str, extra: dict[str, str] | None = None) -> None:
        text = f"{action}: {' '.join(self.request.arguments)}" if extra is None else action
        self.container.publish(text, {"execID": self.id, **(extra or {})})


def _make_room(container: Container) -> None:
    """Forget the oldest execs that have ended, if there are as many as may be."""
    for session_id, session in tuple(container.execs.items()):
        if len(container.execs) < MAX_EXECS:
            return
        if session.exit_code is not None:
            del container.execs[session_id]


class _Collector:
    """A listener that keeps the beginning of the output in *found*."""

    def __init__(self, found: bytearray, limit_bytes: int) -> None:
        self._found = found
        self._limit_bytes = limit_bytes

    def deliver(self, stream: Stream, data: bytes) -> bool:
        self._found += data[: self._limit_bytes - len(self._found)]
        return True

    def finish(self) -> None:
        pass


async def run_probe(
    container: Container,
    arguments: Sequence[str],
    output: bytearray,
    limit_bytes: int = OUTPUT_LIMIT_BYTES,
) -> int:
    """Run *arguments* in *container* to the end; cancelling kills it. Adds to *output*.

    Raises:
        OrlopError: it cannot be run.
    """
    request = ExecRequest(arguments=tuple(arguments), stdout=True, stderr=True)
    session = await container.exec_create(request)
    try:
        session.listeners.add(_Collector(output, limit_bytes))
        await session.start(quiet=True)
        return await session.wait()
    except StartError as error:
        output += str(error).encode()
        return error.exit_code
    finally:
        session.kill()
        container.execs.pop(session.id, None)
