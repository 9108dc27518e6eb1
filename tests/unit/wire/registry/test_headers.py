"""Link, Content-Range and Retry-After."""

import pytest

from orlop.wire.registry.headers import next_page, parse_content_range, parse_retry_after

URL = "https://registry.example/v2/_catalog?n=2"
LINK = '</v2/_catalog?last=b&n=2>; rel="next"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (LINK, "https://registry.example/v2/_catalog?last=b&n=2"),
        ("</v2/x>", "https://registry.example/v2/x"),
        ('</first>; rel="prev", </v2/y>; rel=next', "https://registry.example/v2/y"),
        ("<https://registry.example/v2/z>; rel=next", "https://registry.example/v2/z"),
        ("<https://elsewhere.example/v2/z>; rel=next", None),
        ("<http://registry.example/v2/z>; rel=next", None),
        ('</v2/x>; rel="last"', None),
        ("", None),
        ("<", None),
        ("<" * 20_000, None),
    ],
)
def test_next_page(header: str, expected: str | None) -> None:
    assert next_page(header, URL) == expected


def test_every_prefix_of_a_link() -> None:
    for end in range(len(LINK)):
        page = next_page(LINK[:end], URL)

        assert page is None or page.startswith("https://registry.example/v2/_catalog?last=b")


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 5-9/10", (5, 9, 10)),
        ("bytes 0-0/*", (0, 0, None)),
        ("bytes 9-5/10", None),
        ("bytes 5-10/10", None),
        ("bytes */10", None),
        ("items 0-1/2", None),
        ("", None),
    ],
)
def test_content_range(header: str, expected: object) -> None:
    assert parse_content_range(header) == expected


def test_retry_after() -> None:
    assert parse_retry_after("7", 0) == 7
    assert parse_retry_after(" 120 ", 0) == 120
    assert parse_retry_after("Thu, 01 Jan 1970 00:01:40 GMT", 40.0) == 60
    assert parse_retry_after("Thu, 01 Jan 1970 00:00:00 GMT", 40.0) == 0
    assert parse_retry_after("", 0) is None
    assert parse_retry_after("soon", 0) is None
    assert parse_retry_after("-1", 0) is None
