"""`./orlop release prune`: room in a repository, and nothing missing for any machine."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from orlop.cli.host import release as host_release
from orlop.image import release_repository
from orlop.lib.children import Children, run_with_children
from orlop.lib.errors import NotFound
from orlop.system.updates.fetch import Offer, Running, check, fetch
from tests.unit.cli.test_host_release import Publisher, offered
from tests.unit.cli.test_release_carry import BUILD, step
from tests.unit.system.updates.release_lab import ask

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86400


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    """Eight releases; the channel has 6.0, and 3.0 is a barrier."""
    found = Publisher(tmp_path)
    for number in range(1, 9):
        found.release(f"{number}.0", "--no-delta", changed=f"changed {number}".encode())
    found.channel("set", "--release", "6.0")
    found.channel("barrier", "3.0")
    return found


def prune(publisher: Publisher, capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    capsys.readouterr()
    host_release.main(["prune", *publisher.places(), "--json", *words])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def kept(found: dict[str, Any]) -> dict[str, str]:
    return {row["version"]: row["kept"] for row in found["releases"]}


def age(publisher: Publisher, days: float) -> None:
    """So much time goes by."""
    for path in (publisher.place / "repo").rglob("*.*"):
        at = path.stat().st_mtime - days * DAY_S
        os.utime(path, (at, at))


def everything(publisher: Publisher) -> dict[str, bytes]:
    root = publisher.place / "repo"
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_what_is_needed(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    # Whoever runs 1.0 or 2.0 learns from the manifest that a barrier is ahead.
    expected = {f"{number}.0": "whole" for number in range(3, 9)}
    expected |= {"1.0": "manifest", "2.0": "manifest", "4.0": "nothing", "5.0": "nothing"}
    found = prune(publisher, capsys, "--keep", "0")
    assert kept(found) == expected
    assert found["deleted"] == []
    left = prune(publisher, capsys, "--keep", "0")
    assert kept(left) == {k: v for k, v in expected.items() if v != "nothing"}
    publisher.channel("set", "--release", "8.0")
    publisher.channel("revoke", "6.0", "--reason", "loses data")
    publisher.channel("dead-end", "7.0")
    found = prune(publisher, capsys, "--keep", "1")
    assert kept(found) | {"6.0": "manifest"} == kept(found)
    assert kept(found)["7.0"] == kept(found)["3.0"] == "whole"


def test_machines_go_on(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    """Who was told what to take before takes it after; others see no difference."""
    publisher.channel("set", "--release", "4.0")
    settings = replace(publisher.settings, running=Running(version="3.0", build=BUILD, sequence=3))

    async def meanwhile(children: Children) -> bytes:
        offer = await check(settings, children)
        assert isinstance(offer, Offer)
        assert offer.release.version == "4.0"
        publisher.channel("set", "--release", "6.0")
        found = prune(publisher, capsys, "--keep", "1")
        assert kept(found)["4.0"] == "nothing"
        fetched = await fetch(offer, children, lambda _: None)
        return fetched.files[offer.release.image.sha256].read_bytes()

    assert run_with_children(meanwhile) == (publisher.place / "4.0.efi").read_bytes()
    running = Running(version="1.0", build=BUILD, sequence=0)  # installed from a medium
    for version in ("3.0", "6.0"):
        running, image = step(replace(settings, running=running))
        assert running.version == version
        assert image == (publisher.place / f"{version}.efi").read_bytes()


def test_files_go_when_nobody_can_be_at_them(
    publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    prune(publisher, capsys, "--keep", "0")
    age(publisher, 6)
    found = prune(publisher, capsys, "--keep", "0")
    assert found["deleted"] == []
    assert found["waiting"]
    age(publisher, 1.1)
    blobs = publisher.place / "repo/targets/blobs"
    before = {path.name for path in blobs.iterdir()}
    found = prune(publisher, capsys, "--keep", "0")
    assert found["waiting"] == []
    left = {path.name for path in blobs.iterdir()}
    repository = release_repository.open_repository(publisher.place / "repo")
    assert left == {f"{name}.{name}" for name in repository.names("blobs")} < before
    assert len(left) < len(before)
    metadata = {path.name for path in (publisher.place / "repo/metadata").iterdir()}
    number = repository.versions["targets"]
    assert metadata == {
        "1.root.json",
        "timestamp.json",
        f"{number}.targets.json",
        f"{repository.versions['snapshot']}.snapshot.json",
    }
    assert offered(publisher.machine("5.0", 5)) == "6.0"


def test_dry_run_says_the_same_and_does_nothing(
    publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    age(publisher, 100)
    before = everything(publisher)
    for path in (publisher.place / "keys").glob("*.pem"):
        path.rename(path.with_suffix(".away"))
    argv = ["prune", "--out", str(publisher.place / "repo"), "--dry-run", "--keep", "0"]
    host_release.main(argv)
    text = capsys.readouterr().out
    assert "release 4.0, sequence 4: leaves\n" in text
    assert "release 1.0, sequence 1: only its manifest stays: " in text
    host_release.main([*argv, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert everything(publisher) == before
    with pytest.raises(NotFound, match="has no keys"):
        prune(publisher, capsys, "--keep", "0")
    assert everything(publisher) == before
    for path in (publisher.place / "keys").glob("*.away"):
        path.rename(path.with_suffix(".pem"))
    done = prune(publisher, capsys, "--keep", "0")
    assert done["releases"] == said["releases"]
    assert done["deleted"] == said["deleted"]
    assert {*said["waiting"]} < {*done["waiting"]}  # and the metadata that it has replaced


def test_an_interruption_leaves_nothing_to_mend(
    publisher: Publisher, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut after each file that is deleted, and before the metadata is whole."""
    prune(publisher, capsys, "--keep", "0")
    (publisher.place / "repo/targets/blobs/.orlop-0011").write_bytes(b"half a blob")
    age(publisher, 30)
    total = len(prune(publisher, capsys, "--keep", "0", "--dry-run")["deleted"])
    assert total > 10
    path_type = type(publisher.place)
    real = path_type.unlink

    class Cut(BaseException):
        pass

    def unlink(path: Path, missing_ok: bool = False) -> None:
        real(path, missing_ok=missing_ok)
        raise Cut

    for number in range(total - 1):
        with monkeypatch.context() as patch:
            patch.setattr(path_type, "unlink", unlink)
            with pytest.raises(Cut):
                prune(publisher, capsys, "--keep", "0")
        for sequence, version in ((1, "3.0"), (3, "6.0")) if number % 9 == 0 else ():
            assert offered(publisher.machine(f"{sequence}.0", sequence)) == version
    assert len(prune(publisher, capsys, "--keep", "0")["deleted"]) == 1


def test_what_was_pruned_is_nobody_s_target(
    publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    prune(publisher, capsys, "--keep", "0")
    for verb, words in (("set", ["--release", "2.0"]), ("barrier", ["2.0"])):
        with pytest.raises(NotFound, match=r"release 2\.0 was pruned"):
            publisher.channel(verb, *words)
    with pytest.raises(NotFound, match=r"no release 4\.0"):
        publisher.channel("set", "--release", "4.0")
    with pytest.raises(NotFound, match=r"the image of release 2\.0 was pruned"):
        publisher.release("9.0", "--delta-from", "2.0")
    with pytest.raises(NotFound, match=r"files of release 2\.0 are not in the repository any more"):
        ask(replace(publisher.settings, version="2.0"))
    host_release.main(["ls", "--out", str(publisher.place / "repo")])
    assert "release 2.0, sequence 2, was pruned\n" in capsys.readouterr().out


def test_a_revoked_release_is_taken_back_after_it_was_pruned(
    publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = replace(publisher.settings, running=Running(version="3.0", build=BUILD, sequence=3))
    offer = run_with_children(lambda children: check(settings, children))
    assert isinstance(offer, Offer)
    publisher.channel("set", "--release", "8.0")
    publisher.channel("revoke", "6.0", "--reason", "loses data")
    assert kept(prune(publisher, capsys, "--keep", "0"))["6.0"] == "manifest"
    said: list[str] = []
    staged = replace(settings, staged="6.0", staged_digest=offer.digest)
    run_with_children(lambda children: check(staged, children, said.append))
    assert said == ["release 6.0 is revoked: loses data"]


def test_without_channels_all_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publisher = Publisher(tmp_path)
    publisher.release("1.0")
    publisher.release("2.0")
    assert {*kept(prune(publisher, capsys, "--keep", "0")).values()} == {"whole"}


def test_room_for_more(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    """With a release a day and a prune, a repository stays as small as it is."""
    sizes: list[int] = []
    for number in range(9, 15):
        publisher.release(f"{number}.0", "--channel", "stable", changed=os.urandom(20))
        sizes.append(prune(publisher, capsys)["files"])
    assert max(sizes) <= 20 < len(sizes) * 5
