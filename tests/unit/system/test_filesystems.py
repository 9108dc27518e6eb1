"""The plan of pseudo file systems: safe flags, parents first, nothing that invites attack."""

import os
from pathlib import Path

from orlop.lib.mount import MountFlag
from orlop.system import filesystems
from orlop.system.filesystems import (
    FILE_SYSTEMS,
    VOLATILE_STATE,
    Directory,
    is_mount_point,
    make_directory,
)


def test_flags() -> None:
    for entry in (*FILE_SYSTEMS, VOLATILE_STATE):
        assert MountFlag.NOSUID in entry.flags
        assert MountFlag.NOEXEC in entry.flags
        if entry.fstype not in ("devtmpfs", "devpts"):
            assert MountFlag.NODEV in entry.flags


def test_parents_come_first() -> None:
    targets = [entry.target for entry in FILE_SYSTEMS]
    for index, target in enumerate(targets):
        for parent in Path(target).parents:
            if str(parent) in targets:
                assert targets.index(str(parent)) < index


def test_memory_file_systems_are_bounded_and_leave_room() -> None:
    total = 0
    for entry in (*FILE_SYSTEMS, VOLATILE_STATE):
        if entry.fstype == "tmpfs":
            options = dict(option.partition("=")[::2] for option in entry.data.split(","))
            total += int(options["size"].removesuffix("%"))
            assert "nr_inodes" in options
    assert total <= 80


def test_nothing_that_is_only_attack_surface() -> None:
    mounted = {entry.fstype for entry in FILE_SYSTEMS}
    assert not mounted & {"debugfs", "tracefs", "bpf", "configfs", "binfmt_misc", "fusectl"}


def test_directories_may_exist(tmp_path: Path) -> None:
    directory = Directory(str(tmp_path / "x"), 0o1777)
    make_directory(directory)
    make_directory(directory)
    assert os.stat(tmp_path / "x").st_mode & 0o7777 == 0o1777


def test_mount_points_are_seen_without_proc(tmp_path: Path) -> None:
    assert is_mount_point("/proc")
    assert not is_mount_point(str(tmp_path))
    assert not is_mount_point(str(tmp_path / "missing"))


def test_a_failure_is_reported_and_the_rest_goes_on(tmp_path: Path) -> None:
    plan = (
        filesystems.FileSystem("nosuchfs", str(tmp_path / "a")),
        filesystems.FileSystem("nosuchfs", str(tmp_path / "b"), if_exists=True),
    )
    failures = [failure for entry in plan for failure in filesystems._mount(entry)]
    assert len(failures) == 1
    assert f"cannot mount nosuchfs at {tmp_path}/a" in failures[0]
