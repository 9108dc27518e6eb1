"""Swarm and plugin requests: the answers of a dockerd that is in no swarm and has no plugins.

Clients ask these to find out whether there is a cluster; the exact texts tell people what is wrong.
Source: moby v28 daemon/cluster, plugin/store.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.engine.api.router import Route
from orlop.lib.errors import NotFound, NotImplementedYet, Unavailable

if TYPE_CHECKING:
    from orlop.engine.api.exchange import Exchange

NOT_A_MANAGER = (
    'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join" to '
    "connect this node to swarm and try again."
)

_NEED_A_MANAGER = """
    GET /swarm
    GET /swarm/unlockkey
    POST /swarm/update
    POST /swarm/unlock
    GET /services
    POST /services/create
    GET /services/{id}
    POST /services/{id}/update
    DELETE /services/{id}
    GET /services/{id}/logs
    GET /nodes
    GET /nodes/{id}
    POST /nodes/{id}/update
    DELETE /nodes/{id}
    GET /tasks
    GET /tasks/{id}
    GET /tasks/{id}/logs
    GET /secrets
    POST /secrets/create
    GET /secrets/{id}
    POST /secrets/{id}/update
    DELETE /secrets/{id}
    GET /configs
    POST /configs/create
    GET /configs/{id}
    POST /configs/{id}/update
    DELETE /configs/{id}
"""

_NAME_A_PLUGIN = """
    GET /plugins/{name:path}/json
    POST /plugins/{name:path}/enable
    POST /plugins/{name:path}/disable
    POST /plugins/{name:path}/push
    POST /plugins/{name:path}/set
    DELETE /plugins/{name:path}
"""

_INSTALL_A_PLUGIN = """
    GET /plugins/privileges
    POST /plugins/pull
    POST /plugins/create
    POST /plugins/{name:path}/upgrade
"""


def routes() -> list[Route]:
    """The rows of the route table that are answered here."""
    return [
        *(Route(*row, _no_manager) for row in _rows(_NEED_A_MANAGER)),
        Route("POST", "/swarm/init", _no_swarm_mode),
        Route("POST", "/swarm/join", _no_swarm_mode),
        Route("POST", "/swarm/leave", _no_swarm),
        Route("GET", "/plugins", _no_plugins),
        *(Route(*row, _no_such_plugin) for row in _rows(_NAME_A_PLUGIN)),
        *(Route(*row, _no_plugin_support) for row in _rows(_INSTALL_A_PLUGIN)),
    ]


def _rows(table: str) -> list[tuple[str, str]]:
    rows = (line.split() for line in table.strip().splitlines())
    return [(method, pattern) for method, pattern in rows]


async def _no_manager(exchange: Exchange) -> None:
    raise Unavailable(NOT_A_MANAGER)


async def _no_swarm(exchange: Exchange) -> None:
    raise Unavailable("This node is not part of a swarm")


async def _no_swarm_mode(exchange: Exchange) -> None:
    raise NotImplementedYet("swarm mode is not supported by this engine")


async def _no_plugins(exchange: Exchange) -> None:
    await exchange.respond_json(200, [])


async def _no_such_plugin(exchange: Exchange) -> None:
    raise NotFound(f'plugin "{exchange.parameters["name"]}" not found')


async def _no_plugin_support(exchange: Exchange) -> None:
    raise NotImplementedYet("managed plugins are not supported by this engine")
