"""The HTTP client, against an engine on a real socket that also misbehaves."""

import pytest

from orlop.cli import client
from orlop.cli.client import Client
from orlop.cli.json_text import decode
from orlop.cli.main import main
from orlop.lib.errors import Conflict, Internal, InvalidArgument, NotFound, OrlopError, Unavailable
from tests.unit.cli.fake_engine import FakeEngine

HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 5\r\n\r\n[1,2]",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n3;x=y\r\n,2]\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n[1,2]\r\n0\r\nTrailer: x\r\n\r\n",
        HEAD + b"\r\n[1,2]",
    ],
)
def test_bodies_of_every_framing(engine: FakeEngine, answer: bytes) -> None:
    engine.answer_raw("GET /list", answer)
    assert Client().get("/list") == [1, 2]


def test_a_body_that_comes_byte_by_byte(engine: FakeEngine) -> None:
    answer = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n3\r\n,2]\r\n0\r\n\r\n"

    def drip(connection: object, _: bytes) -> None:
        for byte in answer:
            connection.sendall(bytes([byte]))  # type: ignore[attr-defined]

    engine.script("GET /list", drip)
    assert Client().get("/list") == [1, 2]


def test_a_post_sends_json(engine: FakeEngine) -> None:
    engine.answer("POST /thing", {"Id": "1"}, status=201)
    assert Client().post("/thing", {"a": "ä"}) == {"Id": "1"}
    assert decode(engine.requests[0][1]) == {"a": "ä"}


def test_no_content_is_none(engine: FakeEngine) -> None:
    engine.answer_raw("POST /stop", b"HTTP/1.1 204 No Content\r\n\r\n")
    assert Client().post("/stop") is None


@pytest.mark.parametrize(
    ("status", "kind"), [(404, NotFound), (409, Conflict), (503, Unavailable), (500, Internal)]
)
def test_a_refusal_becomes_an_error_of_its_kind(
    engine: FakeEngine, status: int, kind: type[OrlopError]
) -> None:
    engine.answer("GET /x", {"message": "it is so"}, status=status)
    with pytest.raises(kind, match="it is so"):
        Client().get("/x")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        HEAD + b"Content-Length: 10\r\n\r\n[1]",
        HEAD + b"Content-Length: -1\r\n\r\n[1]",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n",
        HEAD + b"Content-Length: 3\r\n\r\n[1,",
        HEAD + b"X: " + b"y" * 2 * client.HEAD_LIMIT_BYTES,
    ],
    ids=range(10),
)
def test_whatever_comes_the_error_is_for_people(engine: FakeEngine, answer: bytes) -> None:
    engine.answer_raw("GET /x", answer)
    with pytest.raises(OrlopError):
        Client().get("/x")


def test_an_engine_that_is_not_there(tmp_path: object) -> None:
    with pytest.raises(Unavailable, match="cannot reach the engine") as caught:
        Client(f"{tmp_path}/nobody").get("/version")
    assert caught.value.hint


@pytest.mark.parametrize("name", ["a b", "a\r\nX: y", "a\n", "ä"])
def test_a_path_is_one_word_of_the_request(engine: FakeEngine, name: str) -> None:
    with pytest.raises(InvalidArgument):
        Client().get(f"/containers/{name}/json")
    assert not engine.requests


def test_whoever_may_look_cannot_ask_for_more(engine: FakeEngine) -> None:
    name = "a/json HTTP/1.1\r\nHost: x\r\n\r\nPOST /orlop/power?x=y HTTP/1.1\r\nX: "
    engine.answer(f"GET /containers/{client.quote(name)}/json", {"Id": "1"})
    for command in (["inspect", name], ["logs", name], ["service", "why", name], ["stats", name]):
        main([*command])
    assert len(engine.requests) >= 4
    assert {request.split()[0] for request in engine.asked()} == {"GET"}
    assert all(client.quote(name) in request for request in engine.asked())
