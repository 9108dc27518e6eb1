"""`./orlop release` and `./orlop channel`, from keys to what a machine makes of it all."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import shutil
import stat
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from orlop.cli.host import channel as host_channel
from orlop.cli.host import main as host_main
from orlop.cli.host import release as host_release
from orlop.image import release_keys, release_repository
from orlop.lib.errors import Conflict, Forbidden, InvalidArgument, NotFound
from orlop.system.updates import image_worker
from orlop.system.updates.fetch import Offer, Running, Settings
from orlop.wire.channel import Refused, Why
from tests.unit.lib.test_kernel_payload import FIRST_SECTOR, kernel
from tests.unit.lib.test_unified_image import image as unified_image
from tests.unit.system.updates.release_lab import ask

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.wire.release import Release

PADDING = os.urandom(200_000)


def uki(version: str, build: str, changed: bytes = b"") -> bytes:
    return unified_image(
        (
            (".osrel", f"ID=orlop\nVERSION_ID={version}\nBUILD_ID={build}\n".encode()),
            (".cmdline", b"quiet\0"),
            (".linux", PADDING),
            (".initrd", PADDING[:50_000] + changed + PADDING[50_000:]),
        )
    )


def uki_with_extras(data: bytes) -> bytes:
    digest = hashlib.sha256(data).hexdigest()
    words = f"ID=orlop\nVERSION_ID=1.0\nBUILD_ID=0123456789abcdef\nORLOP_EXTRAS={digest}\n"
    parts = {".osrel": words.encode(), ".cmdline": b"", ".linux": b"l", ".initrd": b"i"}
    return unified_image(tuple(parts.items()))


class Publisher:
    """Who has the keys, and a machine that trusts the first root."""

    def __init__(self, place: Path) -> None:
        self.place = place
        host_release.main(["new-keys", str(place / "keys")])
        self.settings = Settings(
            source=str(place / "repo"),
            running=Running(version="0", build="00000000"),
            identity="0a1b",
            root=(place / "keys/root.json").read_text(),
            directory=place / "state",
        )

    def places(self, keys: str = "keys") -> list[str]:
        return ["--key", str(self.place / keys), "--out", str(self.place / "repo")]

    def release(self, version: str, *more: str, changed: bytes = b"") -> None:
        path = self.place / f"{version}.efi"
        path.write_bytes(uki(version, "0123456789abcdef", changed))
        host_release.main([*self.places(), "--image", str(path), *more])

    def channel(self, verb: str, *more: str) -> None:
        host_channel.main([verb, "stable", *more, *self.places()])

    def machine(self, version: str = "0", sequence: int = 1, **more: object) -> Release | Refused:
        """What a machine that runs *version* is offered."""
        running = Running(version=version, build="00000000", sequence=sequence)
        found = ask(replace(self.settings, running=running, **more))  # type: ignore[arg-type]
        return found.release if isinstance(found, Offer) else found


def test_a_kernel_that_cannot_be_unpacked_is_no_release(
    publisher: Publisher, tmp_path: Path
) -> None:
    path, whole = tmp_path / "orlop.efi", kernel()[FIRST_SECTOR * 512 :]
    parts = {".osrel": b"ID=orlop\nVERSION_ID=1.0\nBUILD_ID=0123456789abcdef\n"}
    parts |= {".cmdline": b"", ".initrd": b"i", ".linux": whole}
    path.write_bytes(unified_image(tuple(parts.items())))
    words = [*publisher.places(), "--image", str(path), "--no-extras"]
    with path.open("rb") as image:
        assert image_worker.look(image.fileno())["size_bytes"] == path.stat().st_size
    path.write_bytes(path.read_bytes().replace(whole, whole[:20_000] + b"?" + whole[20_001:]))
    with pytest.raises(InvalidArgument, match=r"the kernel in .*orlop\.efi is damaged"):
        host_release.main(words)
    with path.open("rb") as image, pytest.raises(InvalidArgument, match="damaged"):
        image_worker.look(image.fileno())
    path.write_bytes(unified_image(tuple(parts.items())))
    host_release.main(words)


def test_extras_are_those_of_the_image(publisher: Publisher, tmp_path: Path) -> None:
    image, extras = tmp_path / "build/orlop.efi", tmp_path / "build/orlop-extras.erofs"
    extras.parent.mkdir()
    image.write_bytes(uki_with_extras(b"modules and programs"))
    words = [*publisher.places(), "--image", str(image), "--channel", "stable", "--no-delta"]
    extras.write_bytes(b"of another build")
    with pytest.raises(InvalidArgument, match="are not the extras of the image's build"):
        host_release.main([*words, "--version", "1.0"])
    host_release.main([*words, "--version", "1.0", "--no-extras"])
    found = publisher.machine(sequence=0)
    assert not isinstance(found, Refused)
    assert found.extras is None
    extras.write_bytes(b"modules and programs")
    host_release.main([*words, "--version", "2.0"])
    found = publisher.machine(sequence=0)
    assert not isinstance(found, Refused)
    assert found.extras is not None
    assert found.extras.size_bytes == 20


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    return Publisher(tmp_path)


def test_keys_are_for_their_owner_alone(publisher: Publisher, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    names = {"root-1", "root-2", "root-3", "targets", "snapshot", "timestamp"}
    assert {path.stem for path in keys.glob("*.pem")} == names
    assert {stat.S_IMODE(path.stat().st_mode) for path in keys.glob("*.pem")} == {0o600}
    assert stat.S_IMODE(keys.stat().st_mode) == 0o700
    with pytest.raises(Conflict):
        host_release.main(["new-keys", str(keys)])


def test_a_release_with_a_delta_reaches_a_machine(publisher: Publisher) -> None:
    publisher.release("1.0", "--channel", "stable")
    publisher.release("2.0", "--channel", "stable", changed=b"something new")
    release = publisher.machine()
    assert not isinstance(release, Refused)
    assert (release.version, release.sequence, release.image.command_line) == ("2.0", 2, "quiet")
    [delta] = release.deltas
    assert delta.size_bytes < 1000


def test_root_keys_are_not_needed_to_publish(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("1.0", "--channel", "stable")
    for path in (tmp_path / "keys").glob("root-*.pem"):
        path.unlink()
    publisher.release("2.0", "--channel", "stable")
    (tmp_path / "keys/targets.pem").unlink()
    host_release.main(["refresh", *publisher.places(), "--expires", "7d"])
    with pytest.raises(NotFound, match="no key of the role targets"):
        publisher.release("3.0")
    release = publisher.machine()
    assert not isinstance(release, Refused)
    assert release.version == "2.0"


def test_keys_are_replaced(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("1.0", "--channel", "stable")
    publisher.machine()
    host_release.main(["new-keys", str(tmp_path / "new")])
    host_release.main(["rotate", *publisher.places(), "--new-key", str(tmp_path / "new")])
    with pytest.raises(Forbidden, match="is one that signs targets"):
        publisher.release("2.0", "--channel", "stable")
    image = str(tmp_path / "2.0.efi")
    more = ["--image", image, "--channel", "stable"]
    host_release.main([*publisher.places("new"), *more])
    release = publisher.machine()  # which still begins with the first root
    assert not isinstance(release, Refused)
    assert release.version == "2.0"


def test_too_few_root_keys_replace_nothing(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("1.0")
    host_release.main(["new-keys", str(tmp_path / "new")])
    for number in (1, 2):
        (tmp_path / f"keys/root-{number}.pem").unlink()
    with pytest.raises(Forbidden, match="1 valid signatures, 2 are needed"):
        host_release.main(["rotate", *publisher.places(), "--new-key", str(tmp_path / "new")])


def test_channels(publisher: Publisher) -> None:
    for number in range(1, 5):
        publisher.release(f"{number}.0")
    publisher.channel("set", "--release", "4.0", "--ramp", "0h=1%,24h=100%")
    assert refusal(publisher.machine(wariness=5000)) is Why.RAMP
    found = publisher.machine(wariness=0)
    assert not isinstance(found, Refused)
    publisher.channel("barrier", "2.0")
    found = publisher.machine()
    assert not isinstance(found, Refused)
    assert found.version == "2.0"
    publisher.channel("dead-end", "3.0", "--reason", "another disk layout")
    assert refusal(publisher.machine("3.0", 3)) is Why.DEAD_END
    publisher.channel("revoke", "4.0", "--reason", "loses data")
    assert refusal(publisher.machine("2.0", 2)) is Why.REVOKED
    with pytest.raises(Conflict, match="is revoked"):
        publisher.channel("set", "--release", "4.0")
    publisher.channel("set", "--release", "3.0")
    assert refusal(publisher.machine("4.0", 4)) is Why.DOWNGRADE
    found = publisher.machine("4.0", 4, allow_downgrade=True)
    assert not isinstance(found, Refused)
    assert found.version == "3.0"
    with pytest.raises(NotFound, match=r"no release 9\.0"):
        publisher.channel("revoke", "9.0")
    with pytest.raises(NotFound, match="no channel beta"):
        host_channel.main(["revoke", "beta", "4.0", *publisher.places()])


def offered(found: Release | Refused) -> str:
    """The version that a machine is offered."""
    assert not isinstance(found, Refused), found
    return found.version


def refusal(found: Release | Refused) -> Why:
    assert isinstance(found, Refused)
    return found.why


def saved_image(path: Path) -> str:
    """An archive as `docker save` makes it, with next to nothing in it; its image's digest."""
    digest = "ab" * 32
    content = json.dumps([{"Config": f"blobs/sha256/{digest}", "RepoTags": [], "Layers": []}])
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo("manifest.json")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content.encode()))
    return f"sha256:{digest}"


def test_services(publisher: Publisher, tmp_path: Path) -> None:
    digest = saved_image(tmp_path / "web.tar")
    (tmp_path / "web.yml").write_text("services: {web: {image: 'web:2'}}\n")
    more = ["--service", f"web={tmp_path}/web.tar", "--definition", f"web={tmp_path}/web.yml"]
    publisher.release("1.0", *more, "--epoch", "web=3", "--handover", "web", "--channel", "stable")
    found = publisher.machine(sequence=0)
    assert not isinstance(found, Refused)
    service = found.services["web"]
    assert (service.digest, service.epoch, service.handover) == (digest, 3, True)
    assert service.archive is not None
    assert service.definition.startswith("services:")
    with pytest.raises(InvalidArgument, match="no archive of an image"):
        publisher.release("2.0", "--service", f"web={tmp_path}/web.yml")
    with pytest.raises(InvalidArgument, match="no --service names db"):
        publisher.release("2.0", "--epoch", "db=1")


def test_one_archive_for_a_machine_without_a_network(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("1.0")
    publisher.release("2.0", "--channel", "stable", "--archive", str(tmp_path / "2.tar"))
    with tarfile.open(tmp_path / "2.tar") as archive:
        blobs = [name for name in archive.getnames() if "/blobs/" in name]
    assert len(blobs) == 2  # the image, and the delta from 1.0
    found = publisher.machine(source=str(tmp_path / "2.tar"))
    assert not isinstance(found, Refused)
    assert found.version == "2.0"


def test_mistakes(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("1.0")
    with pytest.raises(Conflict, match=r"there is a release 1\.0"):
        publisher.release("1.0")
    with pytest.raises(Conflict, match="sequence 1 is not above 1"):
        publisher.release("2.0", "--sequence", "1")
    with pytest.raises(InvalidArgument, match="days"):
        publisher.release("2.0", "--expires", "soon")
    with pytest.raises(NotFound, match="neither a release"):
        publisher.release("2.0", "--delta-from", "0.9")
    with pytest.raises(InvalidArgument, match="cannot be the name of a channel"):
        publisher.release("2.0", "--channel", "Bad Name")
    with pytest.raises(InvalidArgument, match="time=x: a number"):
        publisher.release("2.0", "--epoch", "time=x", "--service", "time=/dev/null")
    publisher.channel("set", "--release", "1.0")
    with pytest.raises(InvalidArgument, match="characters of ASCII"):
        publisher.channel("revoke", "1.0", "--reason", "größer")
    (tmp_path / "health").write_text("none")
    with pytest.raises(InvalidArgument, match="health: no JSON"):
        publisher.release("2.0", "--health", str(tmp_path / "health"))
    (tmp_path / "definition").write_bytes(b"\xff")
    archive = tmp_path / "time.tar"
    saved_image(archive)
    definition = f"time={tmp_path / 'definition'}"
    with pytest.raises(InvalidArgument, match="definition: no text"):
        publisher.release("2.0", "--service", f"time={archive}", "--definition", definition)
    host_release.main(["new-keys", str(tmp_path / "other")])
    (tmp_path / "part").mkdir()
    shutil.copy(tmp_path / "keys/targets.pem", tmp_path / "part")
    before = {*(tmp_path / "repo").rglob("*")}
    image = ("--image", str(tmp_path / "1.0.efi"), "--version", "2.0")
    other = "other", Forbidden, r"no key of .*other is one that signs targets\.json"
    for keys, kind, text in (other, ("part", NotFound, "part has no key of the role snapshot")):
        with pytest.raises(kind, match=text):
            host_release.main([*publisher.places(keys), *image])
        with pytest.raises(kind, match=text):
            host_channel.main(["set", "new", "--release", "1.0", *publisher.places(keys)])
    assert {*(tmp_path / "repo").rglob("*")} == before, "files that nobody has signed for"
    (tmp_path / "keys/root.json").unlink()
    with pytest.raises(NotFound, match=r"no root\.json"):
        host_release.main([*publisher.places()[:2], "--out", str(tmp_path / "x")])


def test_files_that_cannot_be_are_no_fault_of_the_program(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.release("1.0")
    out = ["--out", str(tmp_path / "repo")]
    for argv in (
        ["release", "new-keys", str(tmp_path / "1.0.efi")],
        ["release", "archive", str(tmp_path / "none/x.tar"), *out],
        ["release", *publisher.places(), "--image", str(tmp_path)],
        ["keys", "new", "/proc/none/keys"],
    ):
        capsys.readouterr()
        assert host_main.main(argv) == 1
        assert capsys.readouterr().err.startswith(f"orlop: {'/proc' if argv[0] == 'keys' else ''}")


def test_what_ends_soon_is_said_and_signed_anew(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.release("1.0", "--expires", "5", "--channel", "stable")
    capsys.readouterr()
    publishing = tmp_path / "publishing"
    publishing.mkdir()
    for role in ("snapshot", "timestamp"):
        (publishing / f"{role}.pem").write_bytes((tmp_path / f"keys/{role}.pem").read_bytes())
    host_release.main(["refresh", *publisher.places("publishing")])
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("orlop: no machine takes targets.json after ")
    assert "targets.pem" in line
    host_release.main(["refresh", *publisher.places()])
    assert capsys.readouterr().err == ""
    repository = release_repository.open_repository(tmp_path / "repo")
    late = time.time() + 365 * 2.5 * 86400
    assert {"root", "targets"} <= release_repository.ending(repository, late).keys()
    assert not isinstance(publisher.machine(sequence=0), Refused)


def test_two_who_publish_at_once_wait_for_each_other(publisher: Publisher, tmp_path: Path) -> None:
    publisher.release("1.0", "--channel", "stable")
    names = [f"c{number}" for number in range(6)]
    argvs = [["set", name, "--release", "1.0", *publisher.places()] for name in names]
    with ThreadPoolExecutor(6) as pool:
        assert [*pool.map(host_channel.main, argvs)] == [0] * 6
    repository = release_repository.open_repository(tmp_path / "repo")
    assert {*names, "stable"} == {*repository.names("channels")}
    assert repository.versions["targets"] == 7
    assert not isinstance(publisher.machine(sequence=0), Refused)


def test_more_files_than_a_machine_reads_are_not_published(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.release("1.0")
    repository = release_repository.open_repository(tmp_path / "repo")
    info = repository.targets["releases/1.0.json"]
    repository.targets |= {f"blobs/{number:064x}": info for number in range(4096)}
    keys = release_keys.read(tmp_path / "keys")
    with pytest.raises(InvalidArgument, match="no machine takes that"):
        release_repository.publish(repository, keys)


def test_a_channel_as_json(publisher: Publisher, capsys: pytest.CaptureFixture[str]) -> None:
    publisher.release("1.0", "--channel", "stable")
    publisher.channel("revoke", "1.0", "--reason", "no")
    capsys.readouterr()
    host_channel.main(["show", "stable", "--json", "--out", str(publisher.place / "repo")])
    found = json.loads(capsys.readouterr().out)
    assert found["release"] == "1.0"
    assert [(row["version"], row["reason"]) for row in found["revoked"]] == [("1.0", "no")]


def test_what_was_said_of_a_release_is_taken_back(
    publisher: Publisher, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 4):
        publisher.release(f"{number}.0")
    publisher.channel("set", "--release", "3.0")
    publisher.channel("barrier", "2.0")
    publisher.channel("revoke", "2.0")
    assert "2.0 is a barrier and revoked" in capsys.readouterr().err
    assert refusal(publisher.machine("1.0", 1)) is Why.REVOKED
    publisher.channel("barrier", "2.0", "--remove")
    assert offered(publisher.machine("1.0", 1)) == "3.0"
    publisher.channel("revoke", "2.0", "--remove")
    publisher.channel("set", "--release", "2.0")
    assert offered(publisher.machine("1.0", 1)) == "2.0"
    publisher.channel("dead-end", "1.0")
    assert refusal(publisher.machine("1.0", 1)) is Why.DEAD_END
    publisher.channel("dead-end", "1.0", "--remove")
    assert offered(publisher.machine("1.0", 1)) == "2.0"
    for verb in ("revoke", "dead-end", "barrier"):
        with pytest.raises(NotFound, match=r"1\.0"):
            publisher.channel(verb, "1.0", "--remove")


def test_a_lost_timestamp_is_no_new_beginning(publisher: Publisher, tmp_path: Path) -> None:
    """Published from version 1 on, machines would take nothing more: they have seen newer."""
    publisher.release("1.0")
    path = tmp_path / "repo/metadata/timestamp.json"
    first = path.read_bytes()
    publisher.release("2.0", "--channel", "stable")
    newest = path.read_bytes()
    path.unlink()
    for argv in (["refresh", *publisher.places()], ["ls", "--out", str(tmp_path / "repo")]):
        with pytest.raises(InvalidArgument, match=r"timestamp\.json is missing"):
            host_release.main(argv)
    path.write_bytes(newest)
    assert offered(publisher.machine(sequence=0)) == "2.0"
    assert first != newest


def test_new_keys_are_all_there_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = os.fsync

    def full(descriptor: int) -> None:
        if len([*(tmp_path / "keys").iterdir()]) > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    keys = str(tmp_path / "keys")
    for argv in (["release", "new-keys", keys], ["keys", "new", keys]):
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            assert host_main.main(argv) == 1
        assert capsys.readouterr().err == f"orlop: {keys}: no space left on device\n"
        assert not [*(tmp_path / "keys").iterdir()]
    assert host_main.main(["release", "new-keys", keys]) == 0


def test_a_disk_that_is_full_leaves_what_was_published(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.release("1.0", "--channel", "stable")
    host_release.main(["new-keys", str(publisher.place / "new")])
    real = os.fsync
    left = [0]

    def full(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    rotation = ["rotate", *publisher.places(), "--new-key", str(publisher.place / "new")]
    (publisher.place / "2.0.efi").write_bytes(uki("2.0", "0123456789abcdef", b"more"))
    image = ["--image", str(publisher.place / "2.0.efi"), "--channel", "stable"]
    found = "1.0"
    for argv, steps in ((rotation, 5), ([*publisher.places(), *image], 30)):
        for step in range(steps):
            left[0] = step
            with monkeypatch.context() as patch:
                patch.setattr(os, "fsync", full)
                status = host_main.main(["release", *argv])
            said = capsys.readouterr().err
            assert (status, "repo: no space left on device" in said) in ((1, True), (0, False))
            assert not [*(publisher.place / "repo").rglob(".orlop-*")]
            found = offered(publisher.machine(sequence=0))
            if found == "2.0":
                break
            assert status == 1
    assert found == "2.0"


def test_a_word_that_is_no_verb_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert host_main.main(["release", "prone"]) == 1
    assert "'prone' is nothing that can be done with releases" in capsys.readouterr().err


def test_a_channel_is_removed_and_may_come_back(
    publisher: Publisher, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher.release("1.0", "--channel", "stable")
    publisher.release("2.0", "--channel", "edge")
    publisher.channel("set", "--release", "2.0")
    publisher.channel("set", "--release", "1.0")
    assert offered(publisher.machine(sequence=0)) == "1.0"
    publisher.channel("rm")
    assert capsys.readouterr().out.endswith("a machine that still follows it takes nothing\n")
    repository = release_repository.open_repository(tmp_path / "repo")
    assert repository.names("channels") == ["edge"]
    with pytest.raises(NotFound, match=r"channels/stable\.json"):
        publisher.machine(sequence=0)
    with pytest.raises(NotFound, match="has no channel stable"):
        publisher.channel("rm")
    publisher.channel("set", "--release", "2.0")
    assert offered(publisher.machine(sequence=0)) == "2.0"
