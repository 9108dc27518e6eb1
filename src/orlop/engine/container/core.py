"""What the rooms of one container share: its record, state, streams and owner, and who waits.

`engine.container.container` is the container as others see it. What happens to it is told room by
room in `container.start`, `container.end`, `container.restart`, `container.removal`,
`container.root`, `container.health`, `container.changes` and `container.takeover`; each works on
this.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orlop.engine.container.layout import Layout
from orlop.engine.container.owner import Owner
from orlop.engine.container.state import State, check_transition
from orlop.engine.container.stdio import ContainerIO
from orlop.engine.logs.writer import LogWriter
from orlop.engine.runtime import spec
from orlop.engine.runtime.confinement import Confinement
from orlop.lib.errors import Internal, OrlopError, ResourceExhausted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.container.exec_session import ExecSession
    from orlop.engine.container.record import Record
    from orlop.engine.host import Host
    from orlop.engine.images import Image
    from orlop.engine.logs.syslog import SyslogForwarder

DEFAULT_STOP_SIGNAL = "SIGTERM"


class Core:
    """See the module. Only operations of `owner` change what is here."""

    def __init__(self, host: Host, record: Record) -> None:
        self.host = host
        self.record = record
        self.layout = Layout(host.settings, record.id)
        limits = record.config.log_limits or host.settings.log_limits
        self.log = LogWriter(self.layout.logs, limits)
        self.io = ContainerIO(
            self.layout,
            self.log,
            keep=record.config.log_driver != "none",
            tap=_make_tap(host, record),
        )
        self.execs: dict[str, ExecSession] = {}
        self.owner = Owner(f"container {record.config.name}")
        self.confinement = Confinement(host, self.layout, record)
        self.exits = 0
        """How often it has ended since this engine knows it."""
        self.removed = False
        self.started_s = 0.0
        """When it was started last, on the monotonic clock."""
        self._changed = asyncio.Event()

    @property
    def name(self) -> str:
        return self.record.config.name

    @property
    def config(self) -> ContainerConfig:
        return self.record.config

    @property
    def is_active(self) -> bool:
        """Whether it runs, or a policy is about to start it."""
        return self.record.state.is_up or self.record.state is State.RESTARTING

    def image(self) -> Image:
        """The image it was made from.

        Raises:
            NotFound: it is no more.
        """
        return self.host.images.for_container(self.record.image_id, self.config.image)

    def stop_signal(self) -> int:
        name = self.config.stop_signal
        if not name:
            try:
                name = self.image().stop_signal
            except OrlopError:
                name = ""
        return spec.parse_signal(name or DEFAULT_STOP_SIGNAL)

    async def userns_fd(self) -> int:
        """A user namespace with the container's numbers; -1 if they are the host's.

        Raises:
            Internal: the kernel does not let us.
        """
        first_and_count = self.config.uid_map
        return await self.host.user_namespaces.get(
            (first_and_count[0], first_and_count[1]) if first_and_count else None
        )

    def set_state(self, state: State) -> None:
        """Raises:
        Conflict: the change has no meaning.
        """
        check_transition(self.record.state, state)
        self.record.state = state
        # A removal is told by what is no more: interrupted, it has not begun.
        if state is not State.REMOVING:
            self.save_state()
        self.notify()

    def notify(self) -> None:
        """Have those look again who wait for something."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until *condition* holds; looked at after each change of state or health."""
        while not condition():
            await self._changed.wait()

    async def wait_for_end(
        self, limit_s: float | None, what: str, other: Callable[[], bool] = lambda: False
    ) -> None:
        """Until it is not active, or *other* holds.

        Raises:
            Internal: *what*; the kernel did not end it in time, and it stays as it is.
        """
        try:
            async with asyncio.timeout(limit_s):
                await self.wait_until(lambda: not self.is_active or other())
        except TimeoutError:
            reason = "tried to kill container, but did not receive an exit event"
            raise Internal(f"{what}: {reason}") from None

    def replace_config(self, config: ContainerConfig) -> None:
        """Store another configuration.

        Raises:
            ResourceExhausted: the disk does not take it; the one before stays.
        """
        before, self.record.config = self.config, config
        try:
            self.host.records.save(self.record)
        except OSError as error:
            self.record.config = before
            raise ResourceExhausted(f"cannot store container {self.name}: {error}") from error

    def save_state(self) -> None:
        """Store what has changed of the record besides its configuration."""
        try:
            self.host.records.save_state(self.record)
        except OSError as error:
            # The container goes on; only a crash of the engine now would lose this change.
            self.host.warn(f"cannot store the state of container {self.name}: {error}, ignoring")

    async def flush(self) -> None:
        """Wait until what is known of it is on disk, where it is to be.

        Raises:
            ResourceExhausted: the disk does not take it.
        """
        try:
            await self.host.records.flush()
        except OSError as error:
            raise ResourceExhausted(f"cannot store container {self.name}: {error}") from error

    def publish(self, action: str, extra: Mapping[str, str] | None = None) -> None:
        """Tell the world, with the attributes Docker gives."""
        attributes = {**dict(self.config.labels), "image": self.config.image, "name": self.name}
        self.host.events.publish(
            "container", action, self.record.id, {**attributes, **(extra or {})}
        )


def _make_tap(host: Host, record: Record) -> SyslogForwarder | None:
    if record.config.log_driver != "syslog":
        return None
    from orlop.engine.logs.syslog import SyslogForwarder

    return SyslogForwarder(record, host.tasks)
