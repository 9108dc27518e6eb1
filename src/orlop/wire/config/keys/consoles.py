"""Keys of consoles, engines and recovery mode."""

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
    Key(
        "orlop.engine.name",
        kinds_consoles.ENGINE,
        "Which engine the user's containers have; see also `orlop engine switch`.",
        "docker",
        default="orlop",
        applies=Applies.BOOT,
        aliases=("rancher.docker.engine",),
    ),
    Key(
        "orlop.recovery.password",
        kinds_consoles.RECOVERY,
        "What the shell of recovery mode asks for; `orlop recovery passwd` sets it.",
        f"$pbkdf2-sha512$100000${'ab' * 16}${'cd' * 64}",
        default="none",
        secret=True,
    ),
)
