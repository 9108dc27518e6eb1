"""How an engine reaches registries."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """How registries are reached.

    *mirrors* serve images of the default registry, in this order, before it. *insecure* has hosts
    (`name[:port]`) and networks that may be talked to without checked certificates; loopback always
    is. *certificates* holds a directory per registry: `HOST[:PORT]/*.crt` are authorities to trust,
    `*.cert` with `*.key` what to show. *search* is the registry that is searched when a term names
    none; empty is Docker's own index.
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    certificates: str = "/etc/docker/certs.d"
    authorities: str = "/etc/ssl/certs/ca-certificates.crt"
    search: str = ""
