"""A synchronous HTTP/1.1 client for the engine's Unix socket, as small as one command needs.

One request per connection. `http.client` costs 27 ms to import and `h11` 30 (a third of a second
under emulation); what the engine sends is known, so this reads just that: a status line, headers,
a body by length, by chunks or until the end, or a connection that stops being HTTP (101). It uses
the C module `_socket`, because `socket` wraps it for 8 ms more.

The engine is trusted (its socket is root's), yet every length meets its limit first: the client
shall fail with a sentence and not with no memory.
"""

from __future__ import annotations

import _socket

from orlop.cli.json_text import compact, decode
from orlop.lib import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SOCKET_PATH = "/run/orlop/system.sock"
HEAD_LIMIT_BYTES = 64 << 10
BODY_LIMIT_BYTES = 64 << 20
"""What one answer may hold: the largest is an inspection or a page of logs."""
READ_BYTES = 64 << 10

_KINDS: dict[int, type[errors.OrlopError]] = {
    304: errors.NotModified,
    400: errors.InvalidArgument,
    401: errors.Unauthorized,
    403: errors.Forbidden,
    404: errors.NotFound,
    409: errors.Conflict,
    501: errors.NotImplementedYet,
    503: errors.Unavailable,
}
"""The other direction of the engine's table from kinds of errors to statuses."""


_SAFE = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~/:")


def quote(text: str) -> str:
    """*text* as a part of a URL."""
    data = text.encode(errors="replace")
    return "".join(chr(byte) if byte in _SAFE else f"%{byte:02X}" for byte in data)


class Unreachable(errors.Unavailable):
    """Nobody listens at the socket, or this user may not use it (*is_forbidden*)."""

    def __init__(self, message: str, hint: str, *, is_forbidden: bool) -> None:
        super().__init__(message, hint=hint)
        self.is_forbidden = is_forbidden


def connect(path: str) -> _socket.socket:
    """A connection to the Unix socket *path*.

    Raises:
        Unreachable: nobody listens there, or this user may not.
    """
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise Unreachable(
            f"cannot reach the engine at {path}: {error.strerror or error}",
            hint="sudo orlop ..."
            if (is_forbidden := isinstance(error, PermissionError))
            else "this works as root on a machine that runs Orlop",
            is_forbidden=is_forbidden,
        ) from None
    return connection


class Response:
    """An answer whose body has not been read yet; `close` it, or read it to its end."""

    def __init__(self, connection: _socket.socket, *, has_body: bool = True) -> None:
        self._connection = connection
        self._buffer = bytearray()
        self._has_body = has_body
        self.status, self.headers = self._read_head()

    def read(self) -> bytes:
        """The whole body.

        Raises:
            Unavailable: the connection ended too early.
            Internal: the body is larger than any the engine should send.
        """
        body = bytearray()
        for part in self.parts():
            body += part
            if len(body) > BODY_LIMIT_BYTES:
                self.close()
                raise errors.Internal("the engine's answer is too large")
        return bytes(body)

    def parts(self) -> Iterator[bytes]:
        """The body as it comes, in parts of any size; none of them is empty."""
        try:
            if not self._has_body:
                return
            if self.headers.get("transfer-encoding", "").lower() == "chunked":
                yield from self._chunks()
            elif "content-length" in self.headers:
                yield from self._exactly(_number(self.headers["content-length"], 10))
            elif self.status not in (204, 304):
                yield from self._until_end()
        finally:
            self.close()

    def detach(self) -> tuple[_socket.socket, bytes]:
        """The connection, and what was already read from it: no longer HTTP. The caller closes."""
        return self._connection, bytes(self._buffer)

    def close(self) -> None:
        """Give the connection up, whatever is left of the body."""
        self._connection.close()

    def _read_head(self) -> tuple[int, dict[str, str]]:
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT_BYTES:
                raise errors.Internal("the headers of the engine's answer have no end")
            self._fill()
        lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1."):
            raise errors.Internal(f"the engine's answer is not HTTP: {lines[0][:60]!r}")
        headers = {}
        for line in lines[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        return _number(words[1], 10), headers

    def _fill(self) -> None:
        data = self._connection.recv(READ_BYTES)
        if not data:
            self.close()
            raise errors.Unavailable("the engine closed the connection before its answer was whole")
        self._buffer += data

    def _exactly(self, count: int) -> Iterator[bytes]:
        while count > 0:
            if not self._buffer:
                self._fill()
            part = bytes(self._buffer[:count])
            del self._buffer[: len(part)]
            count -= len(part)
            yield part

    def _chunks(self) -> Iterator[bytes]:
        while size := _number(self._line().partition(b";")[0].decode("latin-1"), 16):
            yield from self._exactly(size)
            self._line()
        while self._line():  # trailers
            pass

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > HEAD_LIMIT_BYTES:
                raise errors.Internal("the engine's answer has a line without an end")
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _until_end(self) -> Iterator[bytes]:
        if self._buffer:
            yield bytes(self._buffer)
            self._buffer.clear()
        while data := self._connection.recv(READ_BYTES):
            yield data


class Client:
    """Requests to the engine that listens on the Unix socket *path*, the system's unless given."""

    def __init__(self, path: str | None = None) -> None:
        self.path = path or SOCKET_PATH

    def request(
        self,
        method: str,
        target: str,
        body: object = None,
        *,
        upgrade: bool = False,
        headers: Mapping[str, str] | None = None,
        stream: Iterable[bytes] | None = None,
    ) -> Response:
        """Send a request, *body* as JSON or *stream* as it comes, and read the answer's head.

        With *upgrade* the answer's body may be a raw stream in both directions.

        Raises:
            OrlopError: the engine is not there or refuses; of the kind that its status stands for.
        """
        # A name may come from somebody who may run this one command as root, and nothing else.
        if not all("!" <= char <= "~" for char in target):
            raise errors.InvalidArgument(f"no path of the engine's: {target!r}")
        head = [f"{method} {target} HTTP/1.1", "Host: orlop"]
        head += [f"{name}: {value}" for name, value in (headers or {}).items()]
        payload = b""
        if body is not None:
            payload = compact(body).encode()
            head.append("Content-Type: application/json")
        if stream is not None:
            head.append("Transfer-Encoding: chunked")
        elif payload or method == "POST":
            head.append(f"Content-Length: {len(payload)}")
        head.append("Connection: Upgrade\r\nUpgrade: tcp" if upgrade else "Connection: close")
        connection = connect(self.path)
        try:
            connection.sendall("\r\n".join([*head, "", ""]).encode() + payload)
            if stream is not None:
                _send_chunks(connection, stream)
            response = Response(connection, has_body=method != "HEAD")
        except OSError as error:
            connection.close()
            raise errors.Unavailable(f"lost the engine: {error.strerror or error}") from None
        except errors.OrlopError:
            connection.close()
            raise
        if response.status >= 400 or response.status == 304:
            raise _error(response)
        return response

    def get(self, target: str) -> object:
        """The JSON value at *target*."""
        return self.value_of(self.request("GET", target))

    def post(self, target: str, body: object = None) -> object:
        """Send *body* to *target*; the answer's JSON value, or None when it has none."""
        return self.value_of(self.request("POST", target, body))

    def value_of(self, response: Response) -> object:
        """The JSON value that an answer's body is; None when it is empty.

        Raises:
            Internal: it is something else.
        """
        data = response.read()
        if not data.strip():
            return None
        try:
            return decode(data)
        except ValueError as error:
            raise errors.Internal(f"the engine's answer is not JSON: {error}") from None


def _send_chunks(connection: _socket.socket, stream: Iterable[bytes]) -> None:
    """Send *stream* in chunks; an engine that answers before the end has its answer read."""
    try:
        for part in stream:
            if part:
                connection.sendall(b"%x\r\n" % len(part) + part + b"\r\n")
        connection.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass


def _number(text: str, base: int) -> int:
    try:
        number = int(text.strip(), base)
    except ValueError:
        number = -1
    if number < 0:
        raise errors.Internal(f"the engine's answer has {text[:20]!r} where a number belongs")
    return number


def _error(response: Response) -> errors.OrlopError:
    kind = _KINDS.get(response.status, errors.Internal)
    text = response.read().decode(errors="replace").strip()
    hint = None
    try:
        value = decode(text.encode())
        if isinstance(value, dict) and isinstance(value.get("message"), str):
            text, hint = value["message"], value.get("hint")
    except ValueError:
        pass
    text = text or f"the engine answered {response.status}"
    return kind(text, hint=hint if isinstance(hint, str) else None)
