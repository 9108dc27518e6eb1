"""A repository of releases with keys, and two clients of it: ours, and python-tuf's reference."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from tuf.api.exceptions import DownloadHTTPError
from tuf.ngclient.fetcher import FetcherInterface
from tuf.ngclient.updater import Updater

from orlop.image import release_keys, release_repository
from orlop.lib import signatures
from orlop.wire.tuf.client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = int(time.time())
ROLES = ("root", "timestamp", "snapshot", "targets")


class Lab:
    """Below *place*: `keys`, the repository `repo`, and the state of the reference client."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.keys = release_keys.make(place / "keys")
        public = {role: self.keys.public(role) for role in ROLES}
        self.root = release_repository.make_root(1, public, 2, self.keys.of("root"))
        self.repository = release_repository.create(place / "repo", self.root)
        self.files: dict[str, bytes] = {"root": self.root}
        self.publish()

    def publish(self, *, days: int = 0, now: float | None = None, **targets: bytes) -> None:
        for name, data in targets.items():
            self.repository.add(f"channels/{name}.json", data)
        release_repository.publish(self.repository, self.keys, days=days, now=now)

    def read(self, path: str) -> bytes | None:
        try:
            return (self.place / "repo" / path).read_bytes()
        except FileNotFoundError:
            return None

    def path(self, role: str) -> Path:
        """The newest file of *role*."""
        version = self.repository.versions.get(role)
        prefix = "" if role == "timestamp" else f"{version}."
        return self.place / "repo/metadata" / f"{prefix}{role}.json"

    def ours(self, now: int = NOW) -> dict[str, bytes]:
        """What our client finds: the targets of channels, verified; keeps what it trusts."""
        client = Client(self.files, now, signatures.verify)
        try:
            drive(client, self)
        finally:
            self.files = client.files
        found = {}
        for name in self.repository.names("channels"):
            info, path = client.target(f"channels/{name}.json")
            data = self.read(path) or b""
            assert (len(data), info.sha256) == (info.length, path.rpartition("/")[2].split(".")[0])
            found[name] = data
        return found

    def reference(self) -> dict[str, bytes]:
        """The same by python-tuf."""
        state = self.place / "reference"
        if not state.exists():
            state.mkdir()
            (state / "root.json").write_bytes(self.root)
            (state / "targets").mkdir()
        updater = Updater(
            str(state),
            "http://repository/metadata/",
            str(state / "targets"),
            "http://repository/targets/",
            fetcher=Fetcher(self),
        )
        updater.refresh()
        found = {}
        for name in self.repository.names("channels"):
            info = updater.get_targetinfo(f"channels/{name}.json")
            assert info is not None
            found[name] = Path(updater.download_target(info)).read_bytes()
        return found


def drive(client: Client, lab: Lab) -> None:
    """Give the client what it asks for."""
    wanted = client.refresh()
    answer = None
    try:
        while True:
            asked = wanted.send(answer)
            answer = lab.read(asked.path)
            assert answer is not None or asked.optional or asked.max_bytes
    except StopIteration:
        pass


class Fetcher(FetcherInterface):
    """The repository's files as if by HTTP."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def _fetch(self, url: str) -> Iterator[bytes]:
        data = self._lab.read(url.removeprefix("http://repository/"))
        if data is None:
            raise DownloadHTTPError("not there", 404)
        yield data
