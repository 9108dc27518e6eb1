"""What a registry is asked besides images: a login, a name, a search. Worker only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from orlop.engine.registry.listing import list_repositories
from orlop.engine.registry.pulling import fetch_config, fetch_manifest
from orlop.engine.registry.session import TokenRefused
from orlop.lib.errors import Forbidden, InvalidArgument, NotFound, OrlopError, Unauthorized
from orlop.wire.registry import manifest as manifests
from orlop.wire.registry.endpoints import OFFICIAL_INDEX
from orlop.wire.registry.errors import RefusedByRegistry
from orlop.wire.registry.manifest import Index
from orlop.wire.registry.token import basic_credentials

if TYPE_CHECKING:
    from orlop.engine.registry.http import Pool
    from orlop.engine.registry.job import Job
    from orlop.engine.registry.session import Session

MAX_SEARCH_BYTES = 4 << 20
MAX_CATALOGUE_PAGES = 20
_RESULT = {"name": "", "description": "", "is_official": False, "star_count": 0}


def login(session: Session) -> dict[str, Any]:
    """Whether the credentials are taken; a refresh token if the registry gave one.

    Raises:
        Unauthorized: they are not.
    """
    session.offline = True
    url = session.url("")
    session.ping()
    try:
        session.call("GET", url, patient=False).read_all(1 << 20)
    except TokenRefused as error:
        raise Unauthorized(str(error)) from error
    except RefusedByRegistry as error:
        reason = {401: "Unauthorized", 403: "Forbidden"}.get(error.status, "")
        raise Unauthorized(
            f"login attempt to {url} failed with status: {error.status} {reason}".rstrip()
        ) from error
    return {"Status": "Login Succeeded", "IdentityToken": session.refresh_token}


def inspect(session: Session, job: Job) -> dict[str, Any]:
    """`GET /distribution/NAME/json`.

    Raises:
        NotFound, Forbidden, Unauthorized: as the registry says.
    """
    reference = job.reference.with_default_tag()
    session.ping()
    try:
        data, media_type, digest = fetch_manifest(session, reference)
    except RefusedByRegistry as error:
        raise _translate(error) from error
    parsed = manifests.parse_manifest(data, media_type, str(reference))
    platforms: list[dict[str, Any]] = []
    if isinstance(parsed, Index):
        platforms = [_platform(entry.raw_platform) for entry in parsed.manifests]
    else:
        try:
            config = json.loads(fetch_config(session, parsed.config))
        except (OrlopError, ValueError, RecursionError):
            config = None
        if isinstance(config, dict) and (config.get("os") or config.get("architecture")):
            platforms = [_platform(config)]
    descriptor = {"mediaType": parsed.media_type, "digest": digest, "size": len(data)}
    return {"Descriptor": descriptor, "Platforms": platforms or None}


def _platform(data: dict[str, Any]) -> dict[str, Any]:
    """OCI's platform object: what is empty is left out, but not the first two."""
    result = {"architecture": _text(data, "architecture"), "os": _text(data, "os")}
    for key in ("os.version", "variant"):
        if value := _text(data, key):
            result[key] = value
    return result


def _text(data: dict[str, Any], key: str) -> str:
    value = data.get(key, "")
    return value[:256] if isinstance(value, str) else ""


def _translate(error: RefusedByRegistry) -> OrlopError:
    kinds: dict[str, type[OrlopError]] = {
        "DENIED": Forbidden,
        "UNAUTHORIZED": Unauthorized,
        "MANIFEST_UNKNOWN": NotFound,
        "NAME_UNKNOWN": NotFound,
        "NAME_INVALID": InvalidArgument,
    }
    kind = NotFound if error.status == 404 else kinds.get(error.code)
    return kind(str(error)) if kind is not None else error


def search_index(pool: Pool, job: Job) -> dict[str, Any]:
    """Docker's own index.

    Raises:
        OrlopError: it cannot be asked.
    """
    url = f"{OFFICIAL_INDEX}search?{_query(job)}"
    headers = {"X-Docker-Token": "true"}
    if job.auth.username and job.auth.password:
        headers["Authorization"] = basic_credentials(job.auth.username, job.auth.password)
    response = pool.request("GET", url, headers)
    if response.status != 200:
        response.close()
        raise OrlopError(f"Unexpected status code {response.status}")
    return {"results": _parse_results(response.read_all(MAX_SEARCH_BYTES))}


def search_registry(session: Session, job: Job) -> dict[str, Any]:
    """A registry's own search if it has one, else what its catalogue holds.

    Raises:
        OrlopError: it has neither, or does not say.
    """
    session.ping()
    url = f"{session.endpoint.url}/v1/search?{_query(job)}"
    try:
        response = session.call("GET", url, scopes=("registry:catalog:search",), patient=False)
        return {"results": _parse_results(response.read_all(MAX_SEARCH_BYTES))}
    except OrlopError:
        pass
    try:
        names = list_repositories(session, MAX_CATALOGUE_PAGES)
    except RefusedByRegistry as error:
        raise OrlopError(
            f"the registry {session.endpoint.host} has no search, and does not show its "
            f"catalogue: {error}"
        ) from error
    found = [name for name in names if job.term.lower() in name.lower()][: job.limit]
    host = session.endpoint.host
    return {"results": [{**_RESULT, "name": f"{host}/{name}"} for name in found]}


def _query(job: Job) -> str:
    return urlencode({"q": job.term, "n": job.limit}, quote_via=quote)


def _parse_results(data: bytes) -> list[dict[str, Any]]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OrlopError(f"error decoding registry search results: {error}") from error
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise OrlopError("error decoding registry search results: no results")
    return [_result(item) for item in results[:100] if isinstance(item, dict)]


def _result(item: dict[str, Any]) -> dict[str, Any]:
    stars = item.get("star_count")
    return {
        "name": _text(item, "name"),
        "description": str(item.get("description") or "")[:1000],
        "is_official": item.get("is_official") is True,
        "star_count": stars if isinstance(stars, int) else 0,
    }
