"""What a registry worker is told to do, as it travels on the pipe: `to_json` and `parse_job`.

Both ends are ours; the worker still reads it before it gives up its privileges, and believes it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from orlop.engine.registry.settings import KnownRegistry, Registries
from orlop.wire.registry import auth_config
from orlop.wire.registry.auth_config import AuthConfig
from orlop.wire.registry.proxy_rules import parse_proxies
from orlop.wire.registry.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """*action* is `pull`, `push`, `login`, `distribution`, `search`, `artifact` or `fetch`.

    *staging* is an empty directory to put downloads into. *sources* are what a push may send, see
    `pushing.py`. *term* is what is searched for, or the URL of what is fetched.
    """

    action: str
    reference: Reference = Reference("", "")  # noqa: RUF009 - frozen
    platform: str = ""
    machine: str = ""
    auth: AuthConfig = field(default_factory=AuthConfig)
    registries: Registries = field(default_factory=Registries)
    staging: str = ""
    max_layer_bytes: int = 0
    term: str = ""
    limit: int = 0
    images: tuple[dict[str, Any], ...] = ()


def to_json(job: Job) -> dict[str, Any]:
    """What `parse_job` reads."""
    reference, registries = job.reference, job.registries
    return {
        "action": job.action,
        "reference": [reference.domain, reference.path, reference.tag, reference.digest],
        "platform": job.platform,
        "machine": job.machine,
        "auth": dict(auth_config.to_json(job.auth)),
        "registries": {
            "mirrors": list(registries.mirrors),
            "insecure": list(registries.insecure),
            "certificates": registries.certificates,
            "authorities": registries.authorities,
            "search": registries.search,
            "http_proxy": registries.proxies.http,
            "https_proxy": registries.proxies.https,
            "no_proxy": list(registries.proxies.none),
            "known": [
                [known.host, known.authorities, known.username, known.password]
                for known in registries.known
            ],
        },
        "staging": job.staging,
        "max_layer_bytes": job.max_layer_bytes,
        "term": job.term,
        "limit": job.limit,
        "images": list(job.images),
    }


def parse_job(data: dict[str, Any]) -> Job:
    """The inverse of `to_json`."""
    registries = data["registries"]
    return Job(
        action=data["action"],
        reference=Reference(*data["reference"]),
        platform=data["platform"],
        machine=data["machine"],
        auth=auth_config.parse_auth_config(data["auth"]),
        registries=Registries(
            mirrors=tuple(registries["mirrors"]),
            insecure=tuple(registries["insecure"]),
            certificates=registries["certificates"],
            authorities=registries["authorities"],
            search=registries["search"],
            proxies=parse_proxies(
                registries["http_proxy"], registries["https_proxy"], registries["no_proxy"]
            ),
            known=tuple(
                KnownRegistry(host=host, authorities=authorities, username=name, password=password)
                for host, authorities, name, password in registries["known"]
            ),
        ),
        staging=data["staging"],
        max_layer_bytes=data["max_layer_bytes"],
        term=data["term"],
        limit=data["limit"],
        images=tuple(data["images"]),
    )
