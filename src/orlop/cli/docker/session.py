"""One run of the command: which engine, which configuration, and requests with docker's errors."""

from __future__ import annotations

import os
import sys

from orlop.cli.client import Client, Unreachable, quote
from orlop.cli.docker.failure import Failure
from orlop.lib import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orlop.cli.client import Response

__all__ = ["quote"]

SOCKET = "unix:///var/run/docker.sock"
API_VERSION = "1.45"
"""What this command speaks, unless DOCKER_API_VERSION says another."""

type Object = dict[str, object]


class Session:
    """Requests to the engine at *host* (`unix://PATH`); *config_directory* holds config.json."""

    def __init__(self, host: str, config_directory: str) -> None:
        self.host = host
        self.config_directory = config_directory
        self.api_version = os.environ.get("DOCKER_API_VERSION", "").lstrip("v") or API_VERSION
        self._config: Object | None = None

    @property
    def client(self) -> Client:
        """The connection's maker.

        Raises:
            Failure: *host* is of a kind that this command does not speak.
        """
        path = self.host.removeprefix("unix://")
        if path == self.host or not path:
            raise Failure(f"this docker command only speaks unix://PATH, not {self.host}")
        return Client(path)

    @property
    def config(self) -> Object:
        """The user's config.json; empty if there is none."""
        if self._config is None:
            from orlop.cli.docker.config_file import read_config

            self._config = read_config(self.config_directory)
        return self._config

    def config_text(self, name: str) -> str:
        """The text *name* of the configuration; empty if it has none."""
        value = self.config.get(name) if self._has_config() else None
        return value if isinstance(value, str) else ""

    def _has_config(self) -> bool:
        # Looked at first so that a machine without one does not import what reads it.
        return os.path.exists(os.path.join(self.config_directory, "config.json"))

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
        """Send a request and read the head of its answer.

        Raises:
            OrlopError: docker's text; of the kind that the answer's status stands for.
        """
        try:
            return self.client.request(
                method,
                f"/v{self.api_version}{target}",
                body,
                upgrade=upgrade,
                headers=headers,
                stream=stream,
            )
        except Unreachable as error:
            raise self._no_engine(error) from None
        except errors.NotModified:
            raise
        except Failure:
            raise
        except errors.OrlopError as error:
            raise type(error)(f"Error response from daemon: {error.message}") from None

    def _no_engine(self, error: Unreachable) -> errors.OrlopError:
        if error.is_forbidden:
            return errors.Unavailable(
                "permission denied while trying to connect to the Docker daemon socket at"
                f" {self.host}"
            )
        return errors.Unavailable(
            f"Cannot connect to the Docker daemon at {self.host}. Is the docker daemon running?"
        )

    def get(self, target: str) -> object:
        """The JSON value at *target*."""
        return self.client.value_of(self.request("GET", target))

    def get_object(self, target: str) -> Object:
        """The JSON object at *target*."""
        return as_object(self.get(target))

    def get_objects(self, target: str) -> list[Object]:
        """The list of JSON objects at *target*; null is an empty one."""
        return as_objects(self.get(target))

    def post(
        self, target: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> object:
        """Send *body*; the answer's JSON value, None when it has none or nothing was to be done."""
        try:
            return self.client.value_of(self.request("POST", target, body, headers=headers))
        except errors.NotModified:
            return None

    def delete(self, target: str) -> object:
        """Delete what is at *target*; the answer's JSON value."""
        return self.client.value_of(self.request("DELETE", target))


def as_object(value: object) -> Object:
    """*value* as the object that it must be.

    Raises:
        Internal: it is something else.
    """
    if not isinstance(value, dict):
        raise errors.Internal("the engine's answer is no object")
    return value


def as_objects(value: object) -> list[Object]:
    """*value* as the list of objects that it must be; None is an empty one.

    Raises:
        Internal: it is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise errors.Internal("the engine's answer is no list of objects")
    return value


def query(**parameters: object) -> str:
    """`?a=1&b=x` of those *parameters* that have a value; True is 1, a list is repeated."""
    pairs = []
    for name, value in parameters.items():
        values = value if isinstance(value, list) else [value]
        pairs += [f"{name}={quote(_shown(each))}" for each in values if _shown(each)]
    return "?" + "&".join(pairs) if pairs else ""


def _shown(value: object) -> str:
    if value is None or value is False:
        return ""
    return "1" if value is True else str(value)


def each_word(words: Iterable[str], act: object) -> int:
    """Call *act* with each word and print the word; errors are said at the end, all of them.

    Returns:
        The exit status.
    """
    failed = []
    for word in words:
        try:
            act(word)  # type: ignore[operator]
        except Failure:
            raise
        except errors.OrlopError as error:
            failed.append(error.message)
        else:
            print(word)
    return say_failed(failed)


def say_failed(failed: list[str]) -> int:
    """Write what *failed* to stderr; the exit status."""
    sys.stdout.flush()
    for message in failed:
        print(message, file=sys.stderr)
    return 1 if failed else 0


def lines_of(response: Response) -> Iterator[bytes]:
    """The lines of an answer as they come, each whole; empty ones are left out."""
    rest = b""
    for part in response.parts():
        *lines, rest = (rest + part).split(b"\n")
        yield from (line for line in lines if line.strip())
        if len(rest) > _LINE_LIMIT_BYTES:
            raise errors.Internal("the engine's answer has a line without an end")
    if rest.strip():
        yield rest


_LINE_LIMIT_BYTES = 16 << 20
