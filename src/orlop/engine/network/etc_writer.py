"""Writes a container's /etc/hosts, /etc/hostname and /etc/resolv.conf, and keeps them right.

While the container runs the files are changed in place: they are mounted into it. In its hosts
file only the lines of its own addresses are touched, as the others may be its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.network import etc_files
from orlop.engine.network.link_environment import link_variables
from orlop.engine.runtime.spec import merged_environment
from orlop.lib.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orlop.engine.container.container import Container
    from orlop.engine.container.record import Record
    from orlop.engine.network.core import Core
    from orlop.engine.network.model import Endpoint, SandboxState
    from orlop.engine.network.sandbox import Sandbox


class EtcWriter:
    """For all containers of one engine."""

    def __init__(self, core: Core, find: Callable[[str], Container]) -> None:
        self._core = core
        self._find_container = find

    def write(self, record: Record, etc: Path, hostname: str) -> None:
        """The files for a start, in *etc*.

        Raises:
            OSError: no space. Conflict: a container that it is linked to does not run.
        """
        etc.mkdir(mode=0o755, exist_ok=True)
        (etc / "hostname").write_text(hostname + "\n")
        (etc / "hosts").write_text(self._hosts(record, hostname))
        self.write_resolv_conf(record, etc)

    def write_resolv_conf(self, record: Record, etc: Path) -> None:
        """The name servers for a container as it is now.

        Raises:
            OSError: no space.
        """
        (etc / "resolv.conf").write_text(self._resolv_conf(record))

    def update_hosts(
        self, etc: Path, hostname: str, domainname: str, old: SandboxState, new: SandboxState
    ) -> None:
        """Its own addresses have changed.

        Raises:
            OSError: no space.
        """
        names = _names(hostname, domainname)
        gone = set(etc_files.own_lines(old.endpoints, names))
        lines = (etc / "hosts").read_text(errors="replace").splitlines()
        kept = [line for line in lines if line not in gone]
        kept += etc_files.own_lines(new.endpoints, names)
        (etc / "hosts").write_text("\n".join(kept) + "\n")

    def _hosts(self, record: Record, hostname: str) -> str:
        config = record.config
        if config.network == "host":
            return etc_files.plan_hosts_like_host(config.extra_hosts)
        sandbox = self._core.sandboxes.get(record.id)
        endpoints = () if sandbox is None else sandbox.state.endpoints
        bridge = self._core.find("bridge")
        return etc_files.plan_hosts(
            config.extra_hosts,
            endpoints,
            _names(hostname, config.domainname),
            self._linked(record),
            [pool.gateway for pool in bridge.pools if pool.gateway],
        )

    def _linked(self, record: Record) -> list[tuple[str, str]]:
        """Links of the default bridge. In other networks the name server knows them."""
        return [
            (endpoint.ipv4, " ".join(dict.fromkeys((alias, _hostname(other), other.name))))
            for alias, other, endpoint in self._links(record)
        ]

    def link_environment(self, record: Record) -> tuple[tuple[str, str], ...]:
        """The variables of its links.

        Raises:
            Conflict: a container that it is linked to does not run.
        """
        found: list[tuple[str, str]] = []
        for alias, other, endpoint in self._links(record):
            found += link_variables(
                f"/{record.config.name}/{alias}",
                endpoint.ipv4,
                other.config.networking.exposed,
                merged_environment(other.config, other.image()),
            )
        return tuple(found)

    def _links(self, record: Record) -> Iterator[tuple[str, Container, Endpoint]]:
        """Alias, container and its place on the default bridge."""
        own = self._core.sandboxes.get(record.id)
        bridge_id = self._core.find("bridge").id
        if own is None or own.endpoint_in(bridge_id) is None:
            return
        for link in record.config.networking.links:
            ref, _, alias = link.partition(":")
            other = self._find_container(ref.removeprefix("/"))
            sandbox = self._core.sandboxes.get(other.record.id)
            endpoint = None
            if sandbox is not None and other.record.state.is_up:
                endpoint = sandbox.endpoint_in(bridge_id)
            if endpoint is None:
                raise Conflict(
                    f"Cannot link to a non running container: /{other.name} AS "
                    f"/{record.config.name}/{alias or other.name}"
                )
            yield alias or other.name, other, endpoint

    def _resolv_conf(self, record: Record) -> str:
        networking, mode = record.config.networking, record.config.network
        if mode == "none":
            return ""
        host = etc_files.read_host_resolvers()
        sandbox = self._core.sandboxes.get(record.id)
        embedded = sandbox is not None and sandbox.state.dns_port != 0
        return etc_files.plan_resolv_conf(
            host, networking, embedded=embedded, same_host=mode == "host"
        )


def _hostname(container: Container) -> str:
    return container.config.hostname or container.record.id[:12]


def _names(hostname: str, domainname: str) -> list[str]:
    full = f"{hostname}.{domainname}" if domainname else hostname
    return list(dict.fromkeys((full, full.partition(".")[0])))


def needs_name_server(sandbox: Sandbox) -> bool:
    """In networks with names, and where only the host itself reaches its name servers."""
    if any(endpoint.names for endpoint in sandbox.state.endpoints):
        return True
    if sandbox.dns or not sandbox.state.endpoints:
        return False
    servers = etc_files.read_host_resolvers().servers
    return bool(servers) and all(etc_files.is_loopback(server) for server in servers)
