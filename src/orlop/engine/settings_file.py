"""What a file says of registries, proxies and defaults, over the command line: `--settings FILE`.

On the machine it is the section `orlop.engine` of the configuration, which PID 1 has checked. A
file that is not there says nothing; one that is wrong is reported and counts for nothing, because
an engine with its defaults is better than none.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.engine.defaults import ContainerDefaults
from orlop.engine.registry.settings import KnownRegistry, Registries
from orlop.lib.errors import InvalidArgument
from orlop.wire.docker.fields import Object
from orlop.wire.registry.proxy_rules import parse_proxies

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.wire.registry.proxies import Proxies

log = logging.getLogger(__name__)

MAX_BYTES = 1 << 20
TLS_ADDRESS = "0.0.0.0:2376"
"""The port that Docker's clients take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSettings:
    """All that the file may say; what it does not say is empty."""

    registries: Registries
    defaults: ContainerDefaults = ContainerDefaults()  # noqa: RUF009 - frozen
    bridge_address: str = ""
    mtu: int = 0
    pools: tuple[tuple[str, int], ...] = ()
    debug: bool = False
    labels: tuple[str, ...] = ()
    userns_remap: tuple[int, int] | None = None
    tls: str = ""
    """Where the API is on TCP, for clients with certificates: ADDRESS:PORT."""


def read(path: Path, base: Registries) -> FileSettings:
    """What the file at *path* says, with *base* where it says nothing; never raises."""
    try:
        with open(path, "rb") as stream:
            data = json.loads(stream.read(MAX_BYTES))
        if not isinstance(data, dict):
            raise InvalidArgument("a JSON object expected")
        return parse(Object(data), base)
    except FileNotFoundError:
        return FileSettings(registries=base)
    except (OSError, ValueError, RecursionError, InvalidArgument) as error:
        log.error("settings in %s: %s, ignoring all of them", path, error)
        return FileSettings(registries=base)


def parse(data: Object, base: Registries) -> FileSettings:
    """What *data* says.

    Raises:
        InvalidArgument: with the key.
    """
    return FileSettings(
        registries=merge(data, base),
        defaults=_defaults(data),
        bridge_address=data.text("bridge_address"),
        mtu=data.integer("mtu"),
        pools=tuple(
            (pool.text("base"), pool.integer("size")) for pool in data.sections("address_pools")
        ),
        debug=data.flag("debug"),
        labels=data.texts("labels"),
        userns_remap=_remap(data.text("userns_remap")),
        tls=_tls(data.section("tls")),
    )


def _tls(section: Object) -> str:
    return (section.text("listen") or TLS_ADDRESS) if section.flag("enabled") else ""


def _remap(text: str) -> tuple[int, int] | None:
    first, _, count = text.partition(":")
    return (int(first), int(count)) if text else None


def _defaults(data: Object) -> ContainerDefaults:
    limits = []
    for name, text in data.text_map("default_ulimits"):
        soft, _, hard = text.partition(":")
        limits.append((name, int(soft), int(hard or soft)))
    found = ContainerDefaults(
        log_driver=data.text("log_driver"),
        log_options=data.text_map("log_options"),
        ulimits=tuple(limits),
        dns=data.texts("dns"),
        dns_search=data.texts("dns_search"),
        dns_options=data.texts("dns_options"),
    )
    if found.log_driver or found.log_options:
        from orlop.engine.api.request_log import parse_log

        parse_log(Object({"Type": found.log_driver, "Config": dict(found.log_options)}))
    return found


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
