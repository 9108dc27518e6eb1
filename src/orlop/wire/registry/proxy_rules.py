"""Which proxy a request goes through, by the rules of Go's clients, dockerd among them.

`HTTP_PROXY` is for plain HTTP, `HTTPS_PROXY` for TLS, which goes through with CONNECT. `NO_PROXY`
lists what is asked directly: `*`, names (with all below them), `.below`, addresses, networks, each
with a port if only that is meant. This machine itself is never asked through a proxy. Pure.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.proxies import Proxies, without_password

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PORTS = {"http": 80, "https": 443}
_ITEM = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\s]+|[0-9A-Fa-f:.]+)(?::(?P<port>\d{1,5}))?")


def choose(proxies: Proxies, url: str) -> str:
    """The proxy for *url*; empty: none."""
    parts = urlsplit(url)
    proxy = proxies.https if parts.scheme == "https" else proxies.http
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _PORTS.get(parts.scheme, 0)
    if not proxy or _is_here(host) or any(_fits(item, host, port) for item in proxies.none):
        return ""
    return proxy


def parse_proxies(http: str, https: str, none: Iterable[str]) -> Proxies:
    """From settings; a proxy may be `HOST:PORT` alone, an item of *none* a list with commas.

    Raises:
        InvalidArgument: a proxy of a kind that is not spoken here.
    """
    items = [item.strip().lower() for text in none for item in text.split(",")]
    return Proxies(
        http=check_proxy(http), https=check_proxy(https), none=tuple(filter(None, items))
    )


def from_environment(environment: Mapping[str, str]) -> Proxies:
    """From `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, also in lower case.

    Raises:
        InvalidArgument: see `parse_proxies`.
    """

    def value(name: str) -> str:
        return environment.get(name) or environment.get(name.lower()) or ""

    return parse_proxies(value("HTTP_PROXY"), value("HTTPS_PROXY"), [value("NO_PROXY")])


def check_proxy(text: str) -> str:
    """A proxy's address with its scheme; empty stays empty.

    Raises:
        InvalidArgument: it is no address, or of a proxy that is not reached by plain HTTP.
    """
    if not text:
        return ""
    url = text if "://" in text else f"http://{text}"
    scheme = _scheme(url)
    if not scheme or not url.isprintable() or " " in url:
        raise InvalidArgument(f"invalid proxy {without_password(url)[:200]!r}")
    if scheme != "http":
        raise InvalidArgument(
            f"proxy {without_password(url)}: only proxies that are reached by http:// are supported"
        )
    return url


def _scheme(url: str) -> str:
    """Empty if *url* is not the address of a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme if parts.hostname and parts.port != 0 else ""
    except ValueError:
        return ""


def _is_here(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _fits(item: str, host: str, port: int) -> bool:
    if item == "*":
        return True
    if "/" in item:
        try:
            return ipaddress.ip_address(host) in ipaddress.ip_network(item, strict=False)
        except ValueError:
            return False
    match = _ITEM.fullmatch(item)
    if match is None or (match["port"] and int(match["port"]) != port):
        return False
    wanted = match["host"].removeprefix("[").removesuffix("]").removeprefix("*")
    if wanted.startswith("."):
        return host.endswith(wanted)
    return host == wanted or (not _is_address(host) and host.endswith(f".{wanted}"))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
