"""What is known about one container, on file: `container.json` in its directory.

Written atomically. Where the files are, when they are written and synced:
`engine.container.records`.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.engine.container.config import ContainerConfig
from orlop.engine.container.state import Health, State
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
FILE_NAME = "container.json"
STATE_NAME = "state.json"
MAX_FILE_BYTES = 4 << 20


@dataclass(slots=True, kw_only=True)
class Record:
    """The changing part is changed by the container's owner task only."""

    id: str
    config: ContainerConfig
    image_id: str
    cgroup_name: str
    created_ns: int
    state: State = State.CREATED
    health: Health = Health.NONE
    pid: int = 0
    pid_started_ticks: int = 0
    """Field 22 of /proc/PID/stat, which tells a process from a later one of the same number."""
    exit_code: int = 0
    oom_killed: bool = False
    error: str = ""
    restart_count: int = 0
    started_ns: int = 0
    finished_ns: int = 0
    manually_stopped: bool = False
    """Somebody asked for the end: no policy starts it again."""
    boot_id: str = ""
    """Of which boot *pid* is: the same number in another boot is another process."""


STATE_FIELDS = (
    "state",
    "health",
    "pid",
    "pid_started_ticks",
    "exit_code",
    "oom_killed",
    "error",
    "restart_count",
    "started_ns",
    "finished_ns",
    "manually_stopped",
    "boot_id",
)
"""What `state.json` holds: the fields of `Record` that change with the container's life."""


def write(record: Record, directory: Path) -> None:
    """Store *record*. Not synced.

    Raises:
        OSError: no space, or the directory is gone.
    """
    data = {"format": FORMAT, "container": json_codec.encode(dataclasses.replace(record))}
    text = json.dumps(data, separators=(",", ":"))
    atomic_file.write_bytes(directory / FILE_NAME, text.encode(), mode=0o600, durable=False)


def read(directory: Path) -> Record:
    """The record in *directory*.

    Raises:
        InvalidArgument: it is no record of ours.
        OSError: it cannot be read.
    """
    data = _read_json(directory / FILE_NAME)
    record = json_codec.decode(Record, data.get("container"), str(directory / FILE_NAME))
    if record.id != directory.name:
        raise InvalidArgument(f"{directory / FILE_NAME} belongs to container {record.id[:12]}")
    return record


def write_state(record: Record, directory: Path) -> None:
    """Store the changing part of *record* in a file of its own. Not synced.

    Raises:
        OSError: no space, or the directory is gone.
    """
    state = {name: json_codec.encode(getattr(record, name)) for name in STATE_FIELDS}
    text = json.dumps({"format": FORMAT, "state": state}, separators=(",", ":"))
    atomic_file.write_bytes(directory / STATE_NAME, text.encode(), mode=0o600, durable=False)


def read_state(record: Record, directory: Path) -> None:
    """Bring *record* up to what `write_state` stored last.

    Raises:
        InvalidArgument: it is no state of ours; *record* is as before.
        OSError: it cannot be read; FileNotFoundError: there never was one.
    """
    path = directory / STATE_NAME
    state = _read_json(path).get("state")
    if not isinstance(state, dict):
        raise InvalidArgument(f"{path} has no state")
    unchanging = {
        name: value
        for name, value in typing.cast("dict[str, object]", json_codec.encode(record)).items()
        if name not in STATE_FIELDS
    }
    newer = json_codec.decode(Record, unchanging | state, str(path))
    for name in STATE_FIELDS:
        setattr(record, name, getattr(newer, name))


def _read_json(path: Path) -> dict[str, object]:
    with open(path, "rb") as stream:
        text = stream.read(MAX_FILE_BYTES)
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"{path} is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidArgument(f"{path} has an unknown format")
    return data
