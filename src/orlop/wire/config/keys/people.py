"""Keys of the people who may log in."""

from __future__ import annotations

from orlop.wire.config import kinds
from orlop.wire.config.row import Applies, Key

KEYS: tuple[Key, ...] = (
    Key(
        "ssh_authorized_keys",
        kinds.SSH_KEYS,
        "Who may log in by SSH. Without any, nothing listens.",
        "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt me]",
        default="none",
        applies=Applies.SERVICE,
    ),
)
