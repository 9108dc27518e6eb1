"""Which engine the user's containers have: the system's own, or dockerd from an image.

Both are the service `engine` behind the same interface: the API's socket, the cgroup `user`, and a
directory of its own for each. One runs at a time. What the other one has stays where it is: its
containers were ended in order, as at the end of the machine, and their restart policies count again
when it is back. An engine that does not answer is replaced by the one before.
"""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import NotModified, OrlopError, Unavailable
from orlop.system import consoles
from orlop.system.config.control import Manner
from orlop.system.power import USER_ENGINE
from orlop.system.services import files
from orlop.system.services.overlay import is_reference
from orlop.system.services.services import ServiceState
from orlop.wire.compose_model import ConfigDelivery, Mount, MountKind

if TYPE_CHECKING:
    from orlop.engine.images import Image
    from orlop.system.boot import Boot
    from orlop.system.services.definitions import Definitions
    from orlop.wire.compose_model import Json, ServiceDefinition

KEY = "orlop.engine.name"
PRELOAD_DISK = "orlop.engine.preload_disk"
OWN = "orlop"
DOCKERD = "dockerd"

DATA = "/var/lib/orlop/docker"
SETTINGS = "/var/lib/orlop/docker.json"
"""dockerd's own settings, a person's to write: see dockerd's `daemon.json`."""

RUN = "/run/orlop/dockerd"
SOCKET = f"{files.USER_API_DIRECTORY}/docker.sock"

COMMAND = (
    *(f"/usr/sbin/{DOCKERD}", f"--config-file={SETTINGS}", f"--host=unix://{SOCKET}"),
    *(f"--data-root={DATA}", f"--exec-root={RUN}", f"--pidfile={RUN}/docker.pid", "--group=990"),
    # Its containers are where the limits of the user's are, beside those of the system.
    *("--exec-opt=native.cgroupdriver=cgroupfs", "--cgroup-parent=/user"),
)
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
GRACE_S, PIDS = 90.0, 8192
"""It ends its containers itself when it is stopped, and has a process for each of them."""

ANSWER_TIMEOUT_S = 180.0
MAX_RESTARTS = 3
"""One that ends as often before it has answered is not waited for."""

ASK_TIMEOUT_S = 5.0
ASK_AGAIN_S = 0.5


def define(image: str, own: ServiceDefinition) -> ServiceDefinition:
    """The service of dockerd in *image*, with what the system's *own* engine has."""
    scratch = (
        Mount(MountKind.TMPFS, RUN, size_bytes=64 << 20, mode=0o711),
        Mount(MountKind.TMPFS, "/etc/docker", size_bytes=1 << 20, mode=0o755),
    )
    kept = (mount for mount in own.mounts if mount.target != files.USER_DIRECTORY)
    return replace(
        own,
        image=image,
        entrypoint=COMMAND[:1],
        command=COMMAND[1:],
        environment=(("PATH", PATH), ("DOCKER_RAMDISK", "true")),
        read_only=False,  # containerd makes directories in /run
        mounts=(*kept, *scratch),
        config=ConfigDelivery.NONE,
        stop_grace_period_s=GRACE_S,
        pids_limit=PIDS,
    )


def refuse_disks(own: ServiceDefinition) -> ServiceDefinition:
    """The service of the system's engine, which leaves disks with images alone, and says so."""
    words = (word.replace("--preload-label=", "--preload-refused=") for word in own.command)
    return replace(own, command=tuple(words))


def is_engine(image: Image) -> bool:
    """Whether what *image* runs by itself is dockerd."""
    words = (*image.entrypoint, *image.command)
    return bool(words) and os.path.basename(words[0]) == DOCKERD


class Engines:
    """Of the machine of *boot*."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._lock = asyncio.Lock()
        self.chosen = ""
        """Its name; empty until services are defined for the first time."""

    def configured(self) -> str:
        """What the configuration says, which counts at the next boot."""
        return str(self._boot.config.current.get(KEY) or OWN)

    def add_to(self, found: Definitions) -> None:
        """Let the service of the user's engine be the chosen one's."""
        self.chosen = self.chosen or self._running() or self.configured()
        own = found.services.get(USER_ENGINE)
        if own is not None and not self._loads_from_disks():
            found.services[USER_ENGINE] = own = refuse_disks(own)
        if self.chosen != OWN and own is not None:
            image = consoles.image_of(self._boot, self.chosen)
            found.services[USER_ENGINE] = define(image, own)
        # What has an engine end its containers.
        self._boot.power.user_signal = "SIGPWR" if self.chosen == OWN else "SIGTERM"

    def _loads_from_disks(self) -> bool:
        """Who has the machine in their hands may bring a disk: where the TPM opens the state, its
        images take the place of none of the owner's unless the owner has said so."""
        said = self._boot.config.current.get(PRELOAD_DISK)
        if isinstance(said, bool):
            return said
        return not (self._boot.machine.parameters.state_sealed or self._boot.cloud.trusts_no_disk)

    def _running(self) -> str:
        """The engine that is in use already: after a re-execution."""
        if not self._boot.machine.reexecutions:
            return ""
        with suppress(OrlopError):
            image = self._boot.engine.find(USER_ENGINE).config.image
            return OWN if image == USER_ENGINE or is_reference(image) else image
        return ""

    def state(self) -> dict[str, Json]:
        """What `GET /orlop/engine` answers; docs/system-api.md describes it."""
        status = self._boot.services.status(USER_ENGINE)
        return {
            "name": self.chosen,
            "enabled": self.configured(),
            "state": status.state.value,
            "reason": status.reason,
            "images": consoles.brought(self._boot, engines=True),
        }

    async def switch(self, name: str, *, only_enable: bool = False) -> None:
        """Use engine *name* from now on, and keep the choice.

        Raises:
            NotFound: there is no such image. Unavailable: it does not answer, and the one before is
            in use again; or the choice cannot be kept, and nothing has changed.
        """
        name = OWN if name in (USER_ENGINE, "default") else name
        operation = {"verb": "set", "key": KEY, "text": name}
        async with self._lock:
            if self._boot.machine.parameters.recovery:
                raise Unavailable("there is no engine in recovery mode")
            if name != OWN:
                self._boot.engine.images.get(consoles.image_of(self._boot, name))
            await self._boot.config.change(operation, Manner(dry_run=True))
            before = self.chosen
            if not only_enable and name != before:
                await self._replace(name)
            try:
                await self._boot.config.change(operation, Manner())
            except OrlopError:
                if self.chosen != before:
                    await self._use(before)
                raise

    async def _replace(self, name: str) -> None:
        before = self.chosen
        try:
            await self._prepare(name)
        except OSError as error:
            raise Unavailable(f"engine {name} cannot be used: {error}") from error
        try:
            await self._use(name)
            reason = await self._wait_answer()
        except (OrlopError, OSError) as error:
            reason = str(error)
        if reason:
            await self._use(before)
            raise Unavailable(f"engine {name} cannot be used: {reason}; {before} is in use again")

    async def _use(self, name: str) -> None:
        """End the containers of the present engine and itself, and start the other."""
        boot = self._boot
        await boot.power.end_user_containers(float(boot.machine.parameters.shutdown_s))
        with suppress(NotModified):
            await boot.services.stop(USER_ENGINE)
        with suppress(OSError):
            os.unlink(SOCKET)  # what is there from now on is the other's
        self.chosen = name
        boot.define_services()
        boot.power.refuse_while_stopping()  # it would start its containers, to be killed
        await boot.services.start(USER_ENGINE)

    async def prepare(self) -> None:
        """At a boot: have ready what the configured engine wants to find.

        Raises:
            OSError: it cannot be written.
        """
        if not self._boot.machine.parameters.recovery:
            await self._prepare(self.configured())

    async def _prepare(self, name: str) -> None:
        if name != OWN:
            await asyncio.to_thread(_make_files)

    async def look_after(self) -> None:
        """At a boot: go back to the system's own engine if the chosen one does not answer."""
        if self.chosen == OWN or self._boot.machine.parameters.recovery:
            return
        async with self._lock:
            reason = await self._wait_answer()
            if not reason or self._boot.power.requested is not None:
                return
            self._boot.machine.warn(
                f"engine {self.chosen} cannot be used: {reason}. The system's own is in use; "
                f"orlop engine switch {OWN}"
            )
            await self._use(OWN)

    async def _wait_answer(self) -> str:
        """Wait until the service answers; why it does not within the time it has, or nothing."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + ANSWER_TIMEOUT_S
        while loop.time() < until_s:
            if await answers():
                return ""
            status = self._boot.services.status(USER_ENGINE)
            if status.state is ServiceState.FAILED or status.restarts >= MAX_RESTARTS:
                return status.reason or f"it ended {status.restarts} times"
            if status.state is ServiceState.WAITING:
                until_s = loop.time() + ANSWER_TIMEOUT_S  # for another service: not its fault
            await asyncio.sleep(ASK_AGAIN_S)
        return f"it does not answer within {ANSWER_TIMEOUT_S:g} s (orlop logs {USER_ENGINE})"


def _make_files() -> None:
    """Make what dockerd wants to find."""
    os.makedirs(DATA, mode=0o711, exist_ok=True)
    if not os.path.exists(SETTINGS):
        atomic_file.write_text(Path(SETTINGS), json.dumps({}) + "\n", mode=0o600)


async def answers(path: str = SOCKET) -> bool:
    """Whether an engine answers on the socket *path*."""
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            reader, writer = await asyncio.open_unix_connection(path)
            try:
                writer.write(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")
                return (await reader.readline()).split()[1:2] == [b"200"]
            finally:
                writer.close()
    except (OSError, ValueError, TimeoutError):
        return False
