"""Machines' directories: names, locks, disks, what is left of a machine that is gone."""

import os
from pathlib import Path

import pytest

from orlop.lib.errors import Conflict, NotFound
from orlop.vm.directory import (
    disk_path,
    ensure_disk,
    find_machine,
    free_name,
    list_machines,
    machine_directory,
    tail,
)
from orlop.vm.summary import machine_row, table_lines


def test_one_at_a_time(tmp_path: Path) -> None:
    machine = machine_directory(tmp_path, "a")
    assert not machine.running()
    lock = machine.acquire()
    assert machine.running()
    with pytest.raises(Conflict, match="running already"):
        machine_directory(tmp_path, "a").acquire()
    os.close(lock)
    assert not machine.running()


def test_names(tmp_path: Path) -> None:
    assert free_name(tmp_path) == "orlop"
    lock = machine_directory(tmp_path, "orlop").acquire()
    assert free_name(tmp_path) == "orlop-2"
    os.close(lock)
    assert free_name(tmp_path) == "orlop"


def test_a_name_used_again_starts_clean(tmp_path: Path) -> None:
    machine = machine_directory(tmp_path, "a")
    os.close(machine.acquire())
    machine.write_state({"status": "ended"})
    (machine.path / "boot.log").write_text('{"event": "ready"}\n')
    os.close(machine.acquire())
    assert machine.read_state() == {}
    assert machine.boot_events() == []


def test_a_machine_whose_keeper_vanished_is_lost(tmp_path: Path) -> None:
    machine = machine_directory(tmp_path, "a")
    os.close(machine.acquire())
    machine.write_state({"status": "running", "pid": 1, "ssh_port": 5, "started_at_s": 1.0})
    row = machine_row(machine)
    assert (row["state"], row["ssh_port"], row["up_s"]) == ("lost", None, None)
    assert "lost" in table_lines([row])[1]


def test_find(tmp_path: Path) -> None:
    os.close(machine_directory(tmp_path, "a").acquire())
    assert find_machine(tmp_path, "a").name == "a"
    assert [machine.name for machine in list_machines(tmp_path)] == ["a"]
    with pytest.raises(NotFound) as caught:
        find_machine(tmp_path, "b")
    assert caught.value.hint == "./orlop run ls: a"


def test_disks_are_kept(tmp_path: Path) -> None:
    path = disk_path(tmp_path, "data")
    ensure_disk(path, 1 << 20)
    path.write_bytes(b"precious")
    ensure_disk(path, 1 << 20)
    assert path.read_bytes() == b"precious"


def test_tail_is_what_was_said() -> None:
    data = b"one\r\n\x1b[2Jtwo\x1b[0m\r\n\r\n\x1b[?25l\x1b[5;80Hthree\xff\x07\n"
    assert tail(data, 2) == "two\nthree\N{REPLACEMENT CHARACTER}"
