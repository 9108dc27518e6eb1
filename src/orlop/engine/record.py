"""What is known about one container, on file: `container.json` in its directory.

Written atomically at each change of state. In `run_dir`, which is a tmpfs on a machine of ours: a
boot begins without containers, and the system creates its own anew.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.engine.config import ContainerConfig
from orlop.engine.state import Health, State
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = 1
FILE_NAME = "container.json"
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


def write(record: Record, directory: Path) -> None:
    """Store *record*. Not synced: the directory is not expected to outlive the kernel.

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
    with open(directory / FILE_NAME, "rb") as stream:
        text = stream.read(MAX_FILE_BYTES)
    try:
        data = json.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"{directory / FILE_NAME} is not JSON: {error}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise InvalidArgument(f"{directory / FILE_NAME} has an unknown format")
    record = json_codec.decode(Record, data.get("container"), str(directory / FILE_NAME))
    if record.id != directory.name:
        raise InvalidArgument(f"{directory / FILE_NAME} belongs to container {record.id[:12]}")
    return record
