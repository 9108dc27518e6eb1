"""User data of every form, whole, cut off at each byte, and hostile."""

import base64
import gzip
import zlib
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.cloud.answer import MAX_USER_DATA_BYTES
from orlop.wire.cloud.user_data import MAX_PARTS, Frequency, Kind, Part, include_urls, split

CONFIG = b"#cloud-config\nhostname: ship\n"
SCRIPT = b"#!/bin/sh\ntrue\n"
URL = "http://192.0.2.1/more.yml"


def message(*parts: MIMEText | MIMEMultipart | MIMEApplication) -> bytes:
    outer = MIMEMultipart()
    for part in parts:
        outer.attach(part)
    return outer.as_bytes()


def test_one_text() -> None:
    assert split(CONFIG) == ([Part(Kind.CONFIG, "user-data", CONFIG)], [])
    assert split(SCRIPT)[0] == [Part(Kind.SCRIPT, "user-data", SCRIPT)]
    assert split(b"\xef\xbb\xbf#!/bin/sh\n")[0][0].kind is Kind.SCRIPT
    assert split(b"hostname: ship\n")[0][0].kind is Kind.CONFIG
    assert split(b"") == split(b" \n\n") == ([], [])


def test_compressed() -> None:
    assert split(gzip.compress(CONFIG))[0] == [Part(Kind.CONFIG, "user-data", CONFIG)]


def test_compressed_and_cut_off_anywhere() -> None:
    data = gzip.compress(CONFIG)
    for end in range(2, len(data)):
        parts, problems = split(data[:end])
        assert parts == []
        assert "damaged gzip data" in problems[0]


def test_bomb_and_what_is_too_long() -> None:
    assert "when unpacked" in split(gzip.compress(bytes(64 << 20)))[1][0]
    assert "longer than" in split(b"#" * (MAX_USER_DATA_BYTES + 1))[1][0]
    assert "twice" in split(gzip.compress(gzip.compress(CONFIG)))[1][0]
    assert split(gzip.compress(b"#" * MAX_USER_DATA_BYTES))[1] == []


def test_parts_in_mime() -> None:
    named = MIMEText("#cloud-config\nhostname: a\n", "cloud-config")
    named.add_header("Content-Disposition", "attachment", filename="10-name.yml")
    boot = MIMEText("#!/bin/sh\n", "x-shellscript-per-boot")
    inner = MIMEMultipart()
    inner.attach(MIMEText("#!/bin/sh\n", "plain"))
    compressed = MIMEApplication(gzip.compress(CONFIG), "gzip")
    parts, problems = split(message(named, boot, inner, compressed))
    assert problems == []
    assert [(part.kind, part.name) for part in parts] == [
        (Kind.CONFIG, "user-data part 1 (10-name.yml)"),
        (Kind.SCRIPT, "user-data part 2"),
        (Kind.SCRIPT, "user-data part 3"),
        (Kind.CONFIG, "user-data part 4"),
    ]
    assert parts[0].content == b"#cloud-config\nhostname: a\n"
    assert [part.frequency for part in parts[1:3]] == [Frequency.BOOT, Frequency.INSTANCE]
    assert parts[3].content == CONFIG


def test_mime_is_told_by_its_head_in_any_case() -> None:
    text = b"content-type: text/x-shellscript\n\n#!/bin/sh\n"
    assert split(text)[0][0] == Part(Kind.SCRIPT, "user-data part 1", b"#!/bin/sh\n")


def test_a_bad_part_leaves_the_others() -> None:
    bad = [
        MIMEText("## template: jinja\n", "plain"),
        MIMEText("x", "html"),
        MIMEText("#cloud-boothook\n", "plain"),
    ]
    parts, problems = split(message(*bad, MIMEText("hostname: a\n", "cloud-config")))
    assert [part.content for part in parts] == [b"hostname: a\n"]
    assert [problem.split(": ", 1)[1] for problem in problems] == [
        "templates are not supported, write the values",
        "the type text/html is not supported",
        "boot hooks are not supported, use bootcmd",
    ]


@pytest.mark.parametrize(
    ("first", "word"),
    [
        ("#cloud-config-archive", "MIME"),
        ("## template: jinja", "templates"),
        ("#part-handler", "part handlers"),
        ("#upstart-job", "upstart"),
    ],
)
def test_what_is_not_supported_says_so(first: str, word: str) -> None:
    parts, problems = split(f"{first}\nx: y\n".encode())
    assert parts == []
    assert problems[0].startswith("user-data:1: ")
    assert word in problems[0]


def test_too_many_and_too_deep() -> None:
    many = [MIMEText("hostname: a\n", "cloud-config") for _ in range(70)]
    parts, problems = split(message(*many))
    assert len(parts) == 64
    assert "more than 64 parts" in problems[0]
    nested: MIMEMultipart | MIMEText = MIMEText("hostname: a\n", "cloud-config")
    for _ in range(5):
        outer = MIMEMultipart()
        outer.attach(nested)
        nested = outer
    assert "nested deeper" in split(nested.as_bytes())[1][0]


def test_includes() -> None:
    text = f"#include\n# a comment\n{URL}\n".encode()
    assert split(text)[0] == [Part(Kind.INCLUDE, "user-data", URL.encode())]
    assert split(text, {URL: CONFIG})[0] == [Part(Kind.CONFIG, URL, CONFIG)]
    assert split(text, {URL: gzip.compress(SCRIPT)})[0] == [Part(Kind.SCRIPT, URL, SCRIPT)]
    assert split(f"#include {URL}\n".encode())[0][0].content == URL.encode()


def test_includes_are_bounded() -> None:
    text = f"#include\n{URL}\n".encode()
    assert "inside of what was included" in split(text, {URL: text})[1][0]
    with pytest.raises(InvalidArgument, match="more than 16"):
        include_urls("x", b"#include\n" + b"".join(b"http://a/%d\n" % n for n in range(17)))
    for wrong in ("file:///etc/shadow", "/etc/shadow", "http://a b", "ftp://a/b"):
        with pytest.raises(InvalidArgument, match=r"x:2: not an http"):
            include_urls("x", f"#include\n{wrong}\n".encode())


@pytest.mark.parametrize(
    "data",
    [
        message(MIMEText("hostname: a\n", "cloud-config"), MIMEText("#!/bin/sh\n", "plain")),
        gzip.compress(message(MIMEText("x: y\n", "cloud-config"))),
    ],
    ids=["mime", "compressed"],
)
def test_any_damage_is_a_problem_or_other_data_but_never_an_exception(data: bytes) -> None:
    for index in range(len(data)):
        split(data[:index])
        split(data[:index] + bytes([data[index] ^ 0x55]) + data[index + 1 :])


def test_bytes_of_any_value() -> None:
    for value in range(256):
        split(bytes([value]) * 8)
    assert split(zlib.compress(CONFIG))[0][0].kind is Kind.CONFIG  # and then it is no UTF-8
    assert split(base64.b64encode(CONFIG))[0][0].kind is Kind.CONFIG


def test_mime_that_python_cannot_take() -> None:
    heads = (
        b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(3000)
    )
    parts, problems = split(b"MIME-Version: 1.0\n" + b"".join(heads))
    assert (parts, problems) == ([], ["user-data: cannot be read: RecursionError"])


def test_includes_count_as_parts() -> None:
    lists = [
        MIMEText("\n".join(f"http://a/{n}/{m}" for m in range(16)), "x-include-url")
        for n in range(9)
    ]
    parts, problems = split(message(*lists))
    assert len(parts) == MAX_PARTS
    assert "more than 64 parts" in problems[0]
