"""The syslog driver: addresses, formats and tags, and what it does with pieces of lines."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import pytest

from orlop.engine.container.config import ContainerConfig
from orlop.engine.container.record import Record
from orlop.engine.logs.attributes import details
from orlop.engine.logs.syslog import (
    MAX_LINE_BYTES,
    Address,
    SyslogForwarder,
    check_options,
    format_message,
    make_tag,
    parse_address,
    parse_facility,
)
from orlop.engine.tasks import TaskSet
from orlop.lib.errors import InvalidArgument
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from pathlib import Path


def record(**options: str) -> Record:
    config = ContainerConfig(
        name="web",
        image="nginx:1",
        labels=(("tier", "front end"), ("other", "x")),
        environment=(("OS", "linux"),),
        log_driver="syslog",
        log_options=tuple((key.replace("_", "-"), value) for key, value in options.items()),
    )
    return Record(
        id="0123456789abcdef", config=config, image_id="sha256:aa", cgroup_name="web", created_ns=0
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("udp://192.0.2.1", Address("udp", "192.0.2.1", 514)),
        ("tcp://[2001:db8::1]:601", Address("tcp", "2001:db8::1", 601)),
        ("unix:///run/log", Address("unix", "/run/log")),
        ("", Address("unixgram", "/dev/log")),
    ],
)
def test_addresses(text: str, expected: Address) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize("text", ["host:514", "udp://", "tcp+tls://h", "udp://h:x", "unix://h"])
def test_wrong_addresses(text: str) -> None:
    with pytest.raises(InvalidArgument):
        parse_address(text)


def test_facilities() -> None:
    assert [parse_facility(text) for text in ("", "local7", "4", "user")] == [3, 23, 4, 1]
    for text in ("24", "-", "nothing"):
        with pytest.raises(InvalidArgument):
            parse_facility(text)


@pytest.mark.parametrize(
    "options", [{"colour": "x"}, {"syslog-format": "rfc1"}, {"tag": "{{.Nothing}}"}]
)
def test_wrong_options(options: dict[str, str]) -> None:
    with pytest.raises(InvalidArgument):
        check_options(options)


def test_formats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    pid, host = os.getpid(), os.uname().nodename
    plain = format_message("", 3, 6, "t", b"x", now_s=1_700_000_000.25)
    assert plain == f"<30>Nov 14 22:13:20 t[{pid}]: x".encode()
    modern = format_message("rfc5424micro", 19, 3, "t", b"x", now_s=1_700_000_000.25)
    stamp = "2023-11-14T22:13:20.250000Z"
    assert modern == f"<155>1 {stamp} {host} t {pid} t - x".encode()


def test_tags_and_details() -> None:
    assert make_tag("", record()) == "0123456789ab"
    assert make_tag("{{.Name}}/{{ .ImageName }}/{{.FullID}}", record()) == (
        "web/nginx:1/0123456789abcdef"
    )
    assert details(record(labels="tier", env_regex="^O", tag="{{.Name}}")) == (
        b"OS=linux,tag=web,tier=front+end "
    )
    assert details(record()) == b" "


def test_lines_are_put_together_and_cut(tmp_path: Path) -> None:
    path = tmp_path / "log"
    server = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    server.setblocking(False)
    server.bind(os.fspath(path))

    async def scenario() -> list[bytes]:
        tasks = TaskSet()
        forwarder = SyslogForwarder(record(syslog_address=f"unixgram://{path}", tag="t"), tasks)
        forwarder.append(Stream.STDOUT, b"one\ntw")
        forwarder.append(Stream.STDERR, b"err\n")
        forwarder.append(Stream.STDOUT, b"o\n" + b"x" * (MAX_LINE_BYTES + 5))
        forwarder.finish()
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(30):
            found = [await loop.sock_recv(server, 1 << 17) for _ in range(5)]
        await tasks.close()
        return found

    received = asyncio.run(scenario())
    server.close()
    texts = [message.partition(b": ")[2] for message in received]
    assert texts == [b"one", b"err", b"two", b"x" * MAX_LINE_BYTES, b"x" * 5]
    assert received[1].startswith(b"<27>")
