"""What a file says of registries and proxies, over the command line: `--settings FILE`.

On the machine it is the section `orlop.engine` of the configuration, which PID 1 has checked. A
file that is not there says nothing; one that is wrong is reported and counts for nothing, because
an engine with its defaults is better than none.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.registry.settings import KnownRegistry, Registries
from orlop.lib.errors import InvalidArgument
from orlop.wire.docker.fields import Object
from orlop.wire.registry.proxy_rules import parse_proxies

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.wire.registry.proxies import Proxies

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 20


def read(path: Path, base: Registries) -> Registries:
    """*base* with what the file at *path* says instead; never raises."""
    try:
        with open(path, "rb") as stream:
            data = json.loads(stream.read(MAX_BYTES))
        if not isinstance(data, dict):
            raise InvalidArgument("a JSON object expected")
        return merge(Object(data), base)
    except FileNotFoundError:
        return base
    except (OSError, ValueError, RecursionError, InvalidArgument) as error:
        log.error("settings in %s: %s, ignoring all of them", path, error)
        return base


def merge(data: Object, base: Registries) -> Registries:
    """*base* with what *data* says instead, key by key.

    Raises:
        InvalidArgument: with the key.
    """
    return replace(
        base,
        mirrors=data.texts("registry_mirrors") or base.mirrors,
        insecure=data.texts("insecure_registries") or base.insecure,
        search=data.text("search_registry") or base.search,
        proxies=_proxies(data, base.proxies),
        known=tuple(_known(data)) or base.known,
    )


def _proxies(data: Object, base: Proxies) -> Proxies:
    return parse_proxies(
        data.text("http_proxy") or base.http,
        data.text("https_proxy") or base.https,
        data.texts("no_proxy") or base.none,
    )


def _known(data: Object) -> list[KnownRegistry]:
    section = data.section("registries")
    found = []
    for host in data.keys("registries"):
        item = section.section(host)
        found.append(
            KnownRegistry(
                host=host,
                authorities=item.text("authorities"),
                username=item.text("username"),
                password=item.text("password"),
            )
        )
    return found
