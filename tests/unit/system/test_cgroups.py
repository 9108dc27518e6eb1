"""The plan of the control group tree, and what is done about what the kernel lacks."""

import os
from pathlib import Path

from orlop.system.cgroups import (
    CONTROLLERS,
    Group,
    Write,
    apply,
    memory_total_bytes,
    missing,
    plan,
    protect_from_oom,
)

ROOT = Path("/c")


def test_pid_1_moves_before_controllers_are_enabled() -> None:
    steps = plan(1 << 30, 32768, root=ROOT)
    move = steps.index(Write(ROOT / "init", "cgroup.procs", str(os.getpid())))
    assert steps.index(Group(ROOT / "init")) < move
    assert all(
        move < steps.index(Write(ROOT, "cgroup.subtree_control", f"+{name}"))
        for name in CONTROLLERS
    )


def test_both_subtrees_get_every_controller() -> None:
    steps = plan(1 << 30, 32768, root=ROOT)
    for group in ("system", "user"):
        for name in CONTROLLERS:
            assert Write(ROOT / group, "cgroup.subtree_control", f"+{name}") in steps


def test_reservations_shrink_with_the_machine() -> None:
    large = plan(8 << 30, 32768, root=ROOT)
    assert Write(ROOT / "init", "memory.min", str(48 << 20)) in large
    assert Write(ROOT / "system", "memory.low", str(64 << 20)) in large
    small = plan(100 << 20, 32768, root=ROOT)
    assert Write(ROOT / "init", "memory.min", str(20 << 20)) in small
    assert Write(ROOT / "system", "memory.low", str(25 << 20)) in small


def test_tasks_are_kept_for_the_system() -> None:
    assert Write(ROOT / "user", "pids.max", str(32768 - 1024)) in plan(1 << 30, 32768, root=ROOT)


def test_what_the_kernel_lacks_is_left_out_and_said_once() -> None:
    steps = plan(1 << 30, 32768, ["pids", "hugetlb"], ROOT)
    assert {step.name for step in steps if isinstance(step, Write)} == {
        "cgroup.procs",
        "cgroup.subtree_control",
        "pids.max",
    }
    assert missing(["pids", "hugetlb"]) == ["this kernel has no cgroup controller cpu, memory"]
    assert missing(CONTROLLERS) == []


def test_apply_reports_and_goes_on(tmp_path: Path) -> None:
    failures = apply([
        Group(tmp_path / "a"),
        Group(tmp_path / "a"),
        Write(tmp_path / "a", "memory.min", "1"),  # no such file: a plain directory
        Write(tmp_path / "a", "io.weight", "default 1"),  # optional
        Group(tmp_path / "b"),
    ])  # fmt: skip
    assert len(failures) == 1
    assert "memory.min" in failures[0]
    assert (tmp_path / "b").is_dir()


def test_oom_and_meminfo(tmp_path: Path) -> None:
    (tmp_path / "oom").write_text("0\n")
    protect_from_oom(tmp_path / "oom")
    assert (tmp_path / "oom").read_text() == "-1000"
    assert memory_total_bytes("MemTotal:  2048 kB\nMemFree: 1 kB\n") == 2 << 20
    assert memory_total_bytes("") == 0
