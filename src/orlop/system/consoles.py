"""The console that a person has chosen: a container of any image, in which sessions begin.

The console's own service and the SSH server stay what and where they are, in images of the system.
What a person chooses is one more container, with the same rights, in which their sessions start a
shell (`orlop console enter`). So nothing of the choice can lock anybody out, nor stop a workload:
where that container does not run, or has no shell, a session begins in the system's own console,
and says so.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.container.config import from_service
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument, NotFound, NotModified, OrlopError, Unavailable
from orlop.system.config.control import Manner
from orlop.system.services import definitions, files
from orlop.system.services.services import ServiceState
from orlop.wire.compose_model import Mount, MountKind, RestartPolicy

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.services.definitions import Definitions
    from orlop.wire.compose_model import Json, ServiceDefinition

KEY = "orlop.console.name"
DEFAULT, OWN = "default", "console"
"""The system's own console, and the service and image that it is."""

SHELL, TRIAL = "shell", "shell.trial"
"""The container of the chosen one, and the one in which an image is tried first."""

CATALOGUE = "catalogue.internal"
"""Where a console of the catalogue is from, as its image has it in its name."""

BASE = "/run/orlop/base"
"""Where a chosen console has the root of the system's own."""

START = f"{BASE}/usr/lib/orlop/guest/start"
MARK = f"{files.ETC}/console"
"""Holds the container's name for sessions; not there while the system's own console is in use."""

MEMORY_BYTES, PIDS = 512 << 20, 1024
"""Larger than the default one's: people install things there."""

TRIAL_TIMEOUT_S = 60.0
WARNING = "console "


def define(image: str, console: ServiceDefinition, name: str = SHELL) -> ServiceDefinition:
    """The service that holds a console of *image*, with what the system's *console* has."""
    root = str(definitions.IMAGES / OWN / "rootfs")
    return replace(
        console,
        name=name,
        image=image,
        entrypoint=("/bin/sh",),
        command=(START,),
        working_dir="/",
        read_only=False,
        mounts=(*console.mounts, Mount(MountKind.BIND, BASE, root, True)),
        memory_limit_bytes=MEMORY_BYTES,
        pids_limit=PIDS,
    )


def image_of(boot: Boot, name: str) -> str:
    """The image of console or engine *name*; *name* itself if there is none yet."""
    for reference in (name, f"{CATALOGUE}/{name}:latest"):
        with suppress(OrlopError):
            boot.engine.images.get(reference)
            return reference
    return name


def brought(boot: Boot, *, engines: bool) -> list[Json]:
    """The names of images that people have brought: those with an engine in them, or the others."""
    from orlop.system.engines import is_engine

    store = boot.engine.layered
    found = [] if store is None else [i for i in store.all() if is_engine(i) is engines]
    return [tag for image in found for tag in image.tags or (image.id,)]


class Consoles:
    """Of the machine of *boot*."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._lock = asyncio.Lock()
        self.chosen = ""
        """Its name; empty until services are defined for the first time."""

    def configured(self) -> str:
        """What the configuration says, which counts at the next boot."""
        return str(self._boot.config.current.get(KEY) or DEFAULT)

    def add_to(self, found: Definitions) -> None:
        """Let the chosen console be one of the services."""
        self.chosen = self.chosen or self._running() or self.configured()
        console = found.services.get(OWN)
        if self.chosen == DEFAULT or console is None or self._boot.machine.parameters.recovery:
            self._mark(b"")
            return
        found.services[SHELL] = define(image_of(self._boot, self.chosen), console)
        found.sources[SHELL] = str(self._boot.config.current.origins.get(KEY, KEY))
        self._mark(f"{SHELL}\n".encode())

    def _running(self) -> str:
        """The console that is in use already: after a re-execution."""
        if not self._boot.machine.reexecutions:
            return ""
        with suppress(OrlopError):
            return self._boot.engine.find(SHELL).config.image
        return DEFAULT

    def _mark(self, content: bytes) -> None:
        try:
            if content:
                atomic_file.write_bytes(Path(MARK), content, mode=0o644)
            elif os.path.exists(MARK):
                os.unlink(MARK)
        except OSError as error:
            self._boot.machine.warn(f"{WARNING}cannot be marked: {error.strerror}")

    def report(self, service: str, state: ServiceState) -> None:
        """The state of *service* is *state* now; of interest if it is the chosen console's."""
        if service == SHELL and self.chosen != DEFAULT and self._boot.power.requested is None:
            with suppress(NotFound):  # its first definition is under way
                reason = self._boot.services.status(SHELL).reason
                if state is ServiceState.FAILED or reason.startswith("ended with"):
                    self._tell(reason)

    def failed(self, reason: str) -> None:
        """A session could not begin in the chosen console: others need not try until it is made
        anew."""
        if self.chosen != DEFAULT:
            self._mark(b"")
            self._tell(reason)

    def _tell(self, reason: str) -> None:
        self._boot.machine.warn(
            f"{WARNING}{self.chosen} cannot be used: {reason or 'it does not run'}. Sessions begin "
            f"in the default one; orlop console switch {DEFAULT}"
        )

    def state(self) -> dict[str, Json]:
        """What `GET /orlop/console` answers; docs/system-api.md describes it."""
        found: dict[str, Json] = {
            "name": self.chosen,
            "enabled": self.configured(),
            "state": "running",
            "reason": "",
            "images": brought(self._boot, engines=False),
        }
        if self.chosen != DEFAULT and SHELL in self._boot.services.names():
            status = self._boot.services.status(SHELL)
            found |= {"state": status.state.value, "reason": status.reason}
        return found

    async def switch(self, name: str, *, only_enable: bool = False) -> None:
        """Try console *name*, keep it as the choice, and use it from now on.

        Raises:
            NotFound: there is no such image. InvalidArgument: no console can be made of it.
            Unavailable: the choice cannot be kept; nothing has changed then.
        """
        name = DEFAULT if name == OWN else name
        async with self._lock:
            if self._boot.machine.parameters.recovery:
                raise Unavailable("there is only the default console in recovery mode")
            if name != DEFAULT:
                await self._try(name)
            operation = {"verb": "set", "key": KEY, "text": name}
            await self._boot.config.change(operation, Manner())
            if not only_enable:
                await self._use(name)

    async def _use(self, name: str) -> None:
        boot = self._boot
        warnings = boot.machine.warnings
        warnings[:] = [text for text in warnings if not text.startswith(WARNING)]
        # From here on new sessions begin in the default one, until the other is up.
        self.chosen = DEFAULT
        if SHELL in boot.services.names():
            with suppress(NotModified):
                await boot.services.stop(SHELL)
        with suppress(NotFound):
            await boot.engine.remove_container(SHELL, force=True)
        self.chosen = name
        boot.define_services()
        if name != DEFAULT:
            await boot.services.start(SHELL)

    async def _try(self, name: str) -> None:
        """See that *name* has what a console needs."""
        engine, image = self._boot.engine, image_of(self._boot, name)
        engine.images.get(image)
        console = self._boot.services.definition(OWN)
        definition = define(image, console, TRIAL)
        definition = replace(definition, command=(START, "check"), restart=RestartPolicy())
        try:
            await engine.create(from_service(definition), replace=True)
            await engine.start_container(TRIAL)
            async with asyncio.timeout(TRIAL_TIMEOUT_S):
                code = await engine.wait(TRIAL)
        except TimeoutError:
            raise InvalidArgument(
                f"{name} is no console: it does not come up within {TRIAL_TIMEOUT_S:g} s"
            ) from None
        except OrlopError as error:
            raise InvalidArgument(f"{name} is no console: {error}") from error
        finally:
            with suppress(OrlopError):
                await engine.remove_container(TRIAL, force=True)
        if code:
            raise InvalidArgument(f"{name} is no console: its shell ended with status {code}")
