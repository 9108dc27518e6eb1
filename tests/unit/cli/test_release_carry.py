"""`./orlop release archive`: what is in one file for machines that are behind."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.cli.host import release as host_release
from orlop.image import release_selection
from orlop.lib.children import Children, run_with_children
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.system.updates.fetch import Offer, Running, Settings, check, fetch
from tests.unit.cli.test_host_release import Publisher, offered

if TYPE_CHECKING:
    from pathlib import Path

BUILD = "0123456789abcdef"


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """Four releases: 2.0 is a barrier of the channel, which has 4.0."""
    found = Publisher(tmp_path)
    for number in range(1, 5):
        found.release(f"{number}.0", changed=b"changed" * number)
    found.channel("set", "--release", "4.0")
    found.channel("barrier", "2.0")
    return found


def archive(publisher: Publisher, *words: str) -> Path:
    path = publisher.place / "releases.tar"
    host_release.main(["archive", str(path), "--out", str(publisher.place / "repo"), *words])
    return path


def images(publisher: Publisher, path: Path) -> set[str]:
    """The versions whose images are in the archive."""
    with tarfile.open(path) as opened:
        blobs = [m for m in opened.getmembers() if "/blobs/" in m.name and m.size > 100_000]
        data = {opened.extractfile(member).read() for member in blobs}  # type: ignore[union-attr]
    return {
        version
        for version in ("1.0", "2.0", "3.0", "4.0")
        if (publisher.place / f"{version}.efi").read_bytes() in data
    }


def step(settings: Settings) -> tuple[Running, bytes]:
    """What a machine is offered and brings; what it runs after that."""

    async def work(children: Children) -> tuple[Running, bytes]:
        offer = await check(settings, children)
        assert isinstance(offer, Offer)
        fetched = await fetch(offer, children, lambda _: None)
        image = offer.release.image
        running = Running(
            version=offer.release.version,
            build=image.build,
            sequence=offer.release.sequence,
            image_sha256=image.sha256,
        )
        return running, fetched.files[image.sha256].read_bytes()

    return run_with_children(work)


def test_a_machine_walks_over_the_barrier_with_one_file(publisher: Publisher) -> None:
    path = archive(publisher)
    (publisher.place / "repo").rename(publisher.place / "elsewhere")
    settings = replace(
        publisher.settings,
        source=str(path),
        running=Running(version="1.0", build=BUILD, sequence=1),
    )
    for version in ("2.0", "4.0"):
        running, image = step(settings)
        assert running.version == version
        assert image == (publisher.place / f"{version}.efi").read_bytes()
        settings = replace(settings, running=running)


def test_what_is_in_it(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    assert images(publisher, archive(publisher)) == {"2.0", "4.0"}
    assert "files: release 2.0, 4.0\n" in capsys.readouterr().out
    assert images(publisher, archive(publisher, "--from", "2.0")) == {"4.0"}
    assert images(publisher, archive(publisher, "--version", "3.0")) == {"2.0", "3.0"}
    assert images(publisher, archive(publisher, "--version", "1.0")) == {"1.0"}
    publisher.channel("revoke", "2.0")
    assert images(publisher, archive(publisher)) == {"4.0"}
    host_release.main([*publisher.places(), "--image", str(publisher.place / "1.0.efi"), *EDGE])
    assert images(publisher, archive(publisher)) == {"1.0", "4.0"}
    assert images(publisher, archive(publisher, "--channel", "stable")) == {"4.0"}
    with pytest.raises(NotFound, match="has no channel beta"):
        archive(publisher, "--channel", "beta")
    with pytest.raises(NotFound, match=r"has no release 0\.1"):
        archive(publisher, "--from", "0.1")


def test_a_revocation_is_carried_too(
    publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.channel("barrier", "2.0", "--remove")
    publisher.channel("revoke", "4.0", "--reason", "loses data")
    path = archive(publisher)
    assert "metadata alone, as what channels have is revoked" in capsys.readouterr().out
    found = publisher.machine("1.0", 1, source=str(path))
    assert "loses data" in str(found)


def test_what_is_carried_fits_together_whoever_publishes_meanwhile(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = release_selection.select

    def select(*words: Any) -> Any:
        found = real(*words)
        publisher.channel("set", "--release", "3.0")
        return found

    monkeypatch.setattr("orlop.cli.host.release_carry.select", select)
    path = archive(publisher)
    assert offered(publisher.machine("2.0", 2, source=str(path))) == "4.0"


def test_whoever_rotates_keys_meanwhile(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    new, real = str(publisher.place / "new"), release_selection.select
    host_release.main(["new-keys", new])

    def select(*words: Any) -> Any:
        host_release.main(["rotate", *publisher.places(), "--new-key", new])
        return real(*words)

    monkeypatch.setattr("orlop.cli.host.release_carry.select", select)
    path = archive(publisher)
    assert offered(publisher.machine("2.0", 2, source=str(path))) == "4.0"


EDGE = ["--channel", "edge", "--version", "5.0", "--no-delta"]


def test_deltas_are_those_from_what_machines_run(publisher: Publisher) -> None:
    def deltas(*words: str) -> int:
        with tarfile.open(archive(publisher, *words)) as opened:
            return sum("/blobs/" in m.name and m.size < 100_000 for m in opened.getmembers())

    assert deltas() == 4  # to 2.0 one, to 4.0 three
    assert deltas("--from", "2.0") == 2


def test_what_fails_leaves_the_file_as_it_was(publisher: Publisher) -> None:
    path = archive(publisher)
    before = path.read_bytes()
    next((publisher.place / "repo/targets/releases").glob("*.4.0.json")).rename(
        publisher.place / "away"
    )
    with pytest.raises(OSError, match=r"4\.0\.json"):
        archive(publisher)
    assert path.read_bytes() == before
    assert not [*publisher.place.glob(".orlop-*")]
    path.unlink()
    path.mkdir()
    (publisher.place / "away").rename(publisher.place / "repo/targets/releases" / "0.x.json")
    with pytest.raises((InvalidArgument, OSError)):
        archive(publisher)


def test_a_barrier_beyond_what_the_channel_has_is_for_later(publisher: Publisher) -> None:
    """Else all machines would take it at once, before the channel goes on to it."""
    publisher.channel("set", "--release", "1.0")
    publisher.channel("barrier", "3.0")
    assert offered(publisher.machine("0", 0)) == "1.0"
    publisher.channel("set", "--release", "2.0")
    assert offered(publisher.machine("1.0", 1)) == "2.0"
    publisher.channel("set", "--release", "4.0")
    assert offered(publisher.machine("1.0", 1)) == "2.0"
    assert offered(publisher.machine("2.0", 2)) == "3.0"
