"""Where releases come from: a web server, a registry, a directory, or one archive. Worker only.

All four hold the same files by the same paths. What they say is checked by whoever asked; here are
only bounds.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import time
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlsplit

from orlop.engine.registry.files import TITLE
from orlop.engine.registry.http import STALL_TIMEOUT_S, Pool, TransportError
from orlop.engine.registry.pulling import fetch_manifest
from orlop.engine.registry.session import RETRY_DELAYS_S, Session
from orlop.engine.registry.tls import Contexts
from orlop.engine.registry.transfer import Download
from orlop.engine.registry.worker import goes_on, is_insecure
from orlop.engine.store.tar_reader import FileSource, entries
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError, Unavailable
from orlop.wire.registry.auth_config import AuthConfig
from orlop.wire.registry.endpoints import endpoint_hosts, parse_insecure, plan_endpoints
from orlop.wire.registry.manifest import Descriptor
from orlop.wire.registry.reference import check_digest, parse_reference
from orlop.wire.tar import Kind, TarError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from orlop.engine.registry.http import Response
    from orlop.engine.registry.settings import Registries

    type Sink = Callable[[memoryview], None]

OCI = "oci://"
BLOCK_BYTES = 1 << 20
MAX_FILES = 20_000
PIECE_S = 1024.0
"""A server that sends less than 1 KiB a second keeps a machine from others, and from what is newer:
the next attempt goes on from there."""
ANSWER_S = 20.0
"""Metadata are small files: a server that says nothing for so long will not say anything soon. The
next look comes by itself, and who asks by hand is to know."""
ASKED = 2
"""How often such a server is asked."""
_MISSING = (403, 404, 410)
"""Object stores answer 403 for what is not there."""


class Source(Protocol):
    """A repository's files. Paths are relative, as in `wire.tuf.client`."""

    def small(self, path: str, max_bytes: int) -> bytes | None:
        """A file; None if there is none. Raises: OrlopError: it cannot be had, or is longer."""

    def blob(self, path: str, size: int, offset: int, sink: Sink) -> None:
        """Bytes *offset* to *size* of a file into *sink*. Raises: OrlopError."""


def open_source(place: str, registries: Registries) -> Source:
    """The source called *place*; while the worker still is root, and sees the machine's files.

    Raises:
        InvalidArgument: no such thing can be a source. NotFound: there is no such file.
    """
    if place.startswith(OCI):
        return _Registry(place, registries)
    if place.startswith("/"):
        return _local(place)
    pool = Pool(Contexts(registries, [_host(place)]), insecure=False)
    return _Web(pool, place.rstrip("/"))


def _host(place: str) -> str:
    """Host and port of an address. Raises InvalidArgument: it can be no source."""
    try:
        parts = urlsplit(place)
        whole = parts.hostname and parts.port != 0 and not parts.query and not parts.fragment
        if whole and parts.scheme in ("http", "https"):
            if "@" not in parts.netloc:
                return parts.netloc
            raise InvalidArgument("a source of releases has no name or password in its address")
    except ValueError:
        pass  # an address or a port that is none
    raise InvalidArgument(
        f"{place}: no source of releases",
        hint="https://HOST/PATH, oci://HOST/NAME:TAG, or /PATH",
    )


class _Web:
    """Static files below *base*. It is its own `Asking`, for downloads."""

    def __init__(self, pool: Pool, base: str) -> None:
        self._pool = pool
        self._base = base
        self._path = ""

    def small(self, path: str, max_bytes: int) -> bytes | None:
        url = self._address(path)
        response = self.call("GET", url, ok=(200, *_MISSING), stall_s=ANSWER_S)
        if response.status != 200:
            response.close()
            return None
        return _bounded(response, path, max_bytes)

    def blob(self, path: str, size: int, offset: int, sink: Sink) -> None:
        self._path = path
        blob = Descriptor("", path, size)
        Download(self, blob, sink, offset=offset, piece_s=PIECE_S).run()

    def url(self, path: str) -> str:
        del path  # as registries have it
        return self._address(self._path)

    def _address(self, path: str) -> str:
        return f"{self._base}/{quote(path)}"

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ok: Collection[int] = (200,),
        on_wait: Callable[[float], None] = lambda _: None,
        stall_s: float = STALL_TIMEOUT_S,
    ) -> Response:
        """As a `Session`; *stall_s* without a single byte, and not as often if that is short."""
        silent = 0
        for delay in (*RETRY_DELAYS_S, None):
            try:
                response = self._pool.request(method, url, headers or {}, stall_s=stall_s)
            except TransportError as error:
                silent += isinstance(error.__cause__, TimeoutError)
                if silent == ASKED and stall_s < STALL_TIMEOUT_S:
                    raise Unavailable(f"{url}: the server does not answer") from error
                if delay is None:
                    raise Unavailable(str(error)) from error
            else:
                if response.status in ok:
                    return response
                response.close()
                if delay is None or (response.status != 429 and response.status < 500):
                    kind = NotFound if response.status in _MISSING else Unavailable
                    raise kind(f"{url}: the server answered {response.status} {response.reason}")
            on_wait(delay)
            time.sleep(delay)
        raise AssertionError


class _Registry:
    """An artifact whose layers are the files, each with its path as the title."""

    def __init__(self, place: str, registries: Registries) -> None:
        self._reference = parse_reference(place.removeprefix(OCI)).with_default_tag()
        hosts = endpoint_hosts(self._reference.domain, registries.mirrors)
        self._contexts = Contexts(registries, hosts)
        self._registries = registries
        self._session: Session | None = None
        self._files: dict[str, Descriptor] = {}

    def small(self, path: str, max_bytes: int) -> bytes | None:
        session = self._open()
        found = self._files.get(path)
        if found is None:
            return None
        response = session.call("GET", session.url(f"/blobs/{found.digest}"))
        return _bounded(response, path, max_bytes)

    def blob(self, path: str, size: int, offset: int, sink: Sink) -> None:
        session = self._open()
        found = self._files.get(path)
        if found is None:
            raise NotFound(f"{self._reference.familiar} has no file {path}")
        blob = Descriptor("", found.digest, size)
        Download(session, blob, sink, offset=offset, piece_s=PIECE_S).run()

    def _open(self) -> Session:
        """The first endpoint that has the artifact."""
        if self._session is not None:
            return self._session
        domain, mirrors = self._reference.domain, self._registries.mirrors
        rules = parse_insecure(self._registries.insecure)
        insecure = frozenset(h for h in endpoint_hosts(domain, mirrors) if is_insecure(h, rules))
        last: OrlopError = Unavailable(f"no way to {self._reference.familiar}")
        for endpoint in plan_endpoints(domain, mirrors, insecure, with_mirrors=True):
            known = self._registries.find(endpoint.host)
            auth = AuthConfig(username=known.username, password=known.password) if known else None
            session = Session(
                endpoint, self._contexts, auth or AuthConfig(), self._reference.path, ["pull"]
            )
            try:
                session.ping()
                self._files = _files(fetch_manifest(session, self._reference)[0])
            except OrlopError as error:
                last = error
                secure = session.connected and endpoint.url.startswith("https://")
                if secure or not goes_on(error, endpoint):
                    break
                continue
            self._session = session
            return session
        raise Unavailable(f"{self._reference.familiar}: {last}") from last


def _files(manifest: bytes) -> dict[str, Descriptor]:
    """The files of an artifact by their titles."""
    try:
        document = json.loads(manifest)
        found = {
            str(layer["annotations"][TITLE]): Descriptor(
                "", check_digest(str(layer["digest"])), int(layer["size"])
            )
            for layer in document["layers"]
        }
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise InvalidArgument("the artifact holds no releases") from error
    return found


def _local(place: str) -> Source:
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(place, flags)
    except OSError as error:
        kind = NotFound if error.errno == errno.ENOENT else Unavailable
        raise kind(f"{place}: {(error.strerror or str(error)).lower()}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(mode):
        return _Directory(descriptor, place)
    if stat.S_ISREG(mode):
        return _Archive(descriptor, place)
    raise InvalidArgument(f"{place}: neither a directory nor an archive of releases")


class _Opened:
    """What a directory and an archive have in common: a file is an open one, begin and size."""

    def __init__(self, descriptor: int, place: str) -> None:
        self._descriptor = descriptor
        self._place = place

    def _find(self, path: str) -> tuple[int, int, int] | None:
        raise NotImplementedError

    def small(self, path: str, max_bytes: int) -> bytes | None:
        found = self._find(path)
        if found is None:
            return None
        descriptor, at, size = found
        try:
            if size > max_bytes:
                raise InvalidArgument(f"{self._place}: {path} has more than {max_bytes} bytes")
            return os.pread(descriptor, size, at)
        finally:
            self._done(descriptor)

    def blob(self, path: str, size: int, offset: int, sink: Sink) -> None:
        found = self._find(path)
        if found is None:
            raise NotFound(f"{self._place} has no file {path}")
        descriptor, at, have = found
        try:
            if have != size:
                raise InvalidArgument(f"{self._place}: {path} has {have} bytes, not {size}")
            while offset < size:
                data = os.pread(descriptor, min(BLOCK_BYTES, size - offset), at + offset)
                if not data:
                    raise InvalidArgument(f"{self._place}: {path} ends too early")
                sink(memoryview(data))
                offset += len(data)
        finally:
            self._done(descriptor)

    def _done(self, descriptor: int) -> None:
        if descriptor != self._descriptor:
            os.close(descriptor)


class _Directory(_Opened):
    def _find(self, path: str) -> tuple[int, int, int] | None:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(path, flags, dir_fd=self._descriptor)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise Unavailable(
                f"{self._place}/{path}: is read without privileges, and not readable for others",
                hint=f"chmod -R a+rX {self._place}",
            ) from error
        except OSError as error:
            raise Unavailable(f"{self._place}/{path}: {error.strerror}") from error
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise InvalidArgument(f"{self._place}/{path}: no regular file")
        return descriptor, 0, found.st_size


class _Archive(_Opened):
    """A tar archive, uncompressed; its table of contents is made when it is first needed."""

    _table: dict[str, tuple[int, int]] | None = None

    def _find(self, path: str) -> tuple[int, int, int] | None:
        if self._table is None:
            self._table = self._read()
        found = self._table.get(path)
        return None if found is None else (self._descriptor, *found)

    def _read(self) -> dict[str, tuple[int, int]]:
        table: dict[str, tuple[int, int]] = {}
        try:
            for header, at in entries(FileSource(self._descriptor)):
                if header.kind is Kind.FILE and not header.sparse:
                    table[header.name.decode().removeprefix("./")] = at, header.size
                if len(table) > MAX_FILES:
                    raise InvalidArgument(f"{self._place}: more than {MAX_FILES} files")
        except (TarError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"{self._place}: no archive of releases: {error}") from error
        return table


def _bounded(response: Response, path: str, max_bytes: int) -> bytes:
    data = bytearray()
    buffer = memoryview(bytearray(64 << 10))
    try:
        while count := response.read_into(buffer):
            data += buffer[:count]
            if len(data) > max_bytes:
                response.close()
                raise InvalidArgument(f"{path} has more than {max_bytes} bytes")
    except TransportError as error:
        raise Unavailable(str(error)) from error
    return bytes(data)
