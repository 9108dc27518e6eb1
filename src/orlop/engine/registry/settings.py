"""How an engine reaches registries."""

from dataclasses import dataclass, field

from orlop.wire.registry.proxies import Proxies
from orlop.wire.registry.reference import DEFAULT_DOMAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRegistry:
    """What is known of the registry *host* (`name[:port]`) besides what is in its directory.

    *authorities* are certificates as PEM, trusted for it besides the system's. *username* and
    *password* are for requests whose client brought none.
    """

    host: str
    authorities: str = ""
    username: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """How registries are reached.

    *mirrors* serve images of the default registry, in this order, before it. *insecure* has hosts
    (`name[:port]`) and networks that may be talked to without checked certificates; loopback always
    is. *certificates* holds a directory per registry: `HOST[:PORT]/*.crt` are authorities to trust,
    `*.cert` with `*.key` what to show. *search* is the registry that is searched when a term names
    none; empty is Docker's own index. *known* has what was configured for single registries.
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    certificates: str = "/etc/docker/certs.d"
    authorities: str = "/etc/ssl/certs/ca-certificates.crt"
    search: str = ""
    proxies: Proxies = Proxies()  # noqa: RUF009 - frozen
    known: tuple[KnownRegistry, ...] = ()

    def find(self, host: str) -> KnownRegistry | None:
        """What is known of *host*; of a host of Docker's own also what is known of `docker.io`."""
        names = (host, DEFAULT_DOMAIN) if host.endswith(f".{DEFAULT_DOMAIN}") else (host,)
        known = {registry.host: registry for registry in self.known}
        return next((known[name] for name in names if name in known), None)
