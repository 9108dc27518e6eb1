"""What happens to images while others look at them."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.engine.store.layered import LayeredImages
from orlop.engine.store.records import ImageRecord
from orlop.lib.errors import NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.lib.children import Children

ID = f"sha256:{'a' * 64}"


@pytest.mark.parametrize("fails", [False, True])
def test_no_container_is_made_of_an_image_that_is_being_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    settings: Any = SimpleNamespace(run_dir=tmp_path / "run")
    children: Children = SimpleNamespace()  # type: ignore[assignment]  # nothing is started
    store = LayeredImages(settings, tmp_path / "store", children)
    record = ImageRecord(id=ID, layers=(), config={})
    seen: list[bool] = []

    def remove_image(record: ImageRecord) -> None:
        with pytest.raises(NotFound):
            store.for_container(record.id, "name")
        seen.append(True)
        if fails:
            raise OSError

    async def body() -> None:
        store.start()
        store.images[ID] = record
        monkeypatch.setattr(store.directory, "remove_image", remove_image)
        try:
            async with store.lock:
                await store.remove_record(record)
        except OSError:
            assert store.images[ID] is record
        else:
            assert ID not in store.images
        await store.close()

    asyncio.run(body())
    assert seen
