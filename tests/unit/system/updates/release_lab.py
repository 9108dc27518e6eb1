"""A repository with one release in it, and a machine that asks the real worker about it."""

from __future__ import annotations

import functools
import http.server
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from orlop.image import release_repository
from orlop.image.delta_maker import make_delta
from orlop.lib.children import Children, run_with_children
from orlop.system.updates.fetch import Fetched, Offer, Progress, Running, Settings, check, fetch
from orlop.wire.channel import Channel, Step, format_channel
from orlop.wire.channel import target_name as channel_target
from orlop.wire.release import Blob, Delta, Image, Release, Service, format_release
from orlop.wire.release import target_name as release_target
from tests.unit.wire.tuf.lab import Lab

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orlop.wire.channel import Refused
    from orlop.wire.compose_model import Json

OLD = bytes(range(256)) * 2000
NEW = OLD[:200_000] + b"something new" + OLD[200_000:]


class ReleaseLab(Lab):
    """*image* is what release 2.0 has, after `release`."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        self.image = place / "new.efi"
        self.image.write_bytes(NEW)
        self.old = place / "old.efi"
        self.old.write_bytes(OLD)
        self.state = place / "state"
        self.settings = Settings(
            source=str(place / "repo"),
            running=Running(version="1.0", build="0123456789abcdef", sequence=1),
            identity="0a1b",
            root=self.root.decode(),
            directory=self.state,
        )

    def release(
        self,
        version: str = "2.0",
        sequence: int = 2,
        *,
        with_delta: bool = False,
        build: str = "ab" * 8,
        services: Mapping[str, Service] | None = None,
        extras: bytes = b"",
        health: Mapping[str, Json] | None = None,
        dead_end: str = "",
    ) -> None:
        """Publish a release on the channel `stable`."""
        blob = self.repository.add_blob(self.image)
        image = Image(blob.sha256, blob.size_bytes, build, (1, 2), (3, 2), "quiet")
        deltas: tuple[Delta, ...] = ()
        if with_delta:
            patch = self.place / "delta"
            make_delta(self.old, self.image, patch)
            found = self.repository.add_blob(patch)
            source = self.repository.add_blob(self.old).sha256
            deltas = (Delta(found.sha256, found.size_bytes, source),)
        release = Release(
            version=version,
            sequence=sequence,
            image=image,
            deltas=deltas,
            services=services or {},
            extras=self.blob(extras) if extras else None,
            health=health or {},
            dead_end=dead_end,
        )
        self.repository.add(release_target(version), format_release(release))
        self.channel(version, sequence)

    def blob(self, data: bytes) -> Blob:
        """A blob with *data*."""
        path = self.place / "blob"
        path.write_bytes(data)
        return self.repository.add_blob(path)

    def channel(self, version: str, sequence: int, *ramp: Step, **more: dict[str, str]) -> None:
        channel = Channel(
            sequence=sequence,
            release=version,
            start=int(time.time()) - 10,
            ramp=ramp or (Step(0, 10_000),),
            dead_ends=more.get("dead_ends", {}),
            revoked=more.get("revoked", {}),
        )
        self.repository.add(channel_target("stable"), format_channel(channel))
        release_repository.publish(self.repository, self.keys)

    def check(self, settings: Settings | None = None) -> Offer | Refused:
        """What the worker says."""
        return ask(settings or self.settings)

    def fetch(self, offer: Offer | Refused) -> tuple[Fetched, list[Progress]]:
        """Bring what is offered; the progress that was told."""
        assert isinstance(offer, Offer)
        progress: list[Progress] = []

        async def work(children: Children) -> Fetched:
            return await fetch(offer, children, progress.append)

        return run_with_children(work), progress


def ask(settings: Settings) -> Offer | Refused:
    """What a machine with *settings* is told."""
    return run_with_children(lambda children: check(settings, children))


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Static files with ranges; `asked` has path and range of each request."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        span = self.headers.get("Range", "")
        self.asked.append((self.path, span))
        if not span:
            super().do_GET()
            return
        with open(self.translate_path(self.path), "rb") as stream:
            data = stream.read()
        start = int(span.removeprefix("bytes=").rstrip("-"))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        self.wfile.write(data[start:])

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as it is there
        pass


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """*folder* on a web server: its address, and what it is asked."""
    asked: list[tuple[str, str]] = []
    handler = type("Handler", (_Quiet,), {"asked": asked})
    with http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(folder))
    ) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}", asked
        finally:
            server.shutdown()
            thread.join()
