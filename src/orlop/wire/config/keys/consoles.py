"""Keys of the consoles."""

from __future__ import annotations

from orlop.wire.config import kinds_consoles
from orlop.wire.config.row import Applies, Key

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.console.name",
        kinds_consoles.CONSOLE,
        "In which console sessions begin; see also `orlop console switch`.",
        "debian",
        default="default",
        applies=Applies.BOOT,
        aliases=("rancher.console",),
    ),
)
