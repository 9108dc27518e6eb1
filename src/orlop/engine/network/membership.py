"""Connecting containers to networks and disconnecting them, running or not."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.network import joining
from orlop.lib.errors import Forbidden, Internal, InvalidArgument, NotFound

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.container.container import Container
    from orlop.engine.container.endpoints import EndpointConfig
    from orlop.engine.network.model import Network
    from orlop.engine.network.networks import Networks


async def connect(networks: Networks, container: Container, wanted: EndpointConfig) -> None:
    """Have *container* in one more network, now if it runs and at each start from now on.

    Raises:
        OrlopError: in dockerd's words.
    """
    network = networks.find(wanted.network)

    async def operation() -> None:
        config = container.config
        _check_mode(config, network)
        if _find(networks, config, network) is not None:
            raise Forbidden(
                f"endpoint with name {container.name} already exists in network {network.name}"
            )
        joining.check_allowed(network, wanted)
        named = replace(wanted, network=network.name)
        endpoints = (*joining.wanted_endpoints(config), named)
        changed = _with_endpoints(config, endpoints)
        container.replace_config(changed)
        if container.record.state.is_up:
            sandboxes = networks.sandboxes
            try:
                await sandboxes.connect(container.record, container.layout, named, endpoints)
            except BaseException:
                container.replace_config(config)
                raise

    await container.perform(operation)


async def disconnect(networks: Networks, container: Container, ref: str) -> None:
    """Have *container* no longer in the network *ref*.

    Raises:
        OrlopError: it is not in it.
    """
    network = networks.find(ref)

    async def operation() -> None:
        config = container.config
        if network.name == "host":
            raise Forbidden(
                "cannot disconnect container from host network - container was created in host "
                "network mode"
            )
        found = _find(networks, config, network)
        if found is None:
            raise Internal(
                f"container {container.record.id} is not connected to network {network.name}"
            )
        endpoints = tuple(e for e in joining.wanted_endpoints(config) if e is not found)
        container.replace_config(_with_endpoints(config, endpoints))
        if container.record.state.is_up:
            sandboxes = networks.sandboxes
            await sandboxes.disconnect(container.record, container.layout, network, endpoints)

    await container.perform(operation)


async def unlink(container: Container, alias: str) -> None:
    """Have *container* linked no longer, from its next start on, to what it calls *alias*.

    Raises:
        NotFound: it has no such link.
    """

    async def operation() -> None:
        networking = container.config.networking
        kept = tuple(link for link in networking.links if link_alias(link) != alias)
        if kept == networking.links:
            raise NotFound(f"No such link: /{container.name}/{alias}")
        changed = replace(networking, links=kept)
        container.replace_config(replace(container.config, networking=changed))

    await container.perform(operation)


def link_alias(link: str) -> str:
    """What a container calls the other end of `CONTAINER[:ALIAS]`."""
    target, _, alias = link.partition(":")
    return alias or target.removeprefix("/")


def _check_mode(config: ContainerConfig, network: Network) -> None:
    if network.name == "host" or config.network == "host":
        raise Forbidden(
            "cannot connect container to host network - container must be created in host network "
            "mode"
        )
    if network.name == "none" or config.network == "none":
        raise Forbidden(
            "container cannot be connected to multiple networks with one of the networks in "
            "private (none) mode"
        )
    if config.network.startswith(joining.CONTAINER_MODE):
        raise InvalidArgument(
            "container sharing network namespace with another container or host cannot be "
            "connected to any other network"
        )


def _find(networks: Networks, config: ContainerConfig, network: Network) -> EndpointConfig | None:
    for endpoint in joining.wanted_endpoints(config):
        try:
            if networks.find(endpoint.network).id == network.id:
                return endpoint
        except NotFound:
            continue
    return None


def _with_endpoints(
    config: ContainerConfig, endpoints: tuple[EndpointConfig, ...]
) -> ContainerConfig:
    return replace(config, networking=replace(config.networking, endpoints=endpoints))
