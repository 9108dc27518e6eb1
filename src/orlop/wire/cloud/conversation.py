"""Talking to a metadata service without doing any I/O: who sends requests is somebody else.

A source is a generator. It yields requests, is sent what came of each, and returns its answer:

    response = yield Request("http://169.254.169.254/metadata/v1.json")

`NoAnswer` ends it: the service is not there, not ready yet, or not what it is taken for.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

from orlop.lib.errors import OrlopError
from orlop.wire.cloud.answer import Answer

LINK_LOCAL = "http://169.254.169.254"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. *body* only with PUT and POST."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    method: str = "GET"
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What came back. *status* 0: nothing did, and *error* says why."""

    status: int
    body: bytes = b""
    error: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace").strip()

    def __str__(self) -> str:
        return self.error if not self.status else f"status {self.status}"


class NoAnswer(OrlopError):
    """The source has nothing for this machine now; the text says why. It may be asked again."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a source may have to know of the machine.

    *interfaces* has names by hardware address. *serial* is the firmware's, *machine* its UUID.
    *kernel_seed* is what `ds=nocloud;...` of the command line or the serial says.
    """

    interfaces: Mapping[str, str] = field(default_factory=dict)
    serial: str = ""
    machine: str = ""
    config_url: str = ""
    kernel_seed: Mapping[str, str] = field(default_factory=dict)


type Conversation = Generator[Request, Response, Answer]


def get(url: str, headers: Mapping[str, str] | None = None) -> Generator[Request, Response, bytes]:
    """The body at *url*.

    Raises:
        NoAnswer: there is none.
    """
    response = yield Request(url, headers or {})
    if not response.ok:
        raise NoAnswer(f"{url}: {response}")
    return response.body


def get_optional(
    url: str, headers: Mapping[str, str] | None = None
) -> Generator[Request, Response, bytes]:
    """The body at *url*, empty when the service has nothing there.

    Raises:
        NoAnswer: the service does not answer, or has a fault: better ask again than miss something.
    """
    response = yield Request(url, headers or {})
    if response.status in (204, 404):
        return b""
    if not response.ok:
        raise NoAnswer(f"{url}: {response}")
    return response.body
