"""Limits of containers, where the kernel has every controller: set, changed, and exceeded."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from orlop.lib.process import environment
from tests.vm.test_docker_cli import docker, docker_host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.vm.machine import Machine

__all__ = ["docker_host"]

IMAGE = "console"
"""An image of the system with a shell in it."""

MACHINE_CLIENT = ("docker", "-H", "unix:///run/orlop/system.sock")

DISK = "/dev/sr0"
"""The drive with the system's CD, which every machine that boots from one has."""

LIMITED = (
    *("--memory", "48m", "--memory-swap", "48m", "--memory-reservation", "16m"),
    *("--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus", "0", "--pids-limit", "77"),
)


@contextlib.contextmanager
def container(host: str, name: str, *options: str) -> Iterator[None]:
    """A container that sleeps, gone at the end."""
    words = ("run", "-d", "--name", name, "--network", "none", "--entrypoint", "sleep")
    docker(host, *words, *options, IMAGE, "1000")
    try:
        yield
    finally:
        docker(host, "rm", "-f", name)


def cgroup_file(host: str, name: str, file: str) -> str:
    return docker(host, "exec", name, "cat", f"/sys/fs/cgroup/{file}").strip()


def test_limits_are_in_the_cgroup(docker_host: str) -> None:
    with container(docker_host, "limited", *LIMITED):
        expected = {
            "memory.max": str(48 << 20),
            "memory.swap.max": "0",
            "memory.low": str(16 << 20),
            "cpu.max": "50000 100000",
            "cpuset.cpus": "0",
            "pids.max": "77",
        }
        found = {file: cgroup_file(docker_host, "limited", file) for file in expected}
        assert found == expected


def test_limits_change_while_it_runs(docker_host: str) -> None:
    with container(docker_host, "changing", *LIMITED):
        changes = ("--memory", "64m", "--memory-swap", "64m", "--cpus", "1", "--pids-limit", "99")
        docker(docker_host, "update", *changes, "changing")
        assert cgroup_file(docker_host, "changing", "memory.max") == str(64 << 20)
        assert cgroup_file(docker_host, "changing", "cpu.max") == "100000 100000"
        assert cgroup_file(docker_host, "changing", "pids.max") == "99"
        docker(docker_host, "update", "--pids-limit", "-1", "changing")
        assert cgroup_file(docker_host, "changing", "pids.max") == "max"


def test_out_of_memory_ends_the_container_and_is_said(docker_host: str) -> None:
    # tail keeps what has no end of a line.
    words = ("run", "--name", "hungry", "--network", "none", "--memory", "32m")
    command = ["docker", *words, "--memory-swap", "32m", "--entrypoint", "tail", IMAGE, "/dev/zero"]
    try:
        done = subprocess.run(
            command, env=environment({"DOCKER_HOST": docker_host}), timeout=120, check=False
        )
        assert done.returncode == 137
        killed = docker(docker_host, "inspect", "-f", "{{.State.OOMKilled}}", "hungry")
        assert killed == "true\n"
        now = docker(docker_host, "info", "-f", "{{.SystemTime}}").strip()
        window = ("--since", "0", "--until", now)
        filters = ("--filter", "container=hungry", "--format", "{{.Action}}")
        actions = docker(docker_host, "events", *window, *filters).split()
        assert actions.index("oom") < actions.index("die")
    finally:
        docker(docker_host, "rm", "-f", "hungry")


def test_swap_is_what_is_above_the_memory(docker_host: str) -> None:
    with container(docker_host, "swapping", "--memory", "48m", "--memory-swap", "112m"):
        assert cgroup_file(docker_host, "swapping", "memory.swap.max") == str(64 << 20)
    with container(docker_host, "swapping", "--memory", "48m", "--memory-swap", "-1"):
        assert cgroup_file(docker_host, "swapping", "memory.swap.max") == "max"


def test_disk_is_limited(machine: Machine, docker_host: str) -> None:
    # By the machine's own client: Docker's in Debian 13 sends none of the limits it is given.
    words = (*MACHINE_CLIENT, "run", "-d", "--name", "slow", "--network", "none")
    rates = ("--device-read-bps", f"{DISK}:2mb", "--device-write-iops", f"{DISK}:70")
    # Nobody has the kernel weigh the drive: that is said in the log, and no reason not to start.
    weights = ("--blkio-weight", "500", "--blkio-weight-device", f"{DISK}:10")
    machine.succeed([*words, *rates, *weights, "--entrypoint", "sleep", IMAGE, "1000"])
    try:
        [line] = cgroup_file(docker_host, "slow", "io.max").splitlines()
        assert set(line.split()[1:]) == {"rbps=2097152", "wbps=max", "riops=max", "wiops=70"}
        assert cgroup_file(docker_host, "slow", "io.weight") == "default 4950"
    finally:
        docker(docker_host, "rm", "-f", "slow")


def test_a_limit_of_no_disk_is_refused(machine: Machine, docker_host: str) -> None:
    words = (*MACHINE_CLIENT, "run", "--name", "odd", "--network", "none")
    rate = ("--device-read-bps", "/dev/nothing:1mb")
    said = machine.fail([*words, *rate, "--entrypoint", "true", IMAGE])
    docker(docker_host, "rm", "-f", "odd")
    assert "no such block device: /dev/nothing" in said


def test_limits_of_the_process(docker_host: str) -> None:
    limits = ("--ulimit", "nofile=1000:2000", "--ulimit", "core=0", "--ulimit", "nproc=50:60")
    with container(docker_host, "bounded", *limits):
        text = docker(docker_host, "exec", "bounded", "cat", "/proc/1/limits")
    found = {line[:25].strip(): line[26:].split()[:2] for line in text.splitlines()}
    assert found["Max open files"] == ["1000", "2000"]
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max processes"] == ["50", "60"]


def test_no_more_processes_than_allowed(docker_host: str) -> None:
    # From another container with the same cgroup: in the full one nothing can be executed.
    beside = ("--cgroupns", "host", "-v", "/sys/fs/cgroup/system:/cgroups:ro")
    with container(docker_host, "few", "--pids-limit", "6"), container(docker_host, "see", *beside):
        many = "for i in 1 2 3 4 5 6 7 8; do sleep 1000 >/dev/null 2>&1 & done; wait"
        done = subprocess.run(
            ["docker", "exec", "few", "sh", "-c", many],
            env=environment({"DOCKER_HOST": docker_host}),
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )
        assert b"fork" in done.stderr
        events = docker(docker_host, "exec", "see", "cat", "/cgroups/few/pids.events").split()
        assert (events[0], int(events[1]) > 0) == ("max", True)


def test_no_oom_killer_is_not_to_be_had(docker_host: str) -> None:
    """The kernel has no such thing in cgroup v2: said, and left out, as dockerd does it."""
    words = ["docker", "create", "--name", "undying", "--memory", "32m", "--oom-kill-disable"]
    done = subprocess.run(
        [*words, "--entrypoint", "true", IMAGE],
        env=environment({"DOCKER_HOST": docker_host}),
        capture_output=True,
        timeout=120,
        check=False,
    )
    try:
        assert done.returncode == 0
        assert b"OomKillDisable discarded" in done.stderr
        form = "{{.HostConfig.OomKillDisable}}"
        assert docker(docker_host, "inspect", "-f", form, "undying") == "<nil>\n"
    finally:
        docker(docker_host, "rm", "-f", "undying")


def test_an_init_is_in_the_image(docker_host: str) -> None:
    with container(docker_host, "reaped", "--init"):
        text = docker(docker_host, "exec", "reaped", "cat", "/proc/1/cmdline")
        assert text.startswith("/sbin/docker-init")
