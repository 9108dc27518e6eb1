"""Keys of the machine's health: what has to work, and how long it may take."""

from __future__ import annotations

from orlop.wire.config import kinds_health
from orlop.wire.config.row import Key

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.health.settle",
        kinds_health.SETTLE,
        "How long everything required has to work without a break for the machine to count as "
        "good after an update.",
        "60s",
        default="120s",
    ),
    Key(
        "orlop.health.deadline",
        kinds_health.DEADLINE,
        "How long after its start an update may take for that; then it is taken back.",
        "5m",
        default="600s",
    ),
    Key(
        "orlop.health.interval",
        kinds_health.INTERVAL,
        "How often the machine looks at its health otherwise.",
        "5m",
        default="60s",
    ),
    Key(
        "orlop.health.required",
        kinds_health.CHECKS,
        "What has to work: each with one of `state`, `exec` (and `in`), `http` and `tcp`; also "
        "`name`, `timeout`, `engine`, `status`, `insecure`. See docs/health.md.",
        '[{http: "http://127.0.0.1:8080/", name: web, timeout: 3s}]',
        default="what the system needs",
    ),
    Key(
        "orlop.health.wanted",
        kinds_health.CHECKS,
        "The same of what should work, and condemns no update.",
        "[{state: backup}, {exec: [pg_isready], in: db}]",
        default="none",
    ),
)
