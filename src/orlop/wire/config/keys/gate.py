"""Keys of what may keep a machine from rebooting for an update: windows, locks, draining."""

from __future__ import annotations

from orlop.wire.config import kinds, kinds_gate
from orlop.wire.config.row import Key

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.update.windows",
        kinds_gate.WINDOWS,
        "When the machine may reboot for an update, in its time zone.",
        '[{days: [mon-fri], start: "02:00", length: 2h}]',
        default="at any time",
    ),
    Key(
        "orlop.update.lock.url",
        kinds_gate.LOCK_URL,
        "A server for reboot locks (FleetLock), asked before each such reboot.",
        "https://fleet.example:7870/",
        default="none",
    ),
    Key(
        "orlop.update.lock.group",
        kinds_gate.GROUP,
        "The group of machines there that this one belongs to.",
        "workers",
        default="default",
    ),
    Key(
        "orlop.update.lock.ca",
        kinds.CERTIFICATES,
        "Authorities of that server's certificate, in place of the system's.",
        '"-----BEGIN CERTIFICATE-----\\n...\\n-----END CERTIFICATE-----\\n"',
        default="the system's",
    ),
    Key(
        "orlop.update.lock.token",
        kinds.TEXT,
        "What the machine shows that server (`Authorization: Bearer`).",
        "a1b2c3",
        default="none",
        secret=True,
    ),
    Key(
        "orlop.update.drain",
        kinds_gate.DRAIN,
        "How long containers have, before such a reboot, for what their label "
        "`org.orlop.pre-reboot` says.",
        "10m",
        default="5m",
    ),
)
