"""The container engine, as a library: what PID 1, the user's engine and tests embed.

One event loop, one thread. An `Engine` owns its containers; each container has one task that alone
changes its state (`engine.container.container`). Everything an engine needs of its host is in
`EngineSettings`. Nothing here ends the process, and a failure that belongs to one container stays
with that container.

Use::

    engine = Engine(settings)
    await engine.start()                        # recovers what an earlier engine left running
    server = await engine.serve(Path("/run/orlop/system.sock"), routes)
    container_id = await engine.create(from_service(definition))
    await engine.start_container("syslog")
    with engine.events.subscribe() as events:   # create, start, health_status: healthy, die ...
        async for event in events: ...
    await engine.stop_container("syslog")       # stop signal, grace time, then KILL
    await engine.close()                        # leaves containers running
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from orlop.engine import image_stores, recovery
from orlop.engine.container import creation, names
from orlop.engine.container.container import Container
from orlop.engine.container.exec_session import run_probe
from orlop.engine.container.layout import Layout
from orlop.engine.container.record import Record
from orlop.engine.container.records import make_records
from orlop.engine.container.state import ContainerInfo, Health, State, WaitCondition
from orlop.engine.events import EventHub
from orlop.engine.host import Host
from orlop.engine.images import ImageStore, check_reference
from orlop.engine.removal import Trash
from orlop.engine.runtime import spec
from orlop.engine.runtime.crun import Runtime
from orlop.engine.runtime.userns import UserNamespaces
from orlop.engine.settings import EngineSettings
from orlop.engine.tasks import TaskSet
from orlop.engine.volumes.volumes import Volumes
from orlop.lib.children import OUTPUT_LIMIT_BYTES, Children
from orlop.lib.errors import Conflict, DeadlineExceeded, InvalidArgument, OrlopError

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from orlop.engine.api.router import Route
    from orlop.engine.api.server import ApiServer
    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.store.layered import LayeredImages
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

__all__ = ["ContainerInfo", "Engine", "EngineSettings", "Health", "State", "WaitCondition"]

HANDOVER_FORMAT = 1


class Engine:
    """See the module. *ref* is a name, an id or a unique prefix of an id."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        children: Children | None = None,
        images: ImageStore | None = None,
    ) -> None:
        """Nothing happens before `start`. *children* may be shared with the embedding program."""
        self.settings = settings
        self.events = EventHub()
        self.children = children or Children()
        self.layered: LayeredImages | None = None
        """The image store if it is one that can change."""
        self.images: ImageStore = images or image_stores.make_images(self)
        self.tasks = TaskSet()
        data_trash = Trash(settings.data_dir / "trash")
        self.host = Host(
            settings=settings,
            children=self.children,
            runtime=Runtime(settings, self.children),
            images=self.images,
            events=self.events,
            records=make_records(settings, self.tasks),
            run_trash=Trash(settings.run_dir / "trash"),
            data_trash=data_trash,
            tasks=self.tasks,
            volumes=Volumes(
                settings.data_dir / "volumes",
                settings.run_dir / "volumes",
                events=self.events,
                trash=data_trash,
                children=self.children,
                tasks=self.tasks,
                users=lambda name: creation.users_of(self, name),
            ),
            find=self.find,
            user_namespaces=UserNamespaces(self.children),
        )
        self._by_id: dict[str, Container] = {}
        self._id_by_name: dict[str, str] = {}
        self._servers: list[ApiServer] = []
        self._inherited_sockets: dict[str, int] = {}
        self.started_ns = 0

    async def start(self, handover: Mapping[str, Json] | None = None) -> None:
        """Take over what is in *run_dir*: containers found running are watched again.

        *handover* is what `prepare_reexec` of the same PID returned before `execve`. A container
        whose state cannot be read is reported in the log and set aside; the others come up.
        Containers that were about to be restarted by policy are.

        Raises:
            OrlopError: *run_dir* or *data_dir* cannot be used at all.
        """
        self.started_ns = time.time_ns()
        # Modes given here are meant: roots of containers must be readable by their users.
        os.umask(0o022)
        try:
            for directory in (self.settings.run_dir, self.settings.data_dir):
                (directory / "containers").mkdir(parents=True, exist_ok=True, mode=0o711)
            (self.settings.run_dir / "runtime").mkdir(exist_ok=True, mode=0o700)
            self.host.run_trash.start()
            self.host.data_trash.start()
            self.host.volumes.load()
        except OSError as error:
            raise OrlopError(f"cannot start the engine: {error}") from error
        self.children.start()
        if self.layered is not None:
            self.layered.start()
        image_stores.open_late(self, make=False)
        self.host.prepare_cgroups()
        descriptors = self._read_handover(handover or {})
        if self.settings.durable and not handover:
            recovery.end_interrupted_starts(self.settings)
        await self.host.start_networks()
        self._load(descriptors)
        self.host.recover_networks(self.all())
        self._remove_strays()
        if self.layered is not None:
            self.layered.begin()
        if self.settings.durable and not handover:
            for container in tuple(self._by_id.values()):
                container.begin_anew()

    async def serve(
        self,
        socket_path: Path,
        extra_routes: Sequence[Route] = (),
        *,
        mode: int = 0o600,
        listening_fd: int = -1,
    ) -> None:
        """Answer the Docker API, and *extra_routes*, on *socket_path*, in the background.

        A socket handed over by `prepare_reexec` for the same path is used as it is, and so is
        *listening_fd*, which listens there: no connection is refused in between.

        Raises:
            OSError: the socket cannot be made.
        """
        from orlop.engine.api.server import ApiServer
        from orlop.engine.api.table import make_router

        server = ApiServer(
            socket_path, make_router(self, extra_routes), self.tasks, self.settings.version
        )
        inherited = self._inherited_sockets.pop(os.fspath(socket_path), listening_fd)
        await server.start(mode=mode, inherited_fd=inherited)
        self._servers.append(server)

    async def accept(self, connection: socket.socket) -> None:
        """Answer the API on *connection* as on the socket served first."""
        await self._servers[0].accept(connection)

    async def close(self) -> None:
        """Stop serving and watching. Containers go on; a later engine finds them."""
        for server in self._servers:
            await server.close()
        self._servers.clear()
        with contextlib.suppress(OSError):
            await self.host.records.flush()
        await self.tasks.close()
        for container in self._by_id.values():
            container.detach()
        if self.layered is not None:
            await self.layered.close()
        await self.host.close_networks()
        self.host.user_namespaces.close()
        await self.host.run_trash.close()
        await self.host.data_trash.close()
        self.children.close()

    def prepare_reexec(self) -> dict[str, Json]:
        """Make ready for `execve` of this process; what returns goes to `start` of the next image.

        Descriptors that must live on (terminals, listening sockets, stdin of containers) are made
        inheritable and named by number in the result. Call it last, and `execve` at once;
        `abandon_reexec` if that fails.
        """
        containers: dict[str, Json] = {}
        for container in self._by_id.values():
            kept = container.io.inheritable()
            if kept:
                containers[container.record.id] = dict(kept)
        sockets: dict[str, Json] = {}
        for server in self._servers:
            sockets[os.fspath(server.path)] = server.inheritable()
        return {"format": HANDOVER_FORMAT, "containers": containers, "sockets": sockets}

    def abandon_reexec(self, handover: Mapping[str, Json]) -> None:
        """`execve` failed: descriptors must not leak into what is started next."""
        for descriptor in recovery.all_descriptors(handover):
            with contextlib.suppress(OSError):
                os.set_inheritable(descriptor, False)

    def containers(self) -> list[ContainerInfo]:
        """All containers, newest first."""
        infos = [container.info() for container in self._by_id.values()]
        return sorted(infos, key=lambda info: info.created_ns, reverse=True)

    def get(self, ref: str) -> ContainerInfo:
        """The container *ref*.

        Raises:
            NotFound: no such container; InvalidArgument: several match.
        """
        return self.find(ref).info()

    def find(self, ref: str) -> Container:
        """As `get`, the object itself: for the API."""
        return names.find(ref, self._by_id, self._id_by_name)

    def all(self) -> list[Container]:
        """All containers themselves, newest first: for the API."""
        return sorted(self._by_id.values(), key=lambda c: c.record.created_ns, reverse=True)

    async def create(self, config: ContainerConfig, *, replace: bool = False) -> str:
        """Make a container, not started, and return its id.

        With *replace* a container of that name which is not running and has another configuration
        is removed first, and an existing one with an equal configuration is kept as it is.

        Raises:
            Conflict: the name is taken. NotFound: no such image. InvalidArgument: in *config*.
        """
        name = names.check_name(config.name)
        image = self.images.get(check_reference(config.image))
        config = creation.plan(self, config, image)
        await creation.check_bind_sources(config)
        existing = self._id_by_name.get(name)
        if existing is not None and replace:
            kept = self._by_id[existing]
            if kept.record.config == config and kept.record.image_id == image.id:
                return existing
            await self.remove_container(existing)
            existing = self._id_by_name.get(name)
        names.refuse_taken(name, self._id_by_name)
        with self.host.volumes.reserving() as reserved:
            config = await creation.make_volumes(self, config, reserved)
            container = await self._make(config, image.id, reserved)
        container.run_owner()
        await creation.fill_volumes(self, container)
        container.publish("create")
        return container.record.id

    async def _make(self, config: ContainerConfig, image_id: str, reserved: set[str]) -> Container:
        container_id = names.new_id()
        record = Record(
            id=container_id,
            config=config,
            image_id=image_id,
            cgroup_name=self._cgroup_name(config, container_id),
            created_ns=time.time_ns(),
        )
        layout = Layout(self.settings, container_id)
        container: Container | None = None
        try:
            names.refuse_taken(config.name, self._id_by_name)
            # It may have been deleted while there were volumes to be made.
            self.images.for_container(image_id, config.image)
            layout.run.mkdir(mode=0o711)
            self.host.records.create(record)
            container = self._add(record)
            if not config.auto_remove:
                await self.host.records.flush()
        except BaseException as error:
            # Also when the caller is cancelled: a container without its owner would answer nobody.
            if container is not None:
                self._forget(container)
            reserved.clear()
            await creation.discard(self, layout, record)
            if isinstance(error, OSError):
                raise OrlopError(f"cannot create container {config.name}: {error}") from error
            raise
        return container

    async def start_container(self, ref: str) -> None:
        """Start; returns when the container's command has been executed.

        Raises:
            NotModified: it runs. Internal or InvalidArgument: the runtime refused, with its words.
        """
        await self.find(ref).start()

    async def stop_container(
        self, ref: str, *, grace_s: float | None = None, signal: str | None = None
    ) -> None:
        """Stop signal, grace time (both the container's own unless given), then KILL.

        Waits for the end. Ends a pending restart, and the policy does not start it again.

        Raises:
            NotModified: it was not running.
        """
        await self.find(ref).stop(grace_s, signal)

    async def restart_container(self, ref: str, *, grace_s: float | None = None) -> None:
        """Stop if running, then start."""
        await self.find(ref).restart(grace_s)

    async def kill_container(self, ref: str, signal: str = "SIGKILL", *, last: bool = True) -> None:
        """Send *signal* (name or number) to its init; *last*: no policy starts it again then.

        Raises:
            Conflict: not running.
        """
        await self.find(ref).kill(spec.parse_signal(signal), last=last)

    async def pause_container(self, ref: str) -> None:
        """Freeze every process of the container."""
        await self.find(ref).pause()

    async def unpause_container(self, ref: str) -> None:
        """Let it go on."""
        await self.find(ref).unpause()

    async def wait(self, ref: str, condition: WaitCondition = WaitCondition.NOT_RUNNING) -> int:
        """Wait for *condition* and return the exit code."""
        return await self.find(ref).wait(condition)

    async def wait_started(self, ref: str, *, healthy: bool = False) -> ContainerInfo:
        """Wait until the container runs (and is healthy), or has ended and will not come back.

        Without a health check, running is healthy. Put a timeout around it.
        """
        container = self.find(ref)

        def settled() -> bool:
            known = container.record
            if known.state is State.RUNNING:
                return not healthy or known.health in (Health.NONE, Health.HEALTHY)
            has_ended = known.state is State.EXITED or bool(known.error)
            return container.removed or (has_ended and known.state is not State.RESTARTING)

        await container.wait_until(settled)
        return container.info()

    async def remove_container(
        self, ref: str, *, force: bool = False, volumes: bool = False
    ) -> None:
        """Delete the container with its writable layer and log; *volumes*: anonymous ones too.

        Raises:
            Conflict: it runs and not *force*.
        """
        container = self.find(ref)
        await container.remove(force=force, volumes=volumes)
        self._forget(container)

    async def rename_container(self, ref: str, name: str) -> None:
        """Give it another name; its cgroup keeps the old one.

        Raises:
            Conflict: the name is taken.
        """
        container = self.find(ref)
        if not name:
            raise InvalidArgument("Neither old nor new names may be empty")
        new = names.check_name(name)
        if new == container.name:
            raise InvalidArgument("Renaming a container with the same name as its current name")
        try:
            names.refuse_taken(new, self._id_by_name)
        except Conflict as error:
            raise Conflict(f"Error when allocating new name: {error}") from error
        self._id_by_name[new] = container.record.id
        try:
            # Whoever renamed it in between has given it the name that goes now.
            old = await container.rename(new)
        except BaseException:
            self._free_name(new, container)
            raise
        try:
            await container.flush()
        except OrlopError:
            # Whoever asked is told that it has its old name: so it has, here and on disk.
            with contextlib.suppress(OrlopError):
                await container.rename(old)
                self._free_name(new, container)
            raise
        self._free_name(old, container)

    async def exec_run(
        self, ref: str, argv: Sequence[str], *, timeout_s: float = 30.0
    ) -> tuple[int, bytes | bytearray]:
        """Run *argv* in the container; its status and the beginning of its output.

        Raises:
            DeadlineExceeded: it was killed after *timeout_s*. Conflict: the container does not run.
        """
        found = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                return await run_probe(self.find(ref), argv, found, OUTPUT_LIMIT_BYTES), found
        except TimeoutError:
            raise DeadlineExceeded(f"{argv[0]} took longer than {timeout_s:g} s") from None

    def has_name(self, name: str) -> bool:
        """Whether a container is called *name*."""
        return name in self._id_by_name

    def _add(self, record: Record) -> Container:
        container = Container(self.host, record)
        container.on_removed = self._forget
        self._by_id[record.id] = container
        self._id_by_name[record.config.name] = record.id
        return container

    def _free_name(self, name: str, container: Container) -> None:
        if self._id_by_name.get(name) == container.record.id:  # else it has gone, and others came
            del self._id_by_name[name]

    def _forget(self, container: Container) -> None:
        self._by_id.pop(container.record.id, None)
        for name in tuple(self._id_by_name):  # it may have been about to get another
            self._free_name(name, container)
        if self.layered is not None and self.layered.container_removed(container.record.image_id):
            self.tasks.start(self.layered.clean_up(), "image store")

    def _cgroup_name(self, config: ContainerConfig, container_id: str) -> str:
        """The container's name, unless a renamed one still has a cgroup of that name."""
        taken = {container.record.cgroup_name for container in self._by_id.values()}
        name = creation.cgroup_name(config, config.name)
        return creation.cgroup_name(config, container_id) if name in taken else name

    def _load(self, descriptors: Mapping[str, Mapping[str, int]]) -> None:
        records = self.host.records
        for path in recovery.record_directories(records.root):
            try:
                record = records.read(path)
                if record.config.name in self._id_by_name:
                    raise Conflict(f"the name {record.config.name} is taken")
            except (OSError, OrlopError) as error:
                log.error("container %s is set aside: %s", path.name[:12], error)
                recovery.set_aside(self.host, path)
                continue
            self._add(record)
        for container in tuple(self._by_id.values()):
            try:
                container.adopt_running(descriptors.get(container.record.id, {}))
            except Exception:
                log.exception("container %s cannot be taken over", container.name)
            container.run_owner()

    def _remove_strays(self) -> None:
        """What is left of containers that are no more, and of interrupted starts."""
        # The uppermost part: below it a container's may lie in one that was asked for.
        all_names = (container.record.cgroup_name for container in self._by_id.values())
        cgroups = {name.partition("/")[0] for name in all_names}
        recovery.remove_strays(self.host, frozenset(self._by_id), frozenset(cgroups))
        records = [container.record for container in self._by_id.values()]
        recovery.forget_exits(self.host.settings, records)
        for container in self._by_id.values():
            if not container.record.state.is_up:
                container.clean_up_later()

    def _read_handover(self, handover: Mapping[str, Json]) -> dict[str, dict[str, int]]:
        named, sockets = recovery.handover_descriptors(handover)
        for descriptor in recovery.all_descriptors(handover):
            try:
                os.set_inheritable(descriptor, False)
                os.set_blocking(descriptor, False)
            except OSError as error:
                log.warning("a descriptor was not handed over: %s, ignoring", error)
        self._inherited_sockets = sockets
        return named
