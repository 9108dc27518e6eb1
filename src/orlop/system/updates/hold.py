"""`orlop os hold`: no update is applied until somebody says otherwise, or a time has come."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, known_fields

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Hold:
    """*until_s*: seconds since 1970, 0 for ever."""

    reason: str
    at_s: float
    until_s: float = 0.0

    def holds(self, now_s: float) -> bool:
        """Whether it still does. A clock that was set back does not end it."""
        return not self.until_s or now_s < self.until_s


def read(directory: Path) -> Hold | None:
    """What was said last; None for nothing. What cannot be read may be one, and is."""
    try:
        return known_fields.make(Hold, json.loads((directory / "hold.json").read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError):
        return Hold("hold.json cannot be read", 0.0)


def write(directory: Path, hold: Hold | None) -> None:
    """Durably; None ends it."""
    path = directory / "hold.json"
    if hold is not None:
        atomic_file.write_text(path, json.dumps(asdict(hold)), mode=0o600)
        return
    path.unlink(missing_ok=True)
    atomic_file.sync_directory(directory)
