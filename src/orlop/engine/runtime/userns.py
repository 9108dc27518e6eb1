"""User namespaces: who is root in a container is nobody on the machine.

With `EngineSettings.userns_remap` users of a container made through the API have other numbers on
the host. Nothing is changed on disk for that: image and volumes are mounted with shifted owners
(idmapped mounts); only what a container writes in its own layer has the host's numbers.

The kernel wants a namespace with the same numbers for such a mount. One is made by a process that
does nothing else, and held by a descriptor.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from orlop.engine.worker_process import worker_argv
from orlop.lib.children import end_session
from orlop.lib.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.settings import EngineSettings
    from orlop.lib.children import Children

TIMEOUT_S = 30.0
NO_FD = -1


class UserNamespaces:
    """Those of one engine, by first number and count."""

    def __init__(self, children: Children) -> None:
        self._children = children
        self._fds: dict[tuple[int, int], int] = {}

    async def get(self, uid_map: tuple[int, int] | None) -> int:
        """A descriptor of a namespace with *uid_map*; `NO_FD` for None.

        Raises:
            Internal: the kernel does not let us.
        """
        if uid_map is None:
            return NO_FD
        if uid_map not in self._fds:
            made = await self._make(uid_map)
            if uid_map in self._fds:
                os.close(made)
            else:
                self._fds[uid_map] = made
        return self._fds[uid_map]

    def close(self) -> None:
        for descriptor in self._fds.values():
            os.close(descriptor)
        self._fds.clear()

    async def _make(self, uid_map: tuple[int, int]) -> int:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            argv = worker_argv("userns")
            child = await self._children.spawn_patiently(argv, fds={1: writing}, new_session=True)
        except OSError as error:
            os.close(reading)
            raise Internal(f"cannot make a user namespace: {error}") from error
        finally:
            os.close(writing)
        try:
            # It says one byte when it is in its namespace, and then waits for its end.
            async with asyncio.timeout(TIMEOUT_S):
                if not await asyncio.to_thread(os.read, reading, 1):
                    raise Internal("cannot make a user namespace: the kernel refused")
            text = f"0 {uid_map[0]} {uid_map[1]}\n".encode()
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{child.pid}/{name}", "wb", buffering=0) as stream:
                    stream.write(text)
            return os.open(f"/proc/{child.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, TimeoutError) as error:
            raise Internal(f"cannot make a user namespace: {error}") from error
        finally:
            os.close(reading)
            await end_session(child)


def choose_map(settings: EngineSettings, config: ContainerConfig) -> tuple[int, int] | None:
    """The numbers of a new container; None: the host's own.

    Raises:
        InvalidArgument: it also asks for what a user namespace excludes, in dockerd's words.
    """
    if settings.userns_remap is None or not config.requested or config.userns == "host":
        return None
    if config.privileged:
        raise InvalidArgument(
            "privileged mode is incompatible with user namespaces.  You must run the container "
            "in the host namespace when running privileged mode"
        )
    if config.network == "host":
        raise InvalidArgument(
            "cannot share the host's network namespace when user namespaces are enabled"
        )
    if config.pid == "host":
        raise InvalidArgument(
            "cannot share the host PID namespace when user namespaces are enabled"
        )
    return settings.userns_remap


def open_low_ports(namespace: int) -> None:
    """Let everybody in network namespace *namespace* listen on ports below 1024.

    It belongs to the machine's root, so nobody in the container could say so.

    Raises:
        OSError: the kernel refused.
    """
    from orlop.engine.network.kernel import in_namespace

    with in_namespace(namespace):
        path = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
        with open(path, "wb", buffering=0) as stream:
            stream.write(b"0")
