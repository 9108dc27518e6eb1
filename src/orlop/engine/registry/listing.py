"""Lists that a registry gives page by page: tags of a repository, its catalogue. Worker only."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.wire.registry.headers import next_page

if TYPE_CHECKING:
    from orlop.engine.registry.session import Session

MAX_PAGES = 200
MAX_PAGE_BYTES = 4 << 20
MAX_ITEMS = 20_000


def list_tags(session: Session) -> list[str]:
    """All tags of the session's repository.

    Raises:
        OrlopError: the registry refuses, or its answer is no list.
    """
    return _follow(session, session.url("/tags/list"), "tags", ())


def list_repositories(session: Session, enough: int) -> list[str]:
    """The registry's catalogue, as much of it as *enough* pages hold.

    Raises:
        OrlopError: as `list_tags`.
    """
    url = session.url("_catalog?n=1000")
    return _follow(session, url, "repositories", ("registry:catalog:*",), enough)


def _follow(
    session: Session, url: str, key: str, scopes: tuple[str, ...], most: int = MAX_PAGES
) -> list[str]:
    items: list[str] = []
    following: str | None = url
    for _ in range(most):
        if following is None:
            break
        response = session.call("GET", following, scopes=scopes)
        link = response.header("Link")
        items += _parse(response.read_all(MAX_PAGE_BYTES), key)
        if len(items) > MAX_ITEMS:
            raise OrlopError(f"the registry lists more than {MAX_ITEMS} {key}")
        following = next_page(link, following)
    return items


def _parse(data: bytes, key: str) -> list[str]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise OrlopError(f"the registry's list of {key} cannot be read: {error}") from error
    found = document.get(key) if isinstance(document, dict) else None
    if found is None:
        return []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise OrlopError(f"the registry's list of {key} is none")
    return found
