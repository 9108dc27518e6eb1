"""Where a registry is to be asked: mirrors first, TLS before plain HTTP, and that only if allowed.

Rules and texts as dockerd's registry service.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.reference import DEFAULT_DOMAIN, LEGACY_DOMAIN

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    type Network = ipaddress.IPv4Network | ipaddress.IPv6Network

OFFICIAL_REGISTRY = f"https://registry-1.{DEFAULT_DOMAIN}"
OFFICIAL_INDEX = "https://index.docker.io/v1/"

LOOPBACK = ("::1/128", "127.0.0.0/8")
"""Insecure unless configured otherwise: who listens there is on this machine already."""

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?"
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place to try. *insecure*: certificates are not checked."""

    url: str
    host: str
    mirror: bool = False
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class InsecureRegistries:
    """Checked configuration: names with or without port, and networks."""

    hosts: frozenset[str]
    networks: tuple[Network, ...]

    def matches_host(self, host: str) -> bool:
        """Whether *host* (`name[:port]`) is named."""
        return host in self.hosts

    def matches_address(self, addresses: Iterable[str]) -> bool:
        """Whether one of *addresses* of a host is in a network."""
        return any(
            address in network
            for text in addresses
            if (address := _address(text)) is not None
            for network in self.networks
            if address.version == network.version
        )


def parse_insecure(registries: Iterable[str]) -> InsecureRegistries:
    """The configured list; loopback is added.

    Raises:
        InvalidArgument: an entry is neither a network nor a host.
    """
    hosts: set[str] = set()
    networks: list[Network] = []
    for entry in (*registries, *LOOPBACK):
        name = re.sub(r"^https?://", "", entry, flags=re.IGNORECASE)
        if "://" in name:
            raise InvalidArgument(f"insecure registry {entry} should not contain '://'")
        try:
            networks.append(ipaddress.ip_network(name, strict=False))
        except ValueError:
            if not _HOST.fullmatch(name):
                raise InvalidArgument(
                    f'insecure registry {entry} is not valid: invalid host "{name}"'
                ) from None
            hosts.add(name)
    return InsecureRegistries(frozenset(hosts), tuple(networks))


def check_mirror(url: str) -> str:
    """A mirror's URL without a slash at its end.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise InvalidArgument(f'invalid mirror: "{url}" is not a valid URI: {error}') from error
    if "://" not in url or not parts.scheme:
        raise InvalidArgument(
            f'invalid mirror: no scheme specified for "{url}": must use either '
            "'https://' or 'http://'"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidArgument(
            f'invalid mirror: unsupported scheme "{parts.scheme}" in "{url}": must use either '
            "'https://' or 'http://'"
        )
    if parts.query or parts.fragment:
        raise InvalidArgument(f'invalid mirror: query or fragment at end of the URI "{url}"')
    if parts.username is not None:
        raise InvalidArgument("invalid mirror: username/password not allowed in URI")
    return url.rstrip("/")


def host_only(host: str) -> str:
    """`name[:port]` without the port and without brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def plan_endpoints(
    domain: str, mirrors: Sequence[str], insecure: frozenset[str], *, with_mirrors: bool
) -> list[Endpoint]:
    """Where to ask for the images of *domain*, in order.

    *insecure* are those of the hosts concerned (`endpoint_hosts`) that may be talked to without
    checked certificates.
    """
    if domain in (DEFAULT_DOMAIN, LEGACY_DOMAIN):
        result = []
        for mirror in mirrors if with_mirrors else ():
            host = urlsplit(mirror).netloc
            result.append(Endpoint(mirror, host, mirror=True, insecure=host in insecure))
        official = urlsplit(OFFICIAL_REGISTRY).netloc
        return [*result, Endpoint(OFFICIAL_REGISTRY, official)]
    unchecked = domain in insecure
    result = [Endpoint(f"https://{domain}", domain, insecure=unchecked)]
    if unchecked:
        result.append(Endpoint(f"http://{domain}", domain, insecure=True))
    return result


def endpoint_hosts(domain: str, mirrors: Sequence[str]) -> list[str]:
    """The hosts that `plan_endpoints` needs to know about."""
    if domain in (DEFAULT_DOMAIN, LEGACY_DOMAIN):
        return [urlsplit(mirror).netloc for mirror in mirrors]
    return [domain]


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
