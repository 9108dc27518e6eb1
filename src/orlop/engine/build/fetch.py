"""Downloads for ADD and for a remote context: blocking, in a worker that is nobody.

It keeps the network and sees the file system as everybody does: names and certificates have to be
found. What it writes to is a descriptor that it was given.
"""

from __future__ import annotations

import email.utils
import os
import ssl
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from orlop.engine.sandbox import NOBODY, PR_SET_NO_NEW_PRIVS
from orlop.engine.store.spool import sha256
from orlop.engine.worker_process import report
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.lib.linux import LIBC, check
from orlop.wire.registry.proxy_rules import choose, parse_proxies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.registry.proxies import Proxies

OUTPUT = 4
READ_BYTES = 256 << 10
TIMEOUT_S = 60.0
"""Without a byte."""
MAX_TOTAL_S = 3 * 3600.0


def main(job: Mapping[str, Any]) -> None:
    """Fetch `job["url"]` of at most `job["max_bytes"]` to descriptor `OUTPUT`.

    Answers with `sha256`, `size`, `modified` (seconds since 1970; 0: not said) and `type`.

    Raises:
        InvalidArgument: it cannot be had. ResourceExhausted: too large.
    """
    authorities = str(job.get("authorities") or "")
    context = ssl.create_default_context(
        cafile=authorities if os.path.exists(authorities) else None
    )
    _become_nobody()
    url = str(job["url"])
    given = job["proxies"]
    proxies = parse_proxies(str(given["http"]), str(given["https"]), [str(given["no"])])
    opener = urllib.request.build_opener(
        _ProxyHandler(proxies),
        urllib.request.HTTPSHandler(context=context),
    )
    request = urllib.request.Request(url, headers={"User-Agent": "orlop-build"})
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            report(_copy(response, int(job["max_bytes"])))
    except urllib.error.HTTPError as error:
        raise InvalidArgument(f"failed to GET {url} with status {error.code} {error.reason}") from (
            error
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InvalidArgument(f"failed to GET {url}: {reason}") from error


class _ProxyHandler(urllib.request.ProxyHandler):
    """Asks anew for each address, as a redirect may lead to one that needs no proxy."""

    def __init__(self, proxies: Proxies) -> None:
        known = {"http": proxies.http, "https": proxies.https}
        super().__init__({scheme: proxy for scheme, proxy in known.items() if proxy})
        self._chosen = proxies

    def proxy_open(self, req: urllib.request.Request, proxy: str, type: str) -> Any:  # noqa: A002
        if not choose(self._chosen, req.full_url):
            return None
        return super().proxy_open(req, proxy, type)


def _copy(response: Any, max_bytes: int) -> dict[str, object]:
    digest = sha256()
    size = 0
    deadline_s = time.monotonic() + MAX_TOTAL_S
    while data := response.read(READ_BYTES):
        size += len(data)
        if size > max_bytes:
            raise ResourceExhausted("the download is too large for the disk")
        if time.monotonic() > deadline_s:
            raise InvalidArgument("the download takes too long")
        digest.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(OUTPUT, view) :]
    expected = response.headers.get("Content-Length")
    if expected is not None and expected.isdigit() and int(expected) != size:
        raise InvalidArgument("unexpected EOF")
    return {
        "sha256": f"sha256:{digest.hexdigest()}",
        "size": size,
        "modified": _modified(response.headers.get("Last-Modified")),
        "type": response.headers.get_content_type(),
    }


def _modified(text: str | None) -> int:
    if not text:
        return 0
    try:
        return max(int(email.utils.parsedate_to_datetime(text).timestamp()), 0)
    except (ValueError, OverflowError, TypeError):
        return 0


def _become_nobody() -> None:
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
