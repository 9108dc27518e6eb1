"""What is on the disk about the reboot lock that this machine holds, or may hold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

from orlop.lib import atomic_file, known_fields

if TYPE_CHECKING:
    from pathlib import Path

FILE = "lock.json"
MAX_TEXT = 300


@dataclass(frozen=True, slots=True)
class Held:
    """*purpose* is `update` or `reboot`; *boot* the boot in which it was asked for, *build* what
    ran then, *to* what was to come; *going*: the reboot was decided. *bad* says why it is kept,
    *good* that it is to be given back.
    """

    purpose: str
    boot: str
    build: str
    to: str = ""
    going: bool = False
    bad: str = ""
    good: bool = False

    def as_bad(self, text: str) -> Held:
        """The same, to be kept."""
        return replace(self, bad=text[:MAX_TEXT] or "failed", good=False)

    def as_good(self) -> Held:
        """The same, to be given back."""
        return replace(self, bad="", good=True)


def read(directory: Path) -> Held | None:
    """What is held; None if that is nothing. A damaged file counts as a lock that may be held."""
    try:
        return known_fields.make(Held, json.loads((directory / FILE).read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, AttributeError):
        return Held("reboot", "", "")


def write(directory: Path, held: Held | None) -> None:
    """Durably; None: nothing any more."""
    path = directory / FILE
    if held is not None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        atomic_file.write_text(path, json.dumps(asdict(held)), mode=0o600)
    elif path.exists():
        path.unlink()
        atomic_file.sync_directory(directory)


def note_going(directory: Path) -> None:
    """From here on what becomes of the reboot is the lock's affair."""
    held = read(directory)
    if held is not None:
        write(directory, replace(held, going=True))
