"""Messages in every form that programs send, and what comes out as RFC 5424."""

import random
import re

import pytest

from orlop.services.syslog.message import (
    MAX_INPUT_BYTES,
    Message,
    format_message,
    format_time,
    from_kernel,
    one_line,
    parse_kernel_record,
    parse_message,
    with_origin,
)

NOW_NS = 1_700_000_000_123_456_789
NOW = "2023-11-14T22:13:20.123456Z"

# RFC 5424 section 6, strictly enough to notice what a collector would refuse.
RFC5424 = re.compile(
    rb"<(\d{1,3})>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)"
    rb" [!-~]{1,255} [!-~]{1,48} [!-~]{1,128} [!-~]{1,32}"
    rb' (-|(\[[!-~]{1,32}( [!-~]{1,32}="([^"\\\]]|\\.)*")*\])+)( [^\n]*)?',
    re.DOTALL,
)


def parse(data: bytes) -> Message:
    return parse_message(data, now_ns=NOW_NS, host="here")


def output(data: bytes) -> bytes:
    return format_message(parse(data))


def test_time() -> None:
    assert format_time(NOW_NS) == NOW
    assert format_time(0) == "1970-01-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("data", "line"),
    [
        # What glibc's syslog() sends, and what busybox' logger does.
        (b"<13>Nov 14 22:13:20 web[42]: hello", f"<13>1 {NOW} here web 42 - - hello"),
        (b"<13>Nov  4 02:03:04 root: hello", f"<13>1 {NOW} here root - - - hello"),
        (b"<86>dropbear[7]: Exit (root)", f"<86>1 {NOW} here dropbear 7 - - Exit (root)"),
        (b"<13>Nov 14 22:13:20 no tag here", f"<13>1 {NOW} here - - - - no tag here"),
        (b"plain", f"<13>1 {NOW} here - - - - plain"),
        (b"<13>x: trailing\n\0", f"<13>1 {NOW} here x - - - trailing"),
        (b"", f"<13>1 {NOW} here - - - -"),
        (b"<0>k: y", f"<0>1 {NOW} here k - - - y"),
        # Not priorities, so part of the text.
        (b"<192>x", f"<13>1 {NOW} here - - - - <192>x"),
        (b"<>x", f"<13>1 {NOW} here - - - - <>x"),
        (b"<1234>x", f"<13>1 {NOW} here - - - - <1234>x"),
        # One line stays one line, whatever it holds.
        (b"<13>a: b\nc\x1b[31m\x00d", f"<13>1 {NOW} here a - - - b#012c#033[31m#000d"),
        (b"<13>a: \xff\xfe", f"<13>1 {NOW} here a - - - \\xff\\xfe"),
        ("<13>a: grün".encode(), f"<13>1 {NOW} here a - - - grün"),
    ],
)
def test_forms_of_old(data: bytes, line: str) -> None:
    assert output(data) == line.encode()
    assert RFC5424.fullmatch(output(data))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        # Examples of RFC 5424 section 6.5; the host name is ours, the sender cannot choose it.
        (
            b"<34>1 2003-10-11T22:14:15Z h su - ID47 - \xef\xbb\xbf'su root' failed",
            "<34>1 2003-10-11T22:14:15Z here su - ID47 - 'su root' failed",
        ),
        (
            b"<165>1 2003-08-24T05:14:15.000003-07:00 h myproc 8710 - - %% It's time",
            "<165>1 2003-08-24T05:14:15.000003-07:00 here myproc 8710 - - %% It's time",
        ),
        (
            b'<165>1 2003-10-11T22:14:15Z h e - ID47 [example@32473 iut="3" id="1011"] An event',
            '<165>1 2003-10-11T22:14:15Z here e - ID47 [example@32473 iut="3" id="1011"] An event',
        ),
        (
            b'<165>1 2003-10-11T22:14:15.003Z h evntslog - ID47 [a@1 x="1"][b@1 class="high"]',
            '<165>1 2003-10-11T22:14:15.003Z here evntslog - ID47 [a@1 x="1"][b@1 class="high"]',
        ),
        (b"<13>1 - - app - - - text", f"<13>1 {NOW} here app - - - text"),
        (
            b'<13>1 - - app - - [x@1 y="a\\"b\\]c"] t',
            f'<13>1 {NOW} here app - - [x@1 y="a\\"b\\]c"] t',
        ),
        # Nearly: taken as text, nothing lost.
        (b"<13>1 yesterday h a - - - x", f"<13>1 {NOW} here - - - - 1 yesterday h a - - - x"),
        (b"<13>1 - - app - - [x", f"<13>1 {NOW} here - - - - 1 - - app - - [x"),
    ],
)
def test_rfc5424(data: bytes, line: str) -> None:
    assert output(data) == line.encode()
    assert RFC5424.fullmatch(output(data))


def test_long_messages_are_cut() -> None:
    message = parse(b"<13>a: " + b"x" * 100_000)
    assert len(message.text) == MAX_INPUT_BYTES - 7


def test_origin_is_ours_to_say() -> None:
    forged = parse(b'<13>1 - - a - - [orlop@32473 container="time"][x@1 y="z"] text')
    line = format_message(with_origin(forged, "web"))
    assert line == f'<13>1 {NOW} here a - - [orlop@32473 container="web"][x@1 y="z"] text'.encode()
    unknown = format_message(with_origin(forged, "-"))
    assert unknown == f'<13>1 {NOW} here a - - [x@1 y="z"] text'.encode()
    odd = format_message(with_origin(parse(b"<13>a: b"), 'we"]\n\\b'))
    assert RFC5424.fullmatch(odd)
    assert b"\n" not in odd


def test_any_bytes_become_one_valid_line() -> None:
    random.seed(1)
    pieces = [
        b"<13>",
        b"1 - - a - - ",
        b"[a@1 b=",
        b'"',
        b"]",
        b"\\",
        b"\xff",
        b"\n",
        b"\0",
        b"x: ",
        b"-",
        b" ",
    ]
    for _ in range(400):
        data = b"".join(random.choices(pieces, k=random.randrange(12)))
        for line in (output(data), format_message(with_origin(parse(data), "c"))):
            assert RFC5424.fullmatch(line), data


def test_structured_data_that_backtracks_is_quick() -> None:
    data = b"<13>1 - - a - - [a@1" + b' b="\\\\\\\\' * 900
    assert parse(data).structure == "-"


def test_kernel_records() -> None:
    data = b"6,339,5140900,-;NET: Registered PF_\\x0aUNIX protocol family\n SUBSYSTEM=net\n"
    record = parse_kernel_record(data)
    assert record is not None
    assert (record.sequence, record.since_boot_us) == (339, 5140900)
    message = from_kernel(record, NOW, "here")
    line = f"<6>1 {NOW} here kernel - - - NET: Registered PF_#012UNIX protocol family"
    assert format_message(message) == line.encode()


def test_what_user_space_wrote_to_the_kernel_log_names_its_program() -> None:
    record = parse_kernel_record(b"30,7,99,-;orlop[1]: engine answers\n")
    assert record is not None
    assert (
        format_message(from_kernel(record, NOW, "h"))
        == f"<30>1 {NOW} h orlop 1 - - engine answers".encode()
    )


@pytest.mark.parametrize(
    "data", [b"", b";", b"6,1;x", b"a,b,c;x", b"6,339,5140900,-", b"\xff,1,1;x"]
)
def test_no_kernel_record(data: bytes) -> None:
    assert parse_kernel_record(data) is None


def test_one_line_escapes_separators_of_unicode() -> None:
    assert one_line("a\u2028b\x85c") == "a#20050b#205c"
