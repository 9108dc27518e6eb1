"""Stage, apply, roll back, pin and collect, as long as nothing goes wrong, and what is refused."""

import asyncio
import errno
import json
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from orlop.lib import boot_record
from orlop.lib.boot_record import BootRecord
from orlop.lib.errors import Conflict, Internal, InvalidArgument, NotModified, ResourceExhausted
from orlop.system.config.store import ConfigStore, Texts
from orlop.system.updates import (
    collect,
    esp,
    intake,
    interrupted,
    rollback,
    stage,
    staging,
    trials,
    verify,
)
from orlop.system.updates.decide import BeginTrial, Cause, Condemn, Disarm, Rearm
from orlop.system.updates.generations import (
    Generation,
    Release,
    Standing,
    collectable,
    difference,
    digest_of,
)
from orlop.system.updates.intake import files_beside
from orlop.system.updates.journal import Status
from orlop.system.updates.ledger import Ledger, adopt, capture, restore_configuration
from orlop.system.updates.report import Now
from tests.unit.system.updates.machine_tree import Tree, beside_of, content, image


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tree:
    monkeypatch.setattr("os.fsync", lambda _: None)
    return Tree(tmp_path)


def configure(ledger: Ledger, text: str) -> None:
    ledger.config.switch(ledger.config.add(Texts(text)))


def standing(tree: Tree) -> Standing:
    return tree.ledger().generations.standing()


def try_out(tree: Tree, *, good: bool) -> None:
    tree.arm(standing(tree).staged)
    tree.boot_loader()
    assert tree.come_up(good=good) == BeginTrial()


def test_a_good_one_is_promoted(tree: Tree) -> None:
    number = tree.stage("b")
    assert (number, standing(tree)) == (2, Standing(good=1, staged=2))
    try_out(tree, good=True)
    assert standing(tree) == Standing(good=2, previous=1)
    tree.check()
    with pytest.raises(NotModified, match="generation 2 has that image, and runs already"):
        tree.stage("b")


def test_a_red_one_is_bad_and_remembered(tree: Tree) -> None:
    tree.stage("b", 2)
    try_out(tree, good=False)
    tree.boot_loader()
    assert tree.come_up() == Condemn(Cause.HEALTH)
    assert standing(tree) == Standing(good=1)
    tree.check()
    found = tree.ledger().bad()[image("b").sha256]
    assert (found.count, found.sequence, found.cause, found.text) == (1, 2, "health", "red")
    tree.stage("c", 3)
    assert tree.ledger().bad() == {}, "a newer release ends that"


def test_a_power_cut_is_nobodys_fault_three_times(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    for _ in range(2):
        tree.boot_loader()
        tree.boot_loader()
        assert tree.come_up() == Rearm(Cause.UNKNOWN)
    tree.boot_loader()
    tree.boot_loader()
    assert tree.come_up() == Condemn(Cause.UNKNOWN)
    tree.check()


def test_what_was_damaged_on_the_disk_meanwhile_is_nobodys_fault(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.boot_loader()
    path = staging.path_of(tree.esp, image("b").id)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    tree.boot_loader()
    assert tree.come_up() == Disarm(f"{path.name} is damaged: it is not what was written")
    assert (standing(tree).staged, tree.ledger().bad()) == (2, {})
    assert tree.stage("b") == 3
    try_out(tree, good=True)
    tree.check()


def test_a_power_cut_and_then_it_is_good(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.boot_loader()
    tree.boot_loader()
    tree.come_up()
    tree.boot_loader()
    assert tree.come_up() == BeginTrial()
    assert standing(tree).good == 2
    tree.check()


def test_a_newer_one_takes_the_place_of_what_is_staged(tree: Tree) -> None:
    tree.stage("b", 2)
    assert tree.stage("c", 3) == 3
    assert tree.ledger().generations.numbers() == [1, 3]
    assert staging.present(tree.esp) == {image("a").id, image("c").id}
    with pytest.raises(NotModified, match="is staged already"):
        tree.stage("c", 3)


def test_a_full_esp_is_noticed_before_anything_is_done(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "MARGIN_BYTES", 1 << 60)
    with pytest.raises(ResourceExhausted, match="EFI system partition has"):
        tree.stage("b")
    assert tree.ledger().journal.changes == {}


def test_a_source_that_has_changed_is_refused(tree: Tree) -> None:
    (tree.incoming / "b").write_bytes(content("c"))
    source, candidate = tree.incoming / "b", tree.candidate("b")
    with pytest.raises(InvalidArgument, match="changed"):
        staging.write_image(tree.esp, source, candidate.image, candidate.beside, lambda _: None)
    assert staging.present(tree.esp) == {image("a").id}


def test_a_disk_that_keeps_something_else_has_nothing_staged(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write

    def flips(descriptor: int, data: bytes) -> int:
        if len(data) > 1000:
            data = data[:-1] + bytes([data[-1] ^ 1])
        return write(descriptor, data)

    before = sorted((tree.esp / "orlop/images").iterdir())
    monkeypatch.setattr(os, "write", flips)
    with pytest.raises(Internal, match="is not what was written"):
        tree.stage("b")
    assert standing(tree).staged == 0
    assert sorted((tree.esp / "orlop/images").iterdir()) == before
    tree.check()


def test_a_damaged_image_is_not_armed(tree: Tree) -> None:
    number = tree.stage("b")
    path = tree.esp / f"orlop/images/{image('b').id}.efi"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(Internal, match="damaged"):
        tree.arm(number)
    assert tree.record()[0].trial == ""


@pytest.mark.parametrize("kind", ["efi", "env", "sum"])
def test_what_is_damaged_and_staged_is_staged_anew(tree: Tree, kind: str) -> None:
    tree.stage("b")
    path = tree.esp / f"orlop/images/{image('b').id}.{kind}"
    before = path.read_bytes()
    with pytest.raises(NotModified):
        tree.stage("b")
    path.write_bytes(before[: len(before) // 2])
    assert tree.stage("b") == 3
    assert path.read_bytes() == before
    assert tree.ledger().generations.numbers() == [1, 3]
    try_out(tree, good=True)
    tree.check()


def test_the_new_name_of_a_file_is_synced(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT writes size and clusters to it only then."""
    done: list[tuple[str, str]] = []
    real = os.rename

    def rename(source: str | Path, target: str | Path) -> None:
        done.append(("rename", str(target)))
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    monkeypatch.setattr(
        os, "fsync", lambda number: done.append(("fsync", os.readlink(f"/proc/self/fd/{number}")))
    )
    tree.stage("b")
    named = [at for at, (what, path) in enumerate(done) if what == "rename" and "esp" in path]
    assert len(named) >= 3
    for at, until in pairwise([*named, len(done)]):
        assert ("fsync", done[at][1]) in done[at:until]


def test_rolling_back_restores_the_configuration(tree: Tree) -> None:
    tree.stage("b")
    try_out(tree, good=True)
    configure(tree.ledger(), "hostname: b\n")
    rollback.roll_back(tree.ledger(), tree.esp, 1)
    tree.boot_loader()
    assert tree.running == "build-a"
    assert tree.ledger().texts().public == "hostname: a\n"
    assert standing(tree) == Standing(good=1, previous=3)
    tree.check()
    rollback.roll_back(tree.ledger(), tree.esp, 3)
    tree.boot_loader()
    assert tree.running == "build-b"
    assert tree.ledger().texts().public == "hostname: b\n"


def test_a_failed_trial_restores_the_configuration(tree: Tree) -> None:
    tree.stage("b")
    try_out(tree, good=False)
    configure(tree.ledger(), "hostname: trial\n")
    tree.boot_loader()
    tree.come_up()
    assert tree.ledger().texts().public == "hostname: a\n"


def test_what_was_never_good_is_not_rolled_back_to(tree: Tree) -> None:
    number = tree.stage("b")
    with pytest.raises(Conflict, match="never good"):
        rollback.roll_back(tree.ledger(), tree.esp, number)
    with pytest.raises(NotModified):
        rollback.roll_back(tree.ledger(), tree.esp, 1)


def test_a_change_of_the_configuration_is_another_generation(tree: Tree) -> None:
    ledger = tree.ledger()
    assert capture(ledger).number == 1
    configure(ledger, "hostname: other\n")
    found = capture(ledger)
    assert found.number == 2
    assert standing(tree) == Standing(good=2)
    old = ledger.generations.read(1)
    assert difference(old, found).keys() == {"configuration"}
    assert ledger.generations.texts(2).public == "hostname: other\n"


def test_collecting_keeps_what_is_needed_and_pinned(tree: Tree) -> None:
    for sequence, name in enumerate("bcd", 2):
        tree.stage(name, sequence)
        try_out(tree, good=True)
    collect.set_pin(tree.ledger(), 2, pinned=True)
    with pytest.raises(NotModified):
        collect.set_pin(tree.ledger(), 2, pinned=True)
    assert collect.collect(tree.ledger(), tree.esp) == [1]
    assert tree.ledger().generations.numbers() == [2, 3, 4]
    kept = {image(name).id for name in "abcd"}
    assert staging.present(tree.esp) == kept, "a is the recovery image"
    collect.set_pin(tree.ledger(), 2, pinned=False)
    assert collect.collect(tree.ledger(), tree.esp) == [2]
    assert staging.present(tree.esp) == kept - {image("b").id}
    assert collect.collect(tree.ledger(), tree.esp) == []


def test_what_is_needed() -> None:
    assert collectable([1, 2, 3, 4, 5], Standing(4, 2, 5), {1}) == [3]


def test_a_trial_is_known_without_a_state(tree: Tree) -> None:
    assert not interrupted.is_trial(tree.esp, tree.running)
    tree.arm(tree.stage("b"))
    assert not interrupted.is_trial(tree.esp, tree.running)
    tree.boot_loader()
    assert interrupted.is_trial(tree.esp, tree.running)
    tree.boot_loader()
    assert not interrupted.is_trial(tree.esp, tree.running), "the old one again"


def test_a_document_that_nobody_has_adopted_yet_comes_back_too(tmp_path: Path) -> None:
    store = ConfigStore(str(tmp_path))
    ledger = Ledger(tmp_path / "os", store)
    (tmp_path / "config.yml").write_text("hostname: installed\n")
    first = Texts("hostname: installed\n")
    assert ledger.texts() == first
    generation = Generation(1, 0.0, Release(), image("a"), {}, digest_of(first))
    ledger.generations.add(generation, ledger.texts())
    store.adopt(ledger.texts())
    configure(ledger, "hostname: other\n")
    assert restore_configuration(ledger, 1)
    assert (tmp_path / "config.yml").read_text() == "hostname: installed\n"
    assert not restore_configuration(ledger, 1)


def test_what_cannot_be_told_from_what_runs_is_not_staged(tree: Tree) -> None:
    candidate = replace(tree.candidate("b"), image=replace(image("b"), build=tree.running))
    with pytest.raises(InvalidArgument, match="has the build of the one that runs"):
        stage.stage(tree.ledger(), tree.esp, candidate, tree.incoming / "b", lambda _: None)
    assert tree.ledger().journal.changes == {}


def test_what_runs_is_not_tried(tree: Tree) -> None:
    tree.stage("b")
    try_out(tree, good=True)
    rollback.roll_back(tree.ledger(), tree.esp, 1)
    tree.boot_loader()
    again = tree.stage("b")
    rollback.roll_back(tree.ledger(), tree.esp, 2)
    tree.boot_loader()
    with pytest.raises(NotModified, match=f"image of generation {again} is the one that runs"):
        tree.arm(again)
    assert tree.record()[0].trial == ""
    tree.check()


def test_a_broken_esp_leaves_nothing_staged_that_is_gone(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree.stage("b", 2)

    def fail(*_: object) -> None:
        raise OSError(errno.EROFS, "read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(stage, "sweep", fail)
        with pytest.raises(OSError, match="read-only"):
            tree.stage("c", 3)
        # It may never work again: that is in the way of no other change.
        interrupted.bring_to_end(tree.ledger(), tree.esp)
        collect.set_hold(tree.ledger(), "broken", 0.0)
    assert standing(tree).staged == 0
    assert tree.stage("c", 3) == standing(tree).staged
    [error] = [c.error for c in tree.ledger().journal.changes.values() if c.status is Status.ERROR]
    text = "[Errno 30] read-only file system"
    assert error == f"{text}; cannot undo image: {text}"


def test_an_image_without_its_other_files_gets_them_again(tree: Tree) -> None:
    tree.stage("b")
    beside = tree.esp / f"orlop/images/{image('b').id}.sum"
    beside.unlink()
    ledger = tree.ledger()
    ledger.generations.stand(Standing(good=1))
    ledger.generations.remove(2)
    tree.stage("b")
    assert beside.read_bytes() == beside_of("b")[beside.name]


def test_a_trial_that_never_was_leaves_the_configuration_alone(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    configure(tree.ledger(), "hostname: later\n")
    ledger = tree.ledger()
    found = trials.armed(ledger)
    assert found is not None
    trials.abandon(ledger, tree.esp, found, "cancelled")
    assert tree.ledger().texts().public == "hostname: later\n"
    assert standing(tree).staged == 2


def test_the_esp_of_the_disk_below_an_encrypted_state(tmp_path: Path) -> None:
    for disk in ("sda", "sdb"):
        (tmp_path / "devices" / disk / f"{disk}1").mkdir(parents=True)
        (tmp_path / "devices" / disk / f"{disk}2").mkdir()
    (tmp_path / "devices/dm-0/slaves/sdb2").mkdir(parents=True)
    block, devices = tmp_path / "block", tmp_path / "dev"
    block.mkdir()
    devices.mkdir()
    for name in ("sda1", "sda2", "sdb1", "sdb2"):
        (block / name).symlink_to(tmp_path / "devices" / name[:3] / name)
    (block / "dm-0").symlink_to(tmp_path / "devices/dm-0")
    for name in ("sda1", "sdb1"):
        (devices / name).write_bytes(b"ORLOP_ESP  FAT32   ".rjust(90).ljust(512))
    (devices / "dm-0").touch()
    found = esp.find(str(devices / "dm-0"), str(block), str(devices))
    assert found == str(devices / "sdb1")
    assert esp.find(str(devices / "sda2"), str(block), str(devices)) == str(devices / "sda1")


@pytest.mark.parametrize("also_the_way_back", [False, True])
def test_what_cannot_be_armed(
    tree: Tree, monkeypatch: pytest.MonkeyPatch, also_the_way_back: bool
) -> None:
    """The disk takes the record, and fails."""
    number = tree.stage("b")
    real, calls = boot_record.write, []

    def write(directory: Path, record: BootRecord) -> None:
        calls.append(record)
        if len(calls) == 1 or not also_the_way_back:
            real(directory, record)
        if len(calls) == 1 or also_the_way_back:
            raise OSError(errno.EIO, "input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(boot_record, "write", write)
        with pytest.raises(OSError, match="input/output"):
            tree.arm(number)
    if also_the_way_back:
        tree.boot_loader()
        assert tree.running == "build-b"
        assert tree.come_up() == BeginTrial(), "it is known that this is a trial"
    assert tree.record()[0].trial == ""
    tree.check()


def test_the_first_generation_is_what_is_installed_not_what_runs(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "describe", lambda _: SimpleNamespace(build="build-a"))
    tree.ledger().generations.stand(Standing())
    ledger = tree.ledger()
    adopt(ledger, tree.esp, "build-of-the-medium")
    good = ledger.generations.read(ledger.generations.standing().good)
    assert good.image.build == "build-a"


def test_what_the_boot_loader_would_not_take_is_found(tree: Tree) -> None:
    files = files_beside(image("a"), "1.0", (1, 2), (3, 4), "quiet")
    for name, data in files.items():
        (tree.esp / staging.IMAGES / name).write_bytes(data)

    def problem() -> object:
        rows = verify.verify(tree.ledger(), tree.esp, Now(tree.running, "1.0"))
        return [row["problem"] for row in rows if isinstance(row, dict) and not row["ok"]]

    assert problem() == []
    env = tree.esp / staging.IMAGES / f"{image('a').id}.env"
    env.write_bytes(env.read_bytes().replace(b"quiet", b"QUIET"))
    assert problem() == [f"{image('a').id}.sum does not say what is there"]
    env.unlink()
    assert problem() == [f"{env.name}: No such file or directory"]


def test_a_file_that_is_given_leaves_room_for_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"image"

    path = asyncio.run(intake.receive(tmp_path, parts()))
    assert path.read_bytes() == b"image"
    intake.discard(path)
    monkeypatch.setattr(intake, "MARGIN_BYTES", 1 << 60)
    with pytest.raises(ResourceExhausted, match="No space left"):
        asyncio.run(intake.receive(tmp_path, parts()))
    assert list((tmp_path / "incoming").iterdir()) == []


def test_what_a_newer_version_has_written_counts(tree: Tree) -> None:
    path = tree.state / "os"
    for name in ("standing.json", "gens/1/gen.json"):
        data = json.loads((path / name).read_bytes())
        data["later"] = 1
        if "image" in data:
            data["image"]["later"] = data["release"]["later"] = 1
        (path / name).write_text(json.dumps(data))
    assert standing(tree) == Standing(good=1)
    tree.check()


def test_two_may_give_a_file(tmp_path: Path) -> None:
    async def parts() -> AsyncIterator[bytes]:
        yield b"image"

    async def main() -> None:
        first = await intake.receive(tmp_path, parts())
        (tmp_path / "incoming/given-of-a-crash").touch()
        second = await intake.receive(tmp_path, parts())
        assert sorted((tmp_path / "incoming").iterdir()) == sorted((first, second))
        intake.discard(first)
        assert list((tmp_path / "incoming").iterdir()) == [second]
        intake.discard(second)

    asyncio.run(main())
