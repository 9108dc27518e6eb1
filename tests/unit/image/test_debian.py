"""Fetching what the locks pin: earlier downloads, the archive, and what it no longer has."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from orlop.image import archive, debian
from orlop.image.lockfile import LockedPackage
from orlop.image.step import Cancellation, StepContext
from orlop.lib.errors import Internal, NotFound


def package(name: str, version: str) -> LockedPackage:
    digest = hashlib.sha256(f"{name} {version}".encode()).hexdigest()
    return LockedPackage(name, version, "amd64", digest)


class Archive:
    """An archive that has some packages, each with a content that follows from its version."""

    def __init__(self, *packages: LockedPackage) -> None:
        self.packages = {package.name: package for package in packages}
        self.updates = 0
        self.downloads: list[str] = []
        self.unlisted: set[str] = set()

    def fetch_by_hash(self, path: str, sha256: str, target: Path) -> bool:
        if path not in self.unlisted:
            return False
        name, version, _ = Path(path).name.split("_")
        target.write_text(f"{name} {version}")
        return True

    def update(self) -> None:
        self.updates += 1

    def locate(self, versions: Mapping[str, str]) -> list[LockedPackage]:
        return [
            package
            for package in self.packages.values()
            if versions.get(package.name) == package.version
        ]

    def candidates(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self.packages[name].version for name in names if name in self.packages}

    def download(
        self, _context: StepContext, packages: Sequence[LockedPackage], pool: Path
    ) -> None:
        for package in packages:
            (pool / package.file).write_text(f"{package.name} {package.version}")
            self.downloads.append(package.file)


def install(monkeypatch: pytest.MonkeyPatch, cache: Path, fake: Archive) -> None:
    monkeypatch.setenv("ORLOP_CACHE", str(cache))
    monkeypatch.setattr(archive, "update", fake.update)
    monkeypatch.setattr(archive, "locate", fake.locate)
    monkeypatch.setattr(archive, "candidates", fake.candidates)
    monkeypatch.setattr(archive, "fetch_by_hash", fake.fetch_by_hash)
    monkeypatch.setattr(archive, "pool_directory", lambda name, *, source: f"pool/{name}")
    monkeypatch.setattr(debian, "_download", fake.download)
    monkeypatch.setattr(StepContext, "capture", lambda *_: "source 1.0")


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def context(tmp_path: Path, warnings: list[str]) -> StepContext:
    for name in ("output", "scratch"):
        (tmp_path / name).mkdir()
    return StepContext(
        name="debs",
        output=tmp_path / "output",
        scratch=tmp_path / "scratch",
        jobs=1,
        epoch=0,
        log_path=tmp_path / "log",
        results={},
        cancellation=Cancellation(),
        report=lambda _fraction, _text: None,
        report_warning=warnings.append,
    )


def records(context: StepContext) -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads((context.output / "packages.json").read_text())
    return found


def test_what_the_archive_has_as_locked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext, warnings: list[str]
) -> None:
    crun = package("crun", "1.21-1")
    install(monkeypatch, tmp_path / "cache", Archive(crun))
    debian.fetch_debs(context, packages=[crun], locked=True)

    [record] = records(context)
    assert record["drift"] is False
    assert (context.output / str(record["file"])).exists()
    assert warnings == []


def test_earlier_downloads_need_no_archive(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext
) -> None:
    crun = package("crun", "1.21-1")
    fake = Archive(crun)
    install(monkeypatch, tmp_path / "cache", fake)
    debian.fetch_debs(context, packages=[crun], locked=True)
    debian.fetch_debs(context, packages=[crun], locked=True)

    assert fake.updates == 1
    assert fake.downloads == [crun.file]


def test_a_damaged_earlier_download_is_fetched_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext
) -> None:
    crun = package("crun", "1.21-1")
    fake = Archive(crun)
    install(monkeypatch, tmp_path / "cache", fake)
    debian.fetch_debs(context, packages=[crun], locked=True)
    (tmp_path / "cache" / "apt" / "pool" / crun.file).write_text("damaged")
    debian.fetch_debs(context, packages=[crun], locked=True)

    assert fake.downloads == [crun.file, crun.file]


def test_a_replaced_version_that_is_still_there_is_no_drift(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext, warnings: list[str]
) -> None:
    fake = Archive(package("crun", "1.21-2"))
    fake.unlisted = {"pool/crun/crun_1.21-1_amd64.deb"}
    install(monkeypatch, tmp_path / "cache", fake)
    debian.fetch_debs(context, packages=[package("crun", "1.21-1")], locked=True)

    [record] = records(context)
    assert (record["version"], record["drift"]) == ("1.21-1", False)
    assert warnings == []


def test_a_replaced_version_drifts_loudly(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext, warnings: list[str]
) -> None:
    install(monkeypatch, tmp_path / "cache", Archive(package("crun", "1.21-2")))
    debian.fetch_debs(context, packages=[package("crun", "1.21-1")], locked=False)

    [record] = records(context)
    assert (record["version"], record["drift"]) == ("1.21-2", True)
    assert warnings == ["the archive has no crun 1.21-1 as locked; using 1.21-2"]


def test_a_replaced_version_is_an_error_when_locked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext
) -> None:
    install(monkeypatch, tmp_path / "cache", Archive(package("crun", "1.21-2")))

    with pytest.raises(NotFound, match=r"no longer has crun 1.21-1") as caught:
        debian.fetch_debs(context, packages=[package("crun", "1.21-1")], locked=True)
    assert caught.value.hint == "./orlop lock"


def test_a_package_that_is_gone_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext
) -> None:
    install(monkeypatch, tmp_path / "cache", Archive())

    with pytest.raises(NotFound, match="no crun at all"):
        debian.fetch_debs(context, packages=[package("crun", "1.21-1")], locked=False)


def test_other_bytes_under_a_locked_name_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext
) -> None:
    def fetch_other_bytes(
        self: StepContext, argv: Sequence[str], *, cwd: Path | None = None
    ) -> None:
        (self.scratch / package("crun", "1.21-1").file).write_text("something else")

    pool = tmp_path / "pool"
    pool.mkdir()
    monkeypatch.setattr(StepContext, "run", fetch_other_bytes)

    with pytest.raises(Internal, match="not the file that the lock names"):
        debian._download(context, [package("crun", "1.21-1")], pool)
    assert list(pool.iterdir()) == []


def test_other_hash_for_the_locked_version_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, context: StepContext
) -> None:
    locked = package("crun", "1.21-1")
    other = LockedPackage(locked.name, locked.version, locked.architecture, "0" * 64)
    install(monkeypatch, tmp_path / "cache", Archive(other))

    with pytest.raises(Internal, match="differs from the lock"):
        debian.fetch_debs(context, packages=[locked], locked=False)


def test_stanzas_and_source_files() -> None:
    text = (
        "Package: chrony\nVersion: 4.6.1-3\nChecksums-Sha256:\n"
        " aa 10 chrony_4.6.1-3.dsc\n bb 20 chrony_4.6.1.orig.tar.gz\n\nPackage: other\nVersion: 1\n"
    )
    chrony, other = archive.parse_stanzas(text)

    assert other == {"Package": "other", "Version": "1"}
    assert [file.file for file in archive.parse_source_files(chrony)] == [
        "chrony_4.6.1-3.dsc",
        "chrony_4.6.1.orig.tar.gz",
    ]
