"""What is no JSON is refused in the words that Go's decoder has for it."""

from __future__ import annotations

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.docker.body import check_type, parse_json


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{invalid json", "invalid character 'i' looking for beginning of object key string"),
        ("{", "unexpected EOF"),
        ('{"a', "unexpected EOF"),
        ('{"a" 1}', "invalid character '1' after object key"),
        ('{"a":}', "invalid character '}' looking for beginning of value"),
        ('{"a":1 "b":2}', "invalid character '\"' after object key:value pair"),
        ('{"a":[1 2]}', "invalid character '2' after array element"),
        ('{"]a\\"[":{"b":[]} x', "invalid character 'x' after object key:value pair"),
        ('{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        ('{"a":[1,]}', "invalid character ']' looking for beginning of value"),
        ('{"a":NaN}', "invalid character 'N' looking for beginning of value"),
        ('{"a":"\n"}', "invalid character '\\n' in string literal"),
        ('{"a":"\\q"}', "invalid character 'q' in string escape code"),
        ("'", "invalid character '\\'' looking for beginning of value"),
        ("[" * 100_000, "exceeded max depth"),
        ("[]", "an object expected"),
    ],
)
def test_what_is_no_object_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_json(text.encode())
    assert str(caught.value) == f"invalid JSON: {message}"


def test_a_number_that_python_does_not_convert() -> None:
    with pytest.raises(InvalidArgument, match="too many digits"):
        parse_json(b'{"a":' + b"1" * 5000 + b"}")


def test_an_object_may_stand_between_spaces_and_be_null() -> None:
    assert parse_json(b' \r\n{"a": [1]}\t') == {"a": [1]}
    assert parse_json(b"null") == {}
    assert parse_json(b'{"a": "\xff"}') == {"a": "\ufffd"}


def test_nothing_may_follow() -> None:
    with pytest.raises(InvalidArgument, match=r"^unexpected content after JSON$"):
        parse_json(b"{} trailing content")


@pytest.mark.parametrize("text", ["application/json", "Application/JSON; charset=utf-8"])
def test_json_is_taken(text: str) -> None:
    check_type(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "text/plain",
            r"unsupported Content-Type header \(text/plain\): must be 'application/json'",
        ),
        ("", r"malformed Content-Type header \(\): mime: no media type"),
    ],
)
def test_another_type_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        check_type(text)
