"""Progress messages, byte for byte."""

import pytest

from orlop.wire.registry import progress


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1049000, "1.049MB"),
        (13324, "13.32kB"),
        (2_100_000_000, "2.1GB"),
        (999_999, "1000kB"),
    ],
)
def test_human_size(size: int, text: str) -> None:
    assert progress.human_size(size) == text


def test_bar() -> None:
    assert progress.format_bar(0, 0) == ""
    assert progress.format_bar(50, 0) == "     50B"
    assert progress.format_bar(50, 100) == "[" + "=" * 25 + ">" + " " * 25 + "]      50B/100B"
    assert progress.format_bar(100, 100) == "[" + "=" * 50 + ">]     100B/100B"
    assert progress.format_bar(200, 100) == "[" + "=" * 50 + ">]     200B"


def test_messages() -> None:
    assert progress.encode(progress.status("Pulling from library/busybox", "latest")) == (
        b'{"status":"Pulling from library/busybox","id":"latest"}\r\n'
    )
    assert progress.encode(progress.action("Pull complete", "0123456789ab")) == (
        b'{"status":"Pull complete","progressDetail":{},"id":"0123456789ab"}\r\n'
    )
    encoded = progress.encode(progress.progress("Downloading", "x", 100, 100))
    assert encoded.startswith(
        b'{"status":"Downloading","progressDetail":{"current":100,"total":100},"progress":"[==='
    )
    assert encoded.endswith(b'\\u003e]     100B/100B","id":"x"}\r\n')
    assert progress.encode(progress.error("a & b")) == (
        b'{"errorDetail":{"message":"a \\u0026 b"},"error":"a \\u0026 b"}\r\n'
    )
    assert progress.encode(progress.aux({"Tag": "x"})) == (
        b'{"progressDetail":{},"aux":{"Tag":"x"}}\r\n'
    )
