"""The power goes at every call of every verb: the next boots find one whole system, unasked.

Each `STRIDE`-th call, another one of them for each verb; `./orlop test unit --long` tries all.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING

import pytest

from orlop.lib.errors import NotModified, OrlopError
from orlop.system.config.store import Texts
from orlop.system.updates import collect, interrupted, rollback, stage, staging, trials
from tests.unit.system.updates.machine_tree import SIZE, PowerCut, Tree, image, power

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MOST_CALLS = 400
STRIDE = 5


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tried here is the order of calls: the disk need not be waited for."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


def install_b(tree: Tree) -> int:
    """Bring `b` through its trial."""
    number = tree.stage("b")
    tree.arm(number)
    tree.until_quiet()
    assert tree.running == "build-b"
    return number


def before_nothing(_: Tree) -> None:
    pass


def before_staged(tree: Tree) -> None:
    tree.stage("b")


def before_trial(tree: Tree) -> None:
    tree.arm(tree.stage("b"))
    tree.boot_loader()


def before_return(tree: Tree) -> None:
    """A trial that was bad has ended."""
    before_trial(tree)
    tree.come_up(good=False)
    tree.boot_loader()


def before_return_of_power(tree: Tree) -> None:
    before_trial(tree)
    tree.boot_loader()


def before_roll_back(tree: Tree) -> None:
    install_b(tree)
    ledger = tree.ledger()
    ledger.config.switch(ledger.config.add(Texts("hostname: changed\n")))


def before_collect(tree: Tree) -> None:
    install_b(tree)
    tree.arm(tree.stage("c", 3))
    tree.until_quiet()


def before_services(tree: Tree) -> None:
    tree.stage_services()


def before_services_back(tree: Tree) -> None:
    tree.replace_services(tree.stage_services())


def before_both(tree: Tree) -> None:
    """An image is on trial, with services of its own."""
    before_services_back(tree)
    tree.arm(tree.stage_services(3, "b"))
    tree.boot_loader()


def before_both_back(tree: Tree) -> None:
    before_both(tree)
    tree.come_up()


def replace_services(tree: Tree) -> None:
    tree.replace_services(tree.ledger().generations.standing().staged)


def undo_services(tree: Tree) -> None:
    tree.replace_services(tree.ledger().generations.standing().staged, good=False)


def services_back(tree: Tree) -> None:
    number = tree.ledger().generations.standing().previous
    tree.replace_services(number, verb="rollback")


def stage_b(tree: Tree) -> None:
    tree.stage("b")


def stage_newer(tree: Tree) -> None:
    tree.stage("c", 3)


def arm_staged(tree: Tree) -> None:
    tree.arm(tree.ledger().generations.standing().staged)


def come_up(tree: Tree) -> None:
    tree.come_up()


def roll_back(tree: Tree) -> None:
    rollback.roll_back(tree.ledger(), tree.esp, tree.ledger().generations.standing().previous)


def withdraw(tree: Tree) -> None:
    ledger = tree.ledger()
    number = ledger.generations.standing().staged
    tasks = stage.withdrawal(ledger, tree.esp, number)
    ledger.journal.run("withdraw", tasks, {"generation": number})


def collect_all(tree: Tree) -> None:
    collect.collect(tree.ledger(), tree.esp)


OPERATIONS: dict[str, tuple[Callable[[Tree], None], Callable[[Tree], None]]] = {
    "stage": (before_nothing, stage_b),
    "stage a newer one": (before_staged, stage_newer),
    "arm": (before_staged, arm_staged),
    "promote": (before_trial, come_up),
    "condemn": (before_return, come_up),
    "arm again": (before_return_of_power, come_up),
    "roll back": (before_roll_back, roll_back),
    "collect": (before_collect, collect_all),
    "withdraw": (before_staged, withdraw),
    "stage services": (before_nothing, before_services),
    "replace services": (before_services, replace_services),
    "undo services": (before_services, undo_services),
    "services back": (before_services_back, services_back),
    "promote an image and services": (before_both, come_up),
    "roll back to an image and services": (before_both_back, roll_back),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_at_some_calls(name: str, tmp_path: Path) -> None:
    cut_everywhere(name, tmp_path, range(1 + len(name) % STRIDE, MOST_CALLS, STRIDE))


@pytest.mark.long
@pytest.mark.parametrize("name", OPERATIONS)
def test_at_every_call(name: str, tmp_path: Path) -> None:
    cut_everywhere(name, tmp_path, range(1, MOST_CALLS))


def cut_everywhere(name: str, tmp_path: Path, calls: range) -> None:
    """Carry out operation *name* again and again, with the power going at each of *calls*."""
    prepare, act = OPERATIONS[name]
    for cut_at in calls:
        tree = Tree(tmp_path / f"{cut_at}")
        prepare(tree)
        try:
            with power(cut_at):
                act(tree)
        except PowerCut:
            tree.until_quiet()
            tree.check()
            if cut_at % 4 == 0:
                go_on(tree)
            continue
        assert cut_at > 8, "there are more calls than that"
        return
    raise AssertionError("no end")


def go_on(tree: Tree) -> None:
    """Updates go on working after that."""
    try:
        number = tree.stage("d", 9)
    except NotModified:
        number = tree.ledger().generations.standing().staged
    tree.arm(number)
    tree.until_quiet()
    tree.check()
    assert tree.running == "build-d"


@pytest.mark.long
@pytest.mark.parametrize("second", [1, 3, 7, 12, 18, 25, 31])
def test_the_power_goes_again_while_it_is_brought_to_an_end(second: int, tmp_path: Path) -> None:
    for name, (prepare, act) in OPERATIONS.items():
        for cut_at in range(3, MOST_CALLS, 5):
            tree = Tree(tmp_path / f"{name} {cut_at}")
            prepare(tree)
            try:
                with power(cut_at):
                    act(tree)
            except PowerCut:
                tree.boot_loader()
                try:
                    with power(second):
                        tree.come_up()
                except PowerCut:
                    pass
                tree.until_quiet()
                tree.check()
                continue
            break


def test_a_damaged_one_is_brought_anew(tmp_path: Path) -> None:
    """Whenever the power goes, the next attempt heals what is staged."""
    for cut_at in range(1, MOST_CALLS):
        tree = Tree(tmp_path / f"{cut_at}")
        tree.stage("b")
        os.truncate(staging.path_of(tree.esp, image("b").id), SIZE)
        try:
            with power(cut_at):
                tree.stage("b")
        except PowerCut:
            tree.until_quiet()
            with contextlib.suppress(NotModified):
                tree.stage("b")
            tree.check()
            assert tree.ledger().generations.standing().staged
            continue
        assert cut_at > 8, "there are more calls than that"
        return
    raise AssertionError("no end")


class _FullDisk:
    """An fsync that fails once."""

    def __init__(self, fail_at: int) -> None:
        self.count, self._fail_at = 0, fail_at

    def __call__(self, _: int) -> None:
        self.count += 1
        if self.count == self._fail_at:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("name", ["stage", "arm", "roll back", "collect", "withdraw"])
def test_a_disk_that_refuses_at_every_sync(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, act = OPERATIONS[name]
    for fail_at in range(1, MOST_CALLS, STRIDE - 2):
        tree, disk = Tree(tmp_path / f"{fail_at}"), _FullDisk(fail_at)
        prepare(tree)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", disk)
            try:
                act(tree)
            except (OSError, OrlopError):
                pass
        if disk.count < fail_at:
            return
        interrupted.bring_to_end(tree.ledger(), tree.esp)
        tree.until_quiet()
        go_on(tree)
    raise AssertionError("no end")


def test_boots_write_nothing(tmp_path: Path) -> None:
    """Twenty normal boots leave the ESP as it is."""
    tree = Tree(tmp_path)
    install_b(tree)
    files = {path: path.read_bytes() for path in tree.esp.rglob("*") if path.is_file()}
    for _ in range(20):
        tree.boot_loader()
        with power() as calls:
            assert tree.come_up() is None
        assert calls == []
    assert files == {path: path.read_bytes() for path in tree.esp.rglob("*") if path.is_file()}


def test_the_record_is_written_twice(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    before = tree.record()[0].sequence
    install_b(tree)
    record = tree.record()[0]
    assert record.sequence == before + 2
    assert (record.default, record.previous) == (image("b").id, image("a").id)


def test_armed_is_what_is_under_way(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    assert trials.armed(tree.ledger()) is None
    tree.arm(tree.stage("b"))
    armed = trials.armed(tree.ledger())
    assert armed is not None
    assert (armed.image, armed.attempt) == (image("b").id, 1)
