"""Looking for releases and bringing them, with the real worker; what is refused, and how."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tarfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import Forbidden, InvalidArgument, NotFound, Unavailable
from orlop.system.updates import fetch as fetching
from orlop.system.updates.fetch import Offer, Running
from orlop.wire.channel import Refused, Step, Why
from tests.unit.image.packed_images import image
from tests.unit.system.updates.release_lab import NEW, OLD, ReleaseLab, served

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

DIGEST = hashlib.sha256(NEW).hexdigest()


@pytest.fixture
def lab(tmp_path: Path) -> ReleaseLab:
    lab = ReleaseLab(tmp_path)
    lab.release()
    return lab


def test_a_release_in_a_directory(lab: ReleaseLab) -> None:
    offer = lab.check()
    assert isinstance(offer, Offer)
    assert (offer.release.version, offer.release.image.sha256) == ("2.0", DIGEST)
    assert hashlib.sha256(offer.manifest).hexdigest() == offer.digest
    fetched, progress = lab.fetch(offer)
    assert fetched.files == {DIGEST: lab.state / "incoming" / DIGEST}
    assert fetched.files[DIGEST].read_bytes() == NEW
    assert (fetched.received_bytes, progress[-1].done) == (len(NEW), len(NEW))


def test_a_trial_version_is_a_release_like_any_other(lab: ReleaseLab) -> None:
    lab.release("2.1-rc1", 3)
    offer = lab.check()
    assert isinstance(offer, Offer)
    assert (offer.release.version, offer.release.image.sha256) == ("2.1-rc1", DIGEST)
    lab.fetch(offer)
    on_trial = Running(version="2.1-rc1", build=offer.release.image.build, sequence=3)
    lab.release("2.1", 4)
    found = lab.check(replace(lab.settings, running=on_trial))
    assert isinstance(found, Offer)
    assert (found.release.version, found.release.sequence) == ("2.1", 4)


def test_what_is_there_already_is_not_fetched_again(lab: ReleaseLab) -> None:
    offer = lab.check()
    lab.fetch(offer)
    (lab.state / "incoming" / ("0" * 64)).write_bytes(b"of another release")
    assert lab.fetch(offer)[0].received_bytes == 0
    assert not (lab.state / "incoming" / ("0" * 64)).exists()


def test_a_release_in_one_archive(lab: ReleaseLab, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "release.tar", "w") as archive:
        archive.add(tmp_path / "repo", ".")
    offer = lab.check(replace(lab.settings, source=str(tmp_path / "release.tar")))
    assert lab.fetch(offer)[0].files[DIGEST].read_bytes() == NEW


def began(lab: ReleaseLab, data: bytes) -> None:
    """As much of the image has come."""
    part = lab.state / "incoming" / f"{DIGEST}.part"
    part.parent.mkdir()
    part.write_bytes(data)
    part.chmod(0o666)  # the worker is somebody else


def test_a_cut_download_goes_on_where_it_was(lab: ReleaseLab, tmp_path: Path) -> None:
    with served(tmp_path / "repo") as (address, asked):
        offer = lab.check(replace(lab.settings, source=address))
        began(lab, NEW[:300_000])
        fetched, _ = lab.fetch(offer)
        assert fetched.received_bytes == len(NEW) - 300_000
        assert fetched.files[DIGEST].read_bytes() == NEW
        assert asked[-1] == (f"/targets/blobs/{DIGEST}.{DIGEST}", "bytes=300000-")


def test_a_damaged_beginning_is_fetched_again(lab: ReleaseLab, tmp_path: Path) -> None:
    with served(tmp_path / "repo") as (address, asked):
        offer = lab.check(replace(lab.settings, source=address))
        began(lab, b"x" * 300_000)
        assert lab.fetch(offer)[0].files[DIGEST].read_bytes() == NEW
        assert [span for path, span in asked if "/blobs/" in path] == ["bytes=300000-", ""]


def test_a_blob_that_is_not_the_one_signed_for(lab: ReleaseLab, tmp_path: Path) -> None:
    offer = lab.check()
    blob = tmp_path / f"repo/targets/blobs/{DIGEST}.{DIGEST}"
    blob.write_bytes(NEW[:-1] + b"!")
    with pytest.raises(Forbidden, match="digest differs"):
        lab.fetch(offer)
    blob.write_bytes(NEW + b"!")
    with pytest.raises(InvalidArgument, match=r"has \d+ bytes, not"):
        lab.fetch(offer)
    assert DIGEST not in os.listdir(lab.state / "incoming")


def test_a_delta(lab: ReleaseLab) -> None:
    lab.release("3.0", 3, with_delta=True)
    running = Running(
        version="1.0",
        build="0123456789abcdef",
        sequence=1,
        image=str(lab.old),
        image_sha256=hashlib.sha256(OLD).hexdigest(),
    )
    offer = lab.check(replace(lab.settings, running=running))
    fetched, _ = lab.fetch(offer)
    assert fetched.files[DIGEST].read_bytes() == NEW
    assert fetched.received_bytes < 2000


def test_a_delta_that_does_not_fit_is_no_obstacle(lab: ReleaseLab) -> None:
    lab.release("3.0", 3, with_delta=True)
    digest = hashlib.sha256(OLD).hexdigest()
    lab.old.write_bytes(OLD[::-1])
    running = replace(lab.settings.running, image=str(lab.old), image_sha256=digest)
    offer = lab.check(replace(lab.settings, running=running))
    fetched, _ = lab.fetch(offer)
    assert fetched.files[DIGEST].read_bytes() == NEW
    assert fetched.received_bytes > len(NEW)


def test_a_delta_that_looks_into_the_root(lab: ReleaseLab) -> None:
    old, new = image(), image(b"a few words more ")
    lab.old.write_bytes(old)
    lab.image.write_bytes(new)
    lab.release("3.0", 3, with_delta=True)
    digest = hashlib.sha256(old).hexdigest()
    running = replace(lab.settings.running, image=str(lab.old), image_sha256=digest)
    offer = lab.check(replace(lab.settings, running=running))
    fetched, _ = lab.fetch(offer)
    wanted = hashlib.sha256(new).hexdigest()
    assert fetched.files[wanted].read_bytes() == new
    assert fetched.received_bytes < 3000
    assert {path.name for path in (lab.state / "incoming").iterdir()} == {"etc", wanted}


def test_names_are_resolved_as_the_network_is_now(lab: ReleaseLab) -> None:
    lab.check()
    copy = lab.state / "looking/etc/hosts"
    copy.chmod(0o666)
    copy.write_text("of another network")
    lab.check()
    assert copy.read_text() == Path("/etc/hosts").read_text()


def test_a_ramp(lab: ReleaseLab) -> None:
    lab.channel("2.0", 5, Step(0, 100))
    found = lab.check(replace(lab.settings, wariness=5000))
    assert isinstance(found, Refused)
    assert found.why is Why.RAMP


def test_the_running_release_is_recognised_by_its_build(lab: ReleaseLab) -> None:
    """A machine installed from the medium of a release knows no sequence."""
    running = Running(version="2.0", build="ab" * 8)
    found = lab.check(replace(lab.settings, running=running))
    assert isinstance(found, Refused)
    assert found.why is Why.CURRENT


def test_what_says_of_itself_that_nothing_follows(lab: ReleaseLab) -> None:
    build = lab.settings.running.build
    lab.release("1.0", 1, build=build, dead_end="its disk layout cannot be changed")
    lab.channel("2.0", 9)
    found = lab.check()
    assert isinstance(found, Refused)
    text = "no release follows 1.0: its disk layout cannot be changed"
    assert (found.why, found.text) == (Why.DEAD_END, text)
    assert isinstance(lab.check(replace(lab.settings, allow_downgrade=True)), Offer)


def test_who_looks_leaves_alone_what_is_being_fetched(lab: ReleaseLab, tmp_path: Path) -> None:
    """The one that fetches resolves names with files in its own directory, at any time."""
    with served(tmp_path / "repo") as (address, _):
        offer = lab.check(replace(lab.settings, source=address))
        lab.fetch(offer)
        names = lab.state / "incoming/etc"
        before = {path.name: path.stat().st_ino for path in names.iterdir()}
        assert before
        lab.check()
        assert {path.name: path.stat().st_ino for path in names.iterdir()} == before


def test_a_release_by_its_version(lab: ReleaseLab) -> None:
    lab.release("3.0", 3)
    offer = lab.check(replace(lab.settings, version="2.0"))
    assert isinstance(offer, Offer)
    assert offer.release.version == "2.0"
    with pytest.raises(NotFound, match=r"releases/9\.9\.json"):
        lab.check(replace(lab.settings, version="9.9"))


def test_a_channel_that_is_not_there(lab: ReleaseLab) -> None:
    with pytest.raises(NotFound, match=r"channels/beta\.json"):
        lab.check(replace(lab.settings, channel="beta"))


def test_a_channel_that_goes_back(lab: ReleaseLab) -> None:
    """Signed by the right keys, with a lower sequence: somebody published an old file again."""
    lab.channel("2.0", 9)
    assert isinstance(lab.check(), Offer)
    lab.channel("2.0", 8)
    with pytest.raises(Forbidden, match="this machine has seen 9"):
        lab.check()


def test_another_root_has_channels_of_its_own(lab: ReleaseLab, tmp_path: Path) -> None:
    lab.channel("2.0", 9)
    assert isinstance(lab.check(), Offer)
    (tmp_path / "other").mkdir()
    other = ReleaseLab(tmp_path / "other")
    other.release()
    found = lab.check(replace(other.settings, directory=lab.state))
    assert isinstance(found, Offer)
    assert found.sequence == 2


def test_a_repository_that_goes_back(lab: ReleaseLab, tmp_path: Path) -> None:
    before = (tmp_path / "repo/metadata/timestamp.json").read_bytes()
    lab.release("3.0", 3)
    lab.check()
    (tmp_path / "repo/metadata/timestamp.json").write_bytes(before)
    with pytest.raises(Forbidden, match="rollback refused"):
        lab.check()


def test_without_a_root_nobody_is_trusted(lab: ReleaseLab) -> None:
    with pytest.raises(Unavailable, match="trusts nobody") as caught:
        lab.check(replace(lab.settings, root=""))
    assert "orlop os trust" in (caught.value.hint or "")


def test_another_root_begins_anew(lab: ReleaseLab, tmp_path: Path) -> None:
    lab.check()
    (tmp_path / "other").mkdir()
    other = ReleaseLab(tmp_path / "other")
    other.release("7.0", 70)
    settings = replace(other.settings, directory=lab.state)
    offer = lab.check(settings)
    assert isinstance(offer, Offer)
    assert offer.release.version == "7.0"
    with pytest.raises(Forbidden):
        lab.check(replace(settings, source=lab.settings.source))


@pytest.mark.parametrize(
    ("now", "error", "text"),
    [
        (100_000, Unavailable, "1970-01-02T03:46:40Z, which is before this system was made"),
        (4_070_908_800, Forbidden, "this machine has 2099-01-01"),
    ],
)
def test_a_wrong_clock_is_named(
    lab: ReleaseLab, monkeypatch: pytest.MonkeyPatch, now: int, error: type[Exception], text: str
) -> None:
    monkeypatch.setattr(time, "time", lambda: now)
    monkeypatch.setattr(fetching, "built_at", lambda: 1_700_000_000)
    with pytest.raises(error, match=text):
        lab.check()


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("ftp://host/x", InvalidArgument),
        ("relative/path", InvalidArgument),
        ("/nowhere/at/all", NotFound),
        ("/dev/null", InvalidArgument),
        ("http://127.0.0.1:9?x=1", InvalidArgument),
    ],
)
def test_no_source(lab: ReleaseLab, source: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=source.partition("?")[0].removeprefix("http://")):
        lab.check(replace(lab.settings, source=source))


def test_the_trusted_metadata_is_kept(lab: ReleaseLab) -> None:
    lab.check()
    trust = lab.state / "trust"
    assert sorted(os.listdir(trust)) == [
        "base", "root.json", "seen.json", "snapshot.json", "targets.json", "timestamp.json",
    ]  # fmt: skip
    assert all((trust / name).stat().st_mode & 0o777 == 0o600 for name in os.listdir(trust))


def test_a_server_that_says_nothing_is_given_up() -> None:
    ended = False

    async def messages() -> AsyncGenerator[int]:
        nonlocal ended
        yield 1
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    async def work() -> None:
        found = fetching._each_within(messages(), 0.01)
        assert await anext(found) == 1
        with pytest.raises(Unavailable, match="nothing has come from the source"):
            await anext(found)

    asyncio.run(work())
    assert ended, "and the worker with it"
