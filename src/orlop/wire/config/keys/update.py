"""Keys of updates: where releases come from, and who may take them."""

from __future__ import annotations

from orlop.wire.config import kinds_update
from orlop.wire.config.row import Key

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.update.source",
        kinds_update.SOURCE,
        "Where releases come from.",
        "https://releases.example/orlop",
        default="none: nothing is looked for",
    ),
    Key(
        "orlop.update.channel",
        kinds_update.CHANNEL,
        "Which channel's release this machine takes.",
        "beta",
        default="stable",
    ),
    Key(
        "orlop.update.root",
        kinds_update.ROOT,
        "Whose releases are taken: a root.json, or what is in it.",
        "/root/releases/root.json",
        default="what `orlop os trust` was given, or the image has",
    ),
    Key(
        "orlop.update.automatic",
        kinds_update.MODE,
        "What the machine does by itself: look for releases, put them beside what runs, try them.",
        "stage",
        default="check",
    ),
    Key(
        "orlop.update.wariness",
        kinds_update.WARINESS,
        "Where in a channel's ramp this machine stands: 0 is among the first, 100 the last.",
        "100",
        default="by chance, for each release anew",
    ),
)
