"""The boot channel: what a machine says about its own start, one JSON object per line.

    {"event": "stage", "name": "engine", "uptime_s": 2.31}
    {"event": "service", "name": "time", "state": "running", "uptime_s": 3.02}
    {"event": "ready", "uptime_s": 4.1, "addresses": ["10.0.2.15"], "services": {"time": "running"}}
    {"event": "down", "uptime_s": 90.2}

`uptime_s` counts from the kernel's start. The reader does no I/O and believes nothing: what is
not such a line is counted and dropped, and a line has a limit.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

LINE_LIMIT_BYTES = 64 << 10
"""A `ready` event with a hundred services is 4 KiB."""


@dataclass(frozen=True, slots=True)
class BootEvent:
    """One line of the boot channel; *fields* holds what has no name here."""

    event: str
    name: str = ""
    state: str = ""
    uptime_s: float = 0.0
    fields: Mapping[str, object] = field(default_factory=dict)

    @property
    def addresses(self) -> list[str]:
        """The machine's addresses, of a `ready` event."""
        value = self.fields.get("addresses")
        return [str(entry) for entry in value] if isinstance(value, list) else []

    @property
    def services(self) -> dict[str, str]:
        """The services and their states, of a `ready` event."""
        value = self.fields.get("services")
        return {str(k): str(v) for k, v in value.items()} if isinstance(value, dict) else {}


def parse_event(line: bytes) -> BootEvent | None:
    """Parse one line without its end; None for anything that is not an event."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("event"), str):
        return None
    uptime_s = value.get("uptime_s", 0.0)
    known = {"event", "name", "state", "uptime_s"}
    return BootEvent(
        event=value["event"],
        name=str(value.get("name", "")),
        state=str(value.get("state", "")),
        uptime_s=float(uptime_s) if isinstance(uptime_s, int | float) else 0.0,
        fields={key: entry for key, entry in value.items() if key not in known},
    )


class BootLogReader:
    """Turns the channel's bytes into events; *dropped_lines* counts what was none."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._skipping = False
        self.dropped_lines = 0

    def feed(self, data: bytes) -> list[BootEvent]:
        """Take the next bytes and return the events that are complete now."""
        self._buffer += data
        events: list[BootEvent] = []
        while (end := self._buffer.find(b"\n")) >= 0:
            line = bytes(self._buffer[:end])
            del self._buffer[: end + 1]
            event = None if self._skipping or end > LINE_LIMIT_BYTES else parse_event(line)
            self._skipping = False
            if event is not None:
                events.append(event)
            elif line.strip():
                self.dropped_lines += 1
        if len(self._buffer) > LINE_LIMIT_BYTES:
            self._buffer.clear()
            self._skipping = True
        return events


def last_boot(events: Sequence[BootEvent]) -> list[BootEvent]:
    """The events of the latest boot: from the last `kernel` stage on."""
    for index in range(len(events) - 1, -1, -1):
        if events[index].event == "stage" and events[index].name == "kernel":
            return list(events[index:])
    return list(events)


def ends_boot(before: Sequence[BootEvent], after: Sequence[BootEvent]) -> bool:
    """Whether the boot that had said *before* is over by what was said *after* it.

    A boot that had said nothing yet may begin now.
    """
    began = any(event.event == "stage" and event.name == "kernel" for event in after)
    return current_state(after) == "down" or (began and current_state(before) == "ready")


def render_stages(events: Sequence[BootEvent]) -> list[str]:
    """Lines of a table: each stage, how long it took, and the time since the kernel started.

    Services are listed under the stage they became ready in, in order.
    """
    lines: list[str] = []
    previous_s = 0.0
    for event in events:
        if event.event == "stage" or event.event == "ready":
            name = event.name or event.event
            took_s = max(event.uptime_s - previous_s, 0.0)
            if event.event == "ready" and lines and took_s == 0.0:
                continue
            lines.append(f"  {name:<14} {took_s:7.2f} s {event.uptime_s:8.2f} s")
            previous_s = event.uptime_s
        elif event.event == "service" and event.state:
            lines.append(f"    {event.name:<10} {event.state:<10} {event.uptime_s:9.2f} s")
    return lines


def current_state(events: Sequence[BootEvent]) -> str:
    """`starting`, `ready` or `down`, by the latest boot's events."""
    latest = [event.event for event in last_boot(events)]
    if "down" in latest:
        return "down"
    return "ready" if "ready" in latest else "starting"
