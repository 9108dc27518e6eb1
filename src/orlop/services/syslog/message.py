"""Log messages: from what programs send to one line of RFC 5424.

Input may be any bytes of any length: it is cut at MAX_INPUT_BYTES, what is not text is escaped, and
whatever does not parse as RFC 5424 or RFC 3164 is a message as it stands. Output is always one line
of valid RFC 5424. Local senders' clocks are not asked: the time is that of arrival, except for the
kernel, whose records carry theirs, and for RFC 5424 input, which states its own.

Sources: RFC 5424 section 6; RFC 3164 section 4; Linux 6.12 Documentation/ABI/testing/dev-kmsg.
"""

import re
import time
from typing import NamedTuple

MAX_INPUT_BYTES = 8192
"""RFC 5424 asks for 2048; this is what rsyslog takes."""

NIL = "-"
USER_NOTICE = 1 * 8 + 5
"""What RFC 3164 says for a message without a priority."""

OWN_STRUCTURE = "orlop@32473"
"""The structured data that says where a message came from; 32473 is the number for examples (RFC
5612)."""

_PRIORITY = re.compile(r"<(\d{1,3})>")
_RFC3164_TIME = re.compile(
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d "
)
_TAG = re.compile(r"([A-Za-z0-9_./@+-]{1,48})(?:\[([!-Z^-~]{1,128})\])?: ?")
_HEADER = re.compile(
    r"1 (?P<time>-|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d))"
    r" (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<process>[!-~]{1,128}) (?P<id>[!-~]{1,32}) "
)
_NAME = r"[!#-<>-\\^-~]{1,32}"
_ELEMENT = re.compile(rf'\[(?P<id>{_NAME})(?: {_NAME}="(?:[^"\\\]]|\\["\\\]]|\\(?!["\\\]]))*")*\]')
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_KMSG_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")


class Message(NamedTuple):
    """One message. *time* is RFC 3339; *structure* is valid structured data or `-`; *text* is
    one line."""

    priority: int
    time: str
    host: str
    app: str
    process: str
    message_id: str
    structure: str
    text: str


class KernelRecord(NamedTuple):
    """A record of /dev/kmsg. *since_boot_us* is CLOCK_MONOTONIC."""

    sequence: int
    priority: int
    since_boot_us: int
    text: str


def parse_message(data: bytes, *, now_ns: int, host: str) -> Message:
    """Understand one datagram from /dev/log. Never fails."""
    text = data[:MAX_INPUT_BYTES].decode(errors="backslashreplace").rstrip("\0\n\r ")
    priority = USER_NOTICE
    match = _PRIORITY.match(text)
    if match is not None and int(match[1]) <= 191:
        priority = int(match[1])
        text = text[match.end() :]
    structured = _parse_rfc5424(priority, text, now_ns, host)
    if structured is not None:
        return structured
    stamp = _RFC3164_TIME.match(text)
    if stamp is not None:
        text = text[stamp.end() :]
    return from_tagged(priority, text, format_time(now_ns), host)


def from_tagged(priority: int, text: str, when: str, host: str) -> Message:
    """A message whose text may begin with `program[process]: `."""
    tag = _TAG.match(text)
    app, process = (tag[1], tag[2] or NIL) if tag is not None else (NIL, NIL)
    body = text[tag.end() :] if tag is not None else text
    return Message(priority, when, host, app, process, NIL, NIL, one_line(body))


def _parse_rfc5424(priority: int, text: str, now_ns: int, host: str) -> Message | None:
    header = _HEADER.match(text)
    if header is None:
        return None
    position = header.end()
    structure = NIL
    if text.startswith(NIL, position):
        position += 1
    else:
        start = position
        while (element := _ELEMENT.match(text, position)) is not None:
            position = element.end()
        structure = text[start:position]
        if not structure:
            return None
    if position < len(text) and text[position] != " ":
        return None
    return Message(
        priority=priority,
        time=format_time(now_ns) if header["time"] == NIL else header["time"],
        host=host,
        app=header["app"],
        process=header["process"],
        message_id=header["id"],
        structure=one_line(structure),
        text=one_line(text[position + 1 :].removeprefix("\ufeff")),
    )


def one_line(text: str) -> str:
    """*text* without control characters: each becomes `#` and its number in octal, as rsyslog
    writes."""
    return _CONTROL.sub(lambda match: f"#{ord(match[0]):03o}", text)


def format_time(time_ns: int) -> str:
    """RFC 3339 in UTC with microseconds."""
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{rest_ns // 1000:06d}Z"


def with_origin(message: Message, container: str) -> Message:
    """*message* with the container it came from in its structured data, and without forged ones.

    A *container* that is not known (`-`) is not named.
    """
    structure = "" if message.structure == NIL else message.structure
    kept = "".join(
        element[0] for element in _ELEMENT.finditer(structure) if element["id"] != OWN_STRUCTURE
    )
    if container == NIL:
        return message._replace(structure=kept or NIL)
    value = one_line(container).replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")
    return message._replace(structure=f'[{OWN_STRUCTURE} container="{value}"]{kept}')


def format_message(message: Message) -> bytes:
    """The message as RFC 5424, without a line end."""
    fields = (message.time, message.host or NIL, message.app, message.process, message.message_id)
    line = f"<{message.priority}>1 {' '.join(fields)} {message.structure}"
    if message.text:
        line += f" {message.text}"
    return line.encode(errors="backslashreplace")


def parse_kernel_record(data: bytes) -> KernelRecord | None:
    """Take one record of /dev/kmsg apart; its continuation lines (device properties) are
    dropped."""
    head, separator, rest = data.decode(errors="backslashreplace").partition(";")
    fields = head.split(",")
    if not separator or len(fields) < 3 or not all(field.isdecimal() for field in fields[:3]):
        return None
    text = rest.split("\n", 1)[0]
    text = _KMSG_ESCAPE.sub(lambda match: one_line(chr(int(match[1], 16))), text)
    return KernelRecord(int(fields[1]), int(fields[0]) & 0xFF, int(fields[2]), one_line(text))


def from_kernel(record: KernelRecord, when: str, host: str) -> Message:
    """The kernel's own records are the program `kernel`; those written to /dev/kmsg name theirs."""
    if record.priority >> 3 == 0:
        return Message(record.priority, when, host, "kernel", NIL, NIL, NIL, record.text)
    return from_tagged(record.priority, record.text, when, host)
