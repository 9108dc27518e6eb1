"""The removal of one container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.container.state import State
from orlop.engine.volumes import mounts
from orlop.lib.errors import Conflict, Internal

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.engine.container.core import Core
    from orlop.engine.container.root import Root


class Removal:
    """*on_removed* is called when nothing may find the container any more."""

    def __init__(self, core: Core, root: Root, on_removed: Callable[[], None]) -> None:
        self._core = core
        self._root = root
        self._on_removed = on_removed

    async def remove(self, *, volumes: bool = False) -> None:
        """Delete what there is of it, *volumes*: its anonymous ones too. The last operation.

        Raises:
            Conflict: it runs. Internal: the disk does not let it go; it is DEAD then.
        """
        core = self._core
        if core.is_active:
            raise Conflict(
                f'cannot remove container "{core.name}": container is {core.record.state}: '
                "stop the container before removing or force remove"
            )
        core.set_state(State.REMOVING)
        core.io.finish()
        await self._root.release()
        try:
            core.host.data_trash.put(core.layout.data)
            core.host.run_trash.put(core.layout.run)
        except OSError as error:
            core.record.error = f"cannot be deleted: {error}"
            core.set_state(State.DEAD)
            raise Internal(f"cannot delete container {core.name}: {error}") from error
        core.host.records.removed(core.record)
        core.record.state = State.DEAD
        core.removed = True
        core.owner.retire()
        self._on_removed()
        if volumes:
            names = mounts.names_of(core.config)
            await mounts.remove_anonymous(core.host.volumes, names)
        core.notify()
        core.log.wake()
        core.publish("destroy")

    async def remove_leftover(self) -> None:
        """As an operation: what was to remove itself at its end."""
        await self.remove(volumes=True)
