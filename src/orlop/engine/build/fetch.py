"""Downloads for ADD and for a remote context: blocking, in a worker that is nobody.

It keeps the network and sees the file system as everybody does: names and certificates have to be
found. What it writes to is a descriptor that it was given.
"""

from __future__ import annotations

import base64
import email.utils
import http.client
import json
import os
import ssl
import time
import urllib.error
import urllib.request
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from orlop.engine.sandbox import NOBODY, PR_SET_NO_NEW_PRIVS
from orlop.engine.store.spool import sha256
from orlop.engine.worker_process import report
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.lib.linux import LIBC, check
from orlop.wire.registry.proxy_rules import choose, parse_proxies

if TYPE_CHECKING:
    from http.client import HTTPMessage

    from orlop.wire.registry.proxies import Proxies

OUTPUT = 4
READ_BYTES = 256 << 10
TIMEOUT_S = 60.0
"""Without a byte."""
MAX_TOTAL_S = 3 * 3600.0


def main() -> None:
    """Fetch the `url` of a job of at most `max_bytes` to descriptor `OUTPUT`.

    The job is JSON on descriptor 0: a command line would show a proxy's password to everybody.

    Answers with `sha256`, `size`, `modified` (seconds since 1970; 0: not said) and `type`.

    Raises:
        InvalidArgument: it cannot be had. ResourceExhausted: too large.
    """
    with open(0, "rb", closefd=False) as stream:
        job = json.load(stream)
    authorities = str(job.get("authorities") or "")
    context = ssl.create_default_context(
        cafile=authorities if os.path.exists(authorities) else None
    )
    _become_nobody()
    url = str(job["url"])
    given = job["proxies"]
    proxies = parse_proxies(str(given["http"]), str(given["https"]), [str(given["no"])])
    try:
        with open_url(url, proxies, context) as response:
            report(_copy(response, int(job["max_bytes"])))
    except urllib.error.HTTPError as error:
        raise InvalidArgument(f"failed to GET {url} with status {error.code} {error.reason}") from (
            error
        )
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise InvalidArgument(f"failed to GET {url}: {reason}") from error


def open_url(url: str, proxies: Proxies, context: ssl.SSLContext) -> Any:
    """The answer of *url*, which may have a name and a password in it.

    Raises:
        OSError, ValueError, HTTPException: it cannot be had.
    """
    opener = urllib.request.build_opener(
        _ProxyHandler(proxies),
        _RedirectHandler(),
        urllib.request.HTTPSHandler(context=context),
    )
    parts = urlsplit(url)
    url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(url, headers={"User-Agent": "orlop-build"})
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        basic = base64.b64encode(pair.encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {basic}")
    return opener.open(request, timeout=TIMEOUT_S)


class _RedirectHandler(urllib.request.HTTPRedirectHandler):
    """Follows to http and https only, and takes no credentials along to another host."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith(("http://", "https://")):
            raise urllib.error.URLError(f"redirected to {newurl[:200]!r}")
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None:
            # What is for the proxy is set anew if the next request goes through one.
            found.remove_header("Proxy-authorization")
            basic = req.unredirected_hdrs.get("Authorization")
            here, there = urlsplit(req.full_url), urlsplit(newurl)
            if basic and here[:2] == there[:2]:
                found.add_unredirected_header("Authorization", basic)
        return found


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
