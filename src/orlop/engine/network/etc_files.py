"""/etc/hosts and /etc/resolv.conf of a container. Pure, but for reading the host's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.network.ipam import parse_address
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.container.endpoints import Networking
    from orlop.engine.network.model import Endpoint

HOST_GATEWAY = "host-gateway"
EMBEDDED_DNS = "127.0.0.11"
HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"
RESOLVED_CONF = "/run/systemd/resolve/resolv.conf"
"""Where systemd-resolved names the servers it asks itself."""

MAX_FILE_BYTES = 256 << 10
MAX_NAME_SERVERS = 16

_STANDARD_HOSTS = (
    "127.0.0.1\tlocalhost",
    "::1\tlocalhost ip6-localhost ip6-loopback",
    "fe00::\tip6-localnet",
    "ff00::\tip6-mcastprefix",
    "ff02::1\tip6-allnodes",
    "ff02::2\tip6-allrouters",
)


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """What a resolv.conf says."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()
    options: tuple[str, ...] = ()


def parse_resolv_conf(text: str) -> ResolverConfig:
    """Lines that are not understood are passed over, as the C library does."""
    servers: list[str] = []
    search: tuple[str, ...] = ()
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split(";", 1)[0].split()
        match words:
            case ["nameserver", address, *_] if _is_address(address):
                servers.append(address)
            case ["search" | "domain", *domains]:
                search = tuple(domains)
            case ["options", *more]:
                options += more
    return ResolverConfig(tuple(servers[:MAX_NAME_SERVERS]), search, tuple(options))


def _is_address(text: str) -> bool:
    try:
        parse_address(text.partition("%")[0])
    except OrlopError:
        return False
    return True


def read_host_resolvers() -> ResolverConfig:
    """The host's, or behind a local stub of systemd-resolved the servers that it asks."""
    found = parse_resolv_conf(_read(RESOLV_CONF))
    if found.servers and all(server == "127.0.0.53" for server in found.servers):
        real = parse_resolv_conf(_read(RESOLVED_CONF))
        if real.servers:
            return real
    return found


def _read(path: str) -> str:
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""


def is_loopback(server: str) -> bool:
    """Whether *server* is one that only the host itself reaches."""
    return parse_address(server.partition("%")[0]).is_loopback


def plan_resolv_conf(
    host: ResolverConfig, wanted: Networking, *, embedded: bool, same_host: bool = False
) -> str:
    """A container's resolv.conf: what it asked for, else the host's.

    Without *same_host* the host's loopback is not the container's, and a server there left out.
    With *embedded* the engine's own name server answers and asks the others itself.
    """
    servers = wanted.dns or host.servers
    if embedded:
        servers = (EMBEDDED_DNS,)
    elif not wanted.dns and not same_host:
        servers = tuple(server for server in servers if not is_loopback(server))
    search = wanted.dns_search or host.search
    options = list(wanted.dns_options or host.options)
    if embedded and not any(option.startswith("ndots:") for option in options):
        # Names of containers have no dots, and must not be looked for in the search list first.
        options.append("ndots:0")
    lines = [f"nameserver {server}" for server in servers]
    if search and search != (".",):
        lines.append("search " + " ".join(search))
    if options:
        lines.append("options " + " ".join(options))
    return "\n".join(lines) + "\n"


def plan_hosts(
    extra: Sequence[tuple[str, str]],
    endpoints: Sequence[Endpoint],
    names: Sequence[str],
    linked: Sequence[tuple[str, str]],
    host_gateway: Sequence[str],
) -> str:
    """A container's hosts file: the usual lines, what was asked for, then its own addresses.

    *linked* are addresses and names of containers it is linked to. `host-gateway` stands for this
    host's addresses.
    """
    lines = list(_STANDARD_HOSTS)
    for name, address in extra:
        addresses = host_gateway if address == HOST_GATEWAY else (address,)
        lines += [f"{each}\t{name}" for each in addresses]
    lines += [f"{address}\t{name}" for address, name in linked]
    lines += own_lines(endpoints, names)
    return "\n".join(lines) + "\n"


def own_lines(endpoints: Sequence[Endpoint], names: Sequence[str]) -> list[str]:
    """The lines of a container's own addresses."""
    own = " ".join(names)
    return [
        f"{address}\t{own}"
        for endpoint in endpoints
        for address in (endpoint.ipv4, endpoint.ipv6)
        if address
    ]


def plan_hosts_like_host(extra: Sequence[tuple[str, str]]) -> str:
    """For a container in the host's namespace: the host's own file, and what was asked for."""
    text = _read(HOSTS) or "\n".join(_STANDARD_HOSTS) + "\n"
    gateway = {HOST_GATEWAY: "127.0.0.1"}
    return text + "".join(f"{gateway.get(address, address)}\t{name}\n" for name, address in extra)
