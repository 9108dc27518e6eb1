"""What a row of the configuration's table is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.wire.config.kinds import Kind

type Path = tuple[str, ...]

NAME = "NAME"
"""A segment of a key's path where any name may stand that `NAMES` allows there."""


EACH = "[]"
"""A segment that stands for each item of a list of maps."""


class Applies(StrEnum):
    """When a change of a value takes effect."""

    LIVE = "at once"
    SERVICE = "by a restart of its service"
    BOOT = "at the next boot"


@dataclass(frozen=True, slots=True)
class Key:
    """One row. *path* has `NAME` where any name may stand, `[]` after a list of maps."""

    path: str
    kind: Kind
    what: str
    example: str
    default: str = ""
    applies: Applies = Applies.LIVE
    secret: bool = False
    aliases: tuple[str, ...] = ()
    """Keys of RancherOS and cloud-init that mean the same."""

    @property
    def segments(self) -> Path:
        return tuple(self.path.replace(EACH, f".{EACH}").split("."))
