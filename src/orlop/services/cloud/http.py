"""Sends a source's requests: HTTP/1.1 with bounded bodies, times and redirects.

What answers may be anything. Nothing is kept between requests, no proxy is used unless one is
given, no cookie taken; https is checked against the authorities of the image.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from binascii import b2a_base64
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from orlop.wire.cloud.answer import MAX_USER_DATA_BYTES
from orlop.wire.cloud.conversation import Request, Response

if TYPE_CHECKING:
    from orlop.wire.registry.proxies import Proxies

CERTIFICATES = "/usr/share/ca-certificates/mozilla"
CONFIGURED = "/etc/ssl/certs/ca-certificates.crt"
"""There when `ca_certs` is configured, with the others in it."""
REQUEST_TIMEOUT_S = 5.0
MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PIECE_BYTES = 64 << 10


def send(request: Request, deadline_s: float, proxies: Proxies | None = None) -> Response:
    """Send *request*, follow redirects of a GET; *deadline_s* is on the monotonic clock.

    Never raises: what goes wrong is in the response.
    """
    url = request.url
    for _ in range(MAX_REDIRECTS + 1):
        try:
            response, location = _send_once(url, request, deadline_s, proxies)
        except (OSError, HTTPException, ValueError) as error:
            place = "" if url == request.url else f"redirected to {url[:200]}: "
            return Response(0, error=f"{place}{_reason(error)}")
        if response.status not in _REDIRECTS or request.method != "GET" or not location:
            return response
        try:
            url = urljoin(url, location)
        except ValueError:
            url = location
        if not url.startswith(("http://", "https://")):
            return Response(0, error=f"redirected to {url[:200]!r}")
    return Response(0, error=f"more than {MAX_REDIRECTS} redirects")


def send_in_time(request: Request, deadline_s: float, proxies: Proxies | None = None) -> Response:
    """As `send`, but not a second longer, however slowly names or headers come.

    A thread that is still waiting then is left behind: the process ends soon after.
    """
    answers: queue.SimpleQueue[Response] = queue.SimpleQueue()

    def work() -> None:
        answers.put(send(request, deadline_s, proxies))

    threading.Thread(target=work, daemon=True).start()
    try:
        return answers.get(timeout=max(0.0, deadline_s - time.monotonic()))
    except queue.Empty:
        return Response(0, error="no time left")


def _send_once(
    url: str, request: Request, deadline_s: float, proxies: Proxies | None
) -> tuple[Response, str]:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an http:// or https:// URL")
    left_s = min(deadline_s - time.monotonic(), REQUEST_TIMEOUT_S)
    if left_s <= 0:
        raise TimeoutError("no time left")
    # Without a port http.client takes the end of an IPv6 address for one.
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {"User-Agent": "orlop", "Connection": "close", **request.headers}
    proxy = ""
    if proxies is not None:
        from orlop.wire.registry.proxy_rules import choose

        proxy = choose(proxies, url)
    if proxy:
        connection, more = _through(proxy, parts.scheme, parts.hostname, port, left_s)
        if parts.scheme == "http":
            target, headers = url.partition("#")[0], headers | more
    else:
        connection = _connection(parts.scheme, parts.hostname, port, left_s)
    try:
        connection.request(request.method, target, request.body or None, headers)
        answer = connection.getresponse()
        body = bytearray()
        while piece := answer.read1(_PIECE_BYTES):
            body += piece
            if len(body) > MAX_USER_DATA_BYTES:
                raise ValueError(f"longer than {MAX_USER_DATA_BYTES} bytes")
            # The socket's limit is for each piece: one byte a second must not last for ever.
            if time.monotonic() > deadline_s:
                raise TimeoutError("no time left")
        if answer.length:
            raise ValueError(f"the answer is cut off, {answer.length} bytes are missing")
        return Response(answer.status, bytes(body)), answer.getheader("Location", "")
    finally:
        connection.close()


def _connection(scheme: str, host: str, port: int, timeout_s: float) -> HTTPConnection:
    if scheme == "http":
        return HTTPConnection(host, port, timeout=timeout_s)
    import ssl  # a megabyte that only https needs

    files = sorted(Path(CERTIFICATES).glob("*.crt"))
    # The image's own, or all that are to be believed, if some were configured.
    configured = Path(CONFIGURED)
    if configured.exists():
        files = [configured]
    authorities = "".join(file.read_text("ascii", "ignore") for file in files)
    # Nothing is trusted besides these: the image has no other place for authorities.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if authorities:
        context.load_verify_locations(cadata=authorities)
    return HTTPSConnection(host, port, timeout=timeout_s, context=context)


def _through(
    proxy: str, scheme: str, host: str, port: int, timeout_s: float
) -> tuple[HTTPConnection, dict[str, str]]:
    """A connection to *proxy*, and the headers for it; https goes through with CONNECT."""
    at = urlsplit(proxy)
    connection = _connection(scheme, at.hostname or "", at.port or 80, timeout_s)
    more: dict[str, str] = {}
    if at.username is not None:
        pair = f"{unquote(at.username)}:{unquote(at.password or '')}"
        more["Proxy-Authorization"] = f"Basic {b2a_base64(pair.encode(), newline=False).decode()}"
    if scheme == "https":
        connection.set_tunnel(host, port, more)
    return connection, more


def has_route(url: str) -> bool:
    """Whether the kernel knows a way to the host of *url*; nothing is sent.

    A name is not looked up: for one any default route will do.
    """
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    targets = [host, "192.0.2.1", "2001:db8::1"]
    if host.replace(".", "").isdigit() or ":" in host:
        targets = [host]
    return any(_has_route_to(target) for target in targets)


def _has_route_to(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except (OSError, UnicodeError):
            return False
    return True


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
