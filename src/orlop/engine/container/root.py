"""A container's root file system: held mounted for who looks at it, and let go at the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orlop.engine.container import launch
from orlop.engine.volumes import mounts
from orlop.lib.errors import Internal

if TYPE_CHECKING:
    from orlop.engine.container.core import Core


class Root:
    """See the module; `mounted` is for who looks at the files while the container does not run."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._holds = 0
        self.mounted = False
        self.may_hold = True
        """Whether there may be mounts, a cgroup and the like to release."""

    async def hold(self) -> None:
        """Have it mounted at `layout.rootfs` until `drop`.

        Raises:
            OrlopError: it cannot be mounted.
        """
        held = False

        async def hold() -> None:
            nonlocal held
            await self._hold()
            held = True

        async def undo() -> None:
            if held:
                await self._drop()

        try:
            await self._core.owner.ask(hold)
        except asyncio.CancelledError:
            # It is done all the same, by now or later.
            self._core.owner.tell(undo)
            raise

    def drop(self) -> None:
        """Undo `hold`, soon."""
        self._core.owner.tell(self._drop)

    async def release(self) -> None:
        """Undo what a start made; never raises. An operation of the owner's."""
        if not self.may_hold:
            return
        core = self._core
        self.mounted = False
        await core.confinement.release()
        await mounts.release(core.host, core.layout, core.config, core.record.id)
        self.may_hold = False

    async def release_if_down(self) -> None:
        if not self._core.record.state.is_up:
            await self.release()

    async def _hold(self) -> None:
        core = self._core
        if not core.record.state.is_up and not self.mounted:
            try:
                core.layout.run.mkdir(parents=True, exist_ok=True, mode=0o711)
                core.layout.data.mkdir(parents=True, exist_ok=True, mode=0o710)
            except OSError as error:
                raise Internal(f"cannot mount the root file system: {error}") from error
            image = core.image()
            self.may_hold = True
            await core.host.images.mount(image, core.record.id)
            await asyncio.to_thread(
                launch.mount_root, core.layout, image, core.config, await core.userns_fd()
            )
            self.mounted = True
        self._holds += 1

    async def _drop(self) -> None:
        self._holds -= 1
        if not self._holds and not self._core.record.state.is_up:
            self.mounted = False
            await self._core.confinement.release()
