"""Messages: levels, long ones, floods, and a console that must see what the kernel hides."""

import logging
import os
from pathlib import Path

import pytest

from orlop.system.messages import (
    MAX_RECORD_BYTES,
    MessageHandler,
    RateLimit,
    format_records,
    kernel_level,
    read_console_level,
)


def test_levels() -> None:
    assert [kernel_level(level) for level in (50, 40, 30, 20, 10)] == [3, 3, 4, 6, 7]


def test_records() -> None:
    assert format_records(logging.WARNING, "a\nb") == [b"<28>orlop: a", b"<28>orlop: b"]
    assert format_records(logging.INFO, "") == [b"<30>orlop: "]
    long = format_records(logging.INFO, "x" * (2 * MAX_RECORD_BYTES + 1))
    assert [len(record) - len(b"<30>orlop: ") for record in long] == [
        MAX_RECORD_BYTES,
        MAX_RECORD_BYTES,
        1,
    ]


def test_rate_limit_counts_what_it_holds_back() -> None:
    now = [0.0]
    limit = RateLimit(2, 10.0, lambda: now[0])
    assert [limit.allows() for _ in range(4)] == [True, True, False, False]
    now[0] = 10.0
    assert limit.allows()
    assert limit.take_suppressed() == 2
    assert limit.take_suppressed() == 0


@pytest.mark.parametrize(("console_level", "shown"), [(4, True), (7, False)])
def test_console_gets_warnings_that_the_kernel_would_hide(
    tmp_path: Path, console_level: int, shown: bool
) -> None:
    kmsg, console = tmp_path / "kmsg", tmp_path / "console"
    kmsg.touch()
    console.touch()
    handler = MessageHandler(os.fspath(kmsg), os.fspath(console))
    handler.console_level = console_level
    handler.handle(logging.makeLogRecord({"levelno": logging.WARNING, "msg": "disk is gone"}))
    handler.handle(logging.makeLogRecord({"levelno": logging.INFO, "msg": "quiet"}))
    assert kmsg.read_bytes() == b"<28>orlop: disk is gone<30>orlop: quiet"
    assert console.read_bytes() == (b"orlop: disk is gone\r\n" if shown else b"")


def test_nothing_raises_without_devices(tmp_path: Path) -> None:
    handler = MessageHandler(os.fspath(tmp_path / "no"), os.fspath(tmp_path / "none"))
    handler.handle(logging.makeLogRecord({"levelno": logging.ERROR, "msg": "%d", "args": ("x",)}))
    handler.handle(logging.makeLogRecord({"levelno": logging.ERROR, "msg": "fine"}))


def test_console_level(tmp_path: Path) -> None:
    (tmp_path / "printk").write_text("4\t4\t1\t7\n")
    assert read_console_level(str(tmp_path / "printk")) == 4
    assert read_console_level(str(tmp_path / "missing")) == 7
