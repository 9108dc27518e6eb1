"""The boot channel: whole, byte by byte, and from a guest that lies."""

import pytest

from orlop.vm.boot_log import (
    LINE_LIMIT_BYTES,
    BootEvent,
    BootLogReader,
    current_state,
    ends_boot,
    last_boot,
    parse_event,
    render_stages,
)

BOOT = b"""\
{"event": "stage", "name": "kernel", "uptime_s": 1.4}
{"event": "stage", "name": "python", "uptime_s": 1.75}
{"event": "service", "name": "time", "state": "running", "uptime_s": 2.0}
{"event": "ready", "uptime_s": 2.5, "addresses": ["10.0.2.15"], "services": {"time": "running"}}
"""


def read(data: bytes, step: int) -> list[BootEvent]:
    reader = BootLogReader()
    events: list[BootEvent] = []
    for start in range(0, len(data), step):
        events += reader.feed(data[start : start + step])
    return events


@pytest.mark.parametrize("step", [1, 7, len(BOOT)])
def test_however_it_arrives(step: int) -> None:
    events = read(BOOT, step)
    assert [event.event for event in events] == ["stage", "stage", "service", "ready"]
    assert events[2] == BootEvent("service", "time", "running", 2.0)
    assert events[3].addresses == ["10.0.2.15"]
    assert events[3].services == {"time": "running"}


@pytest.mark.parametrize(
    "line",
    [b"", b"junk", b"[]", b"1", b'{"event": 3}', b"{}", b"\xff\xfe", b'{"event": "x"', b"[" * 5000],
)
def test_what_is_no_event(line: bytes) -> None:
    assert parse_event(line) is None


def test_odd_fields_do_no_harm() -> None:
    line = b'{"event": "ready", "uptime_s": "soon", "addresses": 3, "services": ["a"]}'
    event = parse_event(line)
    assert event is not None
    assert (event.uptime_s, event.addresses, event.services) == (0.0, [], {})


def test_rubbish_between_is_dropped_and_counted() -> None:
    reader = BootLogReader()
    assert len(reader.feed(b"junk\n\n" + BOOT + b"more\n")) == 4
    assert reader.dropped_lines == 2


def test_a_line_without_an_end_is_bounded() -> None:
    reader = BootLogReader()
    for _ in range(100):
        assert reader.feed(b"x" * LINE_LIMIT_BYTES) == []
    assert len(reader._buffer) <= LINE_LIMIT_BYTES
    assert reader.feed(b"\n") == []
    assert len(reader.feed(BOOT)) == 4


def test_only_the_last_boot_counts() -> None:
    events = read(BOOT + b'{"event": "down", "uptime_s": 9}\n' + BOOT, 50)
    assert len(last_boot(events)) == 4
    assert current_state(events) == "ready"
    assert current_state(events[:5]) == "down"
    assert current_state(events[:6]) == "starting"
    assert current_state([]) == "starting"


def test_whether_a_boot_is_over() -> None:
    before = read(BOOT, 100)
    down = read(b'{"event": "down", "uptime_s": 9}\n', 50)
    assert not ends_boot(before, [])
    assert not ends_boot(before, before[2:]), "a service started again"
    assert ends_boot(before, down)
    assert ends_boot(before, before), "a panic says no `down`"
    assert ends_boot(before, down + before[:1])
    assert not ends_boot([], before), "it was waited for"
    assert not ends_boot(before + down, before)


def test_table() -> None:
    assert render_stages(read(BOOT, 100)) == [
        "  kernel            1.40 s     1.40 s",
        "  python            0.35 s     1.75 s",
        "    time       running         2.00 s",
        "  ready             0.75 s     2.50 s",
    ]
