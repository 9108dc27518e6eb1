"""Talking to data sources without a network: pages by path, and services that are none."""

from collections.abc import Callable, Mapping

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import Conversation, Request, Response, Surroundings

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt me"
CONFIG = b"#cloud-config\nhostname: ship\n"
AROUND = Surroundings(
    interfaces={"02:00:00:00:00:01": "eth0", "02:00:00:00:00:02": "eth1"}, machine="uuid"
)

type Serve = Callable[[Request], Response]
type Pages = dict[str, str | bytes]


def converse(conversation: Conversation, serve: Serve) -> Answer:
    try:
        request = next(conversation)
        while True:
            request = conversation.send(serve(request))
    except StopIteration as end:
        found: Answer = end.value
        return found


def pages(content: Mapping[str, str | bytes]) -> Serve:
    """A service with *content* by the path after the host; 404 for the rest."""

    def serve(request: Request) -> Response:
        path = "/" + request.url.partition("//")[2].partition("/")[2]
        body = content.get(path)
        if body is None:
            return Response(404)
        return Response(200, body.encode() if isinstance(body, str) else body)

    return serve


def silent(_: Request) -> Response:
    return Response(0, error="timed out")


def broken(_: Request) -> Response:
    return Response(500)
