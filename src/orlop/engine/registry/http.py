"""HTTP to registries, blocking, in the worker only.

Connections are kept between requests. Redirects are followed for reading, without our credentials
when they lead to another host, and never from TLS to plain HTTP. Errors of the transport come in
the words of Go's client, which people search for.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

from orlop.engine.registry import tls
from orlop.lib.errors import OrlopError
from orlop.wire.registry.proxy_rules import choose

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECT_TIMEOUT_S = 30.0
STALL_TIMEOUT_S = 60.0
"""Without a single byte; a registry may take its time to answer, not for ever."""

MAX_REDIRECTS = 5
BLOCK_BYTES = 256 << 10
USER_AGENT = "docker/28.0.0 (linux) orlop"


class TransportError(OrlopError):
    """No answer came, or not all of it."""


class Response:
    """An answer. Read it to its end or `close` it."""

    def __init__(
        self, url: str, raw: http.client.HTTPResponse, pool: Pool, connection: _Connection
    ) -> None:
        self.url = url
        self.status = raw.status
        self.reason = raw.reason
        self._raw = raw
        self._pool = pool
        self._connection = connection

    def header(self, name: str) -> str:
        """The value, empty if absent."""
        return self._raw.headers.get(name, "")

    def headers(self, name: str) -> list[str]:
        """All values."""
        return self._raw.headers.get_all(name, [])

    def read_into(self, buffer: memoryview) -> int:
        """Some of the body; 0 at its end.

        Raises:
            TransportError: the connection broke before the end.
        """
        try:
            count = self._raw.readinto(buffer)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise TransportError(f"{_shown(self.url)}: {_describe(error, self.url)}") from error
        if count == 0:
            # http.client says nothing when a body of known length ends too early.
            if self._raw.length:
                self.close()
                raise TransportError(f"{_shown(self.url)}: unexpected EOF")
            self._pool.put_back(self._connection, self._raw)
        return count

    def read_all(self, limit: int) -> bytes:
        """The whole body, of at most *limit* bytes.

        Raises:
            OrlopError: it is longer. TransportError: the connection broke.
        """
        data = bytearray()
        buffer = memoryview(bytearray(64 << 10))
        while count := self.read_into(buffer):
            data += buffer[:count]
            if len(data) > limit:
                self.close()
                raise OrlopError(f"the registry's answer has more than {limit} bytes")
        return bytes(data)

    def close(self) -> None:
        """Give up the rest."""
        self._connection.close()


class Pool:
    """Idle connections, by scheme and host."""

    def __init__(self, contexts: tls.Contexts, *, insecure: bool) -> None:
        self.insecure = insecure
        self._contexts = contexts
        self._idle: dict[tuple[str, str], list[_Connection]] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | BinaryIO | None = None,
        *,
        stall_s: float = STALL_TIMEOUT_S,
    ) -> Response:
        """One exchange; redirects of GET and HEAD are followed. *stall_s*: without a single byte.

        Raises:
            TransportError: no answer.
        """
        sent = dict(headers)
        for _ in range(MAX_REDIRECTS):
            response = self._exchange(method, url, sent, body, stall_s)
            location = response.header("Location")
            redirected = response.status in (301, 302, 303, 307, 308)
            if not redirected or not location or method not in ("GET", "HEAD"):
                return response
            response.close()
            target = urljoin(url, location)
            here, there = urlsplit(url), urlsplit(target)
            if there.scheme not in ("http", "https") or not there.hostname:
                raise TransportError(f"{_shown(url)}: a redirect to nowhere")
            if here.scheme == "https" and there.scheme == "http" and not self.insecure:
                raise TransportError(f"{_shown(url)}: a redirect from HTTPS to HTTP, not followed")
            if here.netloc != there.netloc:
                sent.pop("Authorization", None)
            url = target
        raise TransportError(f"{_shown(url)}: stopped after {MAX_REDIRECTS} redirects")

    def put_back(self, connection: _Connection, raw: http.client.HTTPResponse) -> None:
        """Called by a response that is read to its end."""
        if raw.will_close:
            connection.close()
            return
        with self._lock:
            self._idle.setdefault(connection.key, []).append(connection)

    def close(self) -> None:
        """Close what is idle."""
        with self._lock:
            for connections in self._idle.values():
                for connection in connections:
                    connection.close()
            self._idle.clear()

    def _exchange(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | BinaryIO | None,
        stall_s: float,
    ) -> Response:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        fields = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **headers}
        if parts.scheme == "http" and (proxy := choose(self._contexts.proxies, url)):
            target = f"http://{parts.netloc}{target}"
            fields |= _proxy_credentials(proxy)
        connection = self._take(parts.scheme, parts.netloc)
        reused = connection is not None
        try:
            if connection is None:
                connection = self._connect(parts.scheme, parts.netloc)
            connection.sock.settimeout(stall_s)
            try:
                connection.request(method, target, body, fields)
                raw = connection.getresponse()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                connection.close()
                if not reused or not isinstance(body, bytes | None):
                    raise
                # The server had closed the idle connection: that is no failure of this request.
                connection = self._connect(parts.scheme, parts.netloc)
                connection.sock.settimeout(stall_s)
                connection.request(method, target, body, fields)
                raw = connection.getresponse()
        except (OSError, http.client.HTTPException, ValueError, TransportError) as error:
            if connection is not None:
                connection.close()
            verb = method.capitalize()
            raise TransportError(f'{verb} "{url}": {_describe(error, url)}') from error
        return Response(url, raw, self, connection)

    def _take(self, scheme: str, host: str) -> _Connection | None:
        with self._lock:
            idle = self._idle.get((scheme, host))
            return idle.pop() if idle else None

    def _connect(self, scheme: str, host: str) -> _Connection:
        proxy = choose(self._contexts.proxies, f"{scheme}://{host}")
        if scheme == "https":
            context = self._contexts.get(host, insecure=self.insecure)
            connection: _Connection = _TlsConnection(host, context, proxy)
        else:
            connection = _Connection(host, proxy)
        connection.connect()
        return connection


class _Connection(http.client.HTTPConnection):
    scheme = "http"

    def __init__(self, netloc: str, proxy: str) -> None:
        """To *netloc*, or to *proxy* for it."""
        place = netloc
        if proxy:
            place = urlsplit(proxy).netloc.rpartition("@")[2]
            place += "" if urlsplit(proxy).port else ":80"
        super().__init__(place, timeout=CONNECT_TIMEOUT_S, blocksize=BLOCK_BYTES)
        self.key = self.scheme, netloc
        self.proxy = proxy

    def connect(self) -> None:
        try:
            super().connect()
        except OSError as error:
            if not self.proxy:
                raise
            reason = _describe(error, self.proxy)
            raise TransportError(f"proxyconnect tcp: {reason}") from error
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


class _TlsConnection(_Connection):
    scheme = "https"
    default_port = 443

    def __init__(self, netloc: str, context: ssl.SSLContext, proxy: str) -> None:
        super().__init__(netloc, proxy)
        parts = urlsplit(f"https://{netloc}")
        self._context = context
        self._name = parts.hostname or netloc
        if proxy:
            port = parts.port or self.default_port
            self.set_tunnel(self._name, port, headers=_proxy_credentials(proxy))

    def connect(self) -> None:
        super().connect()
        self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


def _proxy_credentials(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def _shown(url: str) -> str:
    """A URL without its query, in which storage servers put signatures."""
    return url.partition("?")[0]


def _describe(error: Exception, url: str) -> str:
    host = urlsplit(url).netloc.rpartition("@")[2]  # a proxy's has its password before that
    match error:
        case ssl.SSLError():
            return tls.describe(error, urlsplit(url).hostname or host)
        case socket.gaierror():
            if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
                return f"dial tcp: lookup {urlsplit(url).hostname}: no such host"
            return f"dial tcp: lookup {urlsplit(url).hostname}: {error.strerror}"
        case TimeoutError():
            return "net/http: request canceled (Client.Timeout exceeded while awaiting headers)"
        case ConnectionRefusedError():
            return f"dial tcp {host}: connect: connection refused"
        case http.client.RemoteDisconnected() | http.client.IncompleteRead():
            return "unexpected EOF"
        case http.client.BadStatusLine():
            return "malformed HTTP response"
        case TransportError():
            return str(error)
        case OSError():
            return f"dial tcp {host}: {(error.strerror or str(error)).lower()}"
        case _:
            return f"malformed HTTP response: {type(error).__name__}"
