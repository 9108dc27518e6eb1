"""Images from archives that were put there: each once, verified, whatever else lies there."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import lzma
from typing import TYPE_CHECKING

from tests.engine.containers.engine_host import running
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PreloadEngine(StoreEngine):
    """With the directory `preload` beside its data."""

    def command_line(self) -> list[str | Path]:
        return [*super().command_line(), f"--preload={self.place}"]

    @property
    def place(self) -> Path:
        return self.directory / "preload"

    def put(self, name: str, data: bytes) -> None:
        self.place.mkdir(exist_ok=True)
        (self.place / name).write_bytes(data)

    def tags(self) -> set[str]:
        _, images = self.request("GET", "/images/json")
        return {tag for image in images for tag in image["RepoTags"]}

    def again(self) -> None:
        """Another start on the same data."""
        self.kill()
        self.start()


def archive(tag: str, note: bytes = b"note") -> bytes:
    """An image that differs for each *note*."""
    noted = LayerBuilder().add("note", note).finish()
    return docker_archive([busybox_layer(), noted], [tag])


@contextlib.contextmanager
def engine_with(images: Path, files: dict[str, bytes]) -> Iterator[PreloadEngine]:
    def make(directory: Path) -> PreloadEngine:
        engine = PreloadEngine(directory, images)
        for name, data in files.items():
            engine.put(name, data)
        return engine

    with running(make) as engine:
        yield engine


def test_archives_are_there_when_the_engine_answers(images: Path) -> None:
    whole = archive("plain:1")
    files = {
        "plain.tar": whole,
        "packed.tar.gz": gzip.compress(archive("packed:1", b"gz")),
        "small.tar.xz": lzma.compress(archive("small:1", b"xz"), preset=0),
        "broken.tar": whole[: len(whole) // 2],
        "rubbish.tar": b"this is no archive",
        "notes.txt": b"left alone",
    }
    with engine_with(images, files) as engine:
        assert engine.tags() == {"plain:1", "packed:1", "small:1"}
        log = engine.log()
        assert "preload: broken.tar is left out" in log
        assert "preload: rubbish.tar is left out" in log
        engine.run("one", ["echo", "from an archive"], Image="plain:1")
        assert engine.wait("one") == 0


def test_each_is_brought_once_by_its_content(images: Path) -> None:
    with engine_with(images, {"a.tar": archive("a:1")}) as engine:
        assert engine.request("DELETE", "/images/a:1?force=1")[0] == 200
        engine.put("same-content.tar", archive("a:1"))
        engine.put("b.tar", archive("b:1", b"other"))
        engine.again()
        assert engine.tags() == {"b:1"}
        engine.put("a.tar", archive("a:1", b"a new release"))
        engine.again()
        assert engine.tags() == {"a:1", "b:1"}
        memory = engine.directory / "data/preload.json"
        assert len(json.loads(memory.read_text())["brought"]) == 3
        # Whatever becomes of the memory: the images come again, and nothing else happens.
        memory.write_text("{")
        engine.again()
        assert engine.tags() == {"a:1", "b:1"}


def test_a_list_of_digests_decides_what_is_used(images: Path) -> None:
    good, changed = archive("good:1"), archive("changed:1", b"changed")
    lines = f"{hashlib.sha256(good).hexdigest()}  good.tar\n{'0' * 64}  changed.tar\n"
    files = {
        "good.tar": good,
        "changed.tar": changed,
        "unlisted.tar": archive("unlisted:1", b"unlisted"),
        "SHA256SUMS": lines.encode(),
    }
    with engine_with(images, files) as engine:
        assert engine.tags() == {"good:1"}
        log = engine.log()
        assert "changed.tar is left out: its digest is sha256:" in log
        assert "unlisted.tar is left out: SHA256SUMS beside it does not list it" in log
        engine.put("SHA256SUMS", b"no list")
        engine.again()
        assert engine.tags() == {"good:1"}
        assert "nothing there is used" in engine.log()
