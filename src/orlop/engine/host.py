"""What all containers of one engine share."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.runtime import capabilities, seccomp
from orlop.lib import cgroup

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop.engine.build.service import Builds
    from orlop.engine.container.container import Container
    from orlop.engine.container.records import Records
    from orlop.engine.events import EventHub
    from orlop.engine.images import ImageStore
    from orlop.engine.network.networks import Networks
    from orlop.engine.removal import Trash
    from orlop.engine.runtime.crun import Runtime
    from orlop.engine.runtime.userns import UserNamespaces
    from orlop.engine.settings import EngineSettings
    from orlop.engine.tasks import TaskSet
    from orlop.engine.volumes.volumes import Volumes
    from orlop.lib.children import Children
    from orlop.wire import oci

log = logging.getLogger(__name__)

CGROUP_MOUNT = Path("/sys/fs/cgroup")
STARTS_AT_ONCE = 4
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")


@dataclass(slots=True, kw_only=True)
class Host:
    """Made by the engine at its start, never replaced."""

    settings: EngineSettings
    children: Children
    runtime: Runtime
    images: ImageStore
    events: EventHub
    records: Records
    run_trash: Trash
    data_trash: Trash
    tasks: TaskSet
    volumes: Volumes
    user_namespaces: UserNamespaces
    find: Callable[[str], Container]
    """A container by name or id."""
    networks: Networks | None = None
    """None: the engine has `host` and `none` only."""
    controllers: frozenset[str] = frozenset()
    capabilities: tuple[str, ...] = field(default_factory=capabilities.read_available)
    ending: bool = False
    """The machine goes down: nothing is started any more."""
    warnings: list[str] = field(default_factory=list)
    starting: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STARTS_AT_ONCE))
    """Of containers that the engine starts by itself when it starts."""
    builds: Builds | None = None
    """Made by the first request that needs it."""
    _seccomp: dict[frozenset[str], oci.Seccomp] = field(default_factory=dict)
    _profile: seccomp.Profile | None = None

    def __post_init__(self) -> None:
        if self.settings.networks is not None:
            from orlop.engine.network.networks import Networks

            self.networks = Networks(self, self.settings.networks, self.find)

    async def start_networks(self) -> None:
        """Before containers are known; see `Networks.start`."""
        if self.networks is not None:
            await self.networks.start()

    def recover_networks(self, containers: Sequence[Container]) -> None:
        """When they are; see `Networks.recover`."""
        if self.networks is not None:
            self.networks.recover(containers)

    def release_network(self, container_id: str) -> None:
        """The container has ended; nothing if it had no network of its own, or not any more."""
        if self.networks is not None:
            self.networks.sandboxes.release(container_id)

    async def close_networks(self) -> None:
        """See `Networks.close`."""
        if self.networks is not None:
            await self.networks.close()

    def prepare_cgroups(self) -> None:
        """Make the cgroup for all containers and enable what controllers there are.

        A missing controller is a warning: containers run, without those limits.
        """
        root = self.settings.cgroup_root
        missing: frozenset[str] = frozenset()
        try:
            root.mkdir(parents=True, exist_ok=True)
            parents = [path for path in root.parents if path.is_relative_to(CGROUP_MOUNT)]
            for path in (*reversed(parents), root):
                missing |= cgroup.enable_controllers(path, CONTROLLERS)
        except OSError as error:
            self.warn(f"cannot prepare cgroup {root}: {error}, ignoring")
        self.controllers = frozenset(CONTROLLERS) - missing
        if missing:
            self.warn(f"no cgroup controller for {', '.join(sorted(missing))}: no such limits")

    def cgroup_path(self, name: str) -> Path:
        """The cgroup directory of the container with cgroup name *name*."""
        return self.settings.cgroup_root / name

    def cgroup_for_runtime(self, name: str) -> str:
        """The same, as the runtime names it."""
        return "/" + os.fspath(self.cgroup_path(name).relative_to(CGROUP_MOUNT))

    def seccomp_for(self, capabilities: list[str]) -> oci.Seccomp:
        """The filter for processes with *capabilities*; the profile is read when first wanted.

        Raises:
            Unavailable: it cannot be read.
        """
        key = frozenset(capabilities)
        if key not in self._seccomp:
            if self._profile is None:
                self._profile = seccomp.read_profile(self.settings.seccomp_profile)
            self._seccomp[key] = seccomp.resolve(self._profile, os.uname().machine, key)
        return self._seccomp[key]

    def warn(self, text: str) -> None:
        """Log *text* once and keep it for `docker info`."""
        if text not in self.warnings:
            self.warnings.append(text)
            log.warning("%s", text)
