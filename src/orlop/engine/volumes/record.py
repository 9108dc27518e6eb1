"""What is known about one volume, on file: `volume.json` in its directory."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine import json_codec
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument, OrlopError

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

ANONYMOUS_LABEL = "com.docker.volume.anonymous"
DATA = "_data"
FILE_NAME = "volume.json"
FORMAT = 1
MAX_FILE_BYTES = 1 << 20
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]*")
MAX_NAME = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What is known about one volume, as it is stored."""

    name: str
    created_ns: int
    driver: str = "local"
    options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    filling: bool = False
    """It is to be filled with an image's content, and that has not been done yet, or not wholly."""

    @property
    def is_anonymous(self) -> bool:
        return any(key == ANONYMOUS_LABEL for key, _ in self.labels)


def check_name(name: str) -> str:
    """Refuse what is no name for a volume.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    if len(name) == 1:
        raise InvalidArgument(
            "volume name is too short, names should be at least two alphanumeric characters"
        )
    if not NAME.fullmatch(name) or len(name) > MAX_NAME:
        raise InvalidArgument(
            f'create {name[:200]}: "{name[:200]}" includes invalid characters for a local volume '
            'name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host '
            "directory, use absolute path"
        )
    return name


def write_volume(volume: Volume, directory: Path) -> None:
    """Store *volume* durably. Raises: OSError."""
    data = {"format": FORMAT, "volume": json_codec.encode(volume)}
    atomic_file.write_text(directory / FILE_NAME, json.dumps(data), mode=0o600)


def read_volume(directory: Path) -> Volume:
    """The volume in *directory*; if what is said about it is damaged, one without labels."""
    try:
        with open(directory / FILE_NAME, "rb") as stream:
            data = json.loads(stream.read(MAX_FILE_BYTES))
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            raise InvalidArgument("unknown format")
        volume = json_codec.decode(Volume, data.get("volume"), FILE_NAME)
        if volume.name == directory.name:
            return volume
        raise InvalidArgument(f"it belongs to volume {volume.name}")
    except (OSError, ValueError, OrlopError) as error:
        log.error("volume %s: %s, keeping its content", directory.name, error)
        return Volume(name=directory.name, created_ns=directory.stat().st_mtime_ns)
