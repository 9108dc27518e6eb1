"""What `orlop os verify --repair` brings anew, and from where."""

from __future__ import annotations

import asyncio
import errno
from types import SimpleNamespace as Simple
from typing import TYPE_CHECKING, Any

from orlop.engine.store import ingest
from orlop.engine.store.records import ImageRecord
from orlop.engine.store.verify import Damage
from orlop.system.services.overlay import reference
from orlop.system.updates import verification, verify

if TYPE_CHECKING:
    import pytest

NAMES = ("base", "time", "ssh")
"""Services: the index of the first cannot be made again, that of the second can; the third has a
damaged layer."""


def test_only_what_is_still_damaged_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = {name: f"sha256:{name * 10}" for name in NAMES}
    images = {reference(name, layers[name]): name for name in NAMES}
    damage = Damage(
        layers={layers["ssh"]: "damaged"},
        indexes={layers[name]: "index damaged" for name in ("base", "time")},
    )
    services = {image: f"service {name}" for image, name in images.items()}
    rows = [verify.row(what, "damaged") for what in services.values()]
    generation: Any = Simple(
        services={name: Simple(digest=layers[name]) for name in NAMES},
        image=Simple(id="image"),
        release=Simple(version="2.0"),
    )
    store = Simple(
        layer=lambda diff_id: diff_id,
        find=lambda image: ImageRecord(id="", layers=(layers[images[image]],), config={}),
    )
    boot: Any = Simple(engine=Simple(layered=store), images=Simple(is_there=lambda image: True))
    full = OSError(errno.ENOSPC, "No space left on device")

    async def repair_index(store: object, layer: str) -> None:
        if layer == layers["base"]:
            raise full

    async def bring(*of: Any) -> None:
        assert of[3] == {"service base", "service ssh"}
        raise full

    monkeypatch.setattr(ingest, "repair_index", repair_index)
    monkeypatch.setattr(verification, "_bring", bring)
    found = verification.Found(rows, [generation], damage, services)
    failed = asyncio.run(verification._repair(boot, found, "", lambda progress: None))
    why = "release 2.0: [Errno 28] No space left on device"
    assert failed == {"service base": why, "service ssh": why}
