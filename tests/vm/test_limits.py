"""Limits of containers, where the kernel has every controller: set, changed, and exceeded."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from orlop.lib.process import environment
from tests.vm.test_docker_cli import docker, docker_host

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["docker_host"]

IMAGE = "console"
"""An image of the system with a shell in it."""

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


def test_limits_of_the_process(docker_host: str) -> None:
    limits = ("--ulimit", "nofile=1000:2000", "--ulimit", "core=0", "--ulimit", "nproc=50:60")
    with container(docker_host, "bounded", *limits):
        text = docker(docker_host, "exec", "bounded", "cat", "/proc/1/limits")
    found = {line[:25].strip(): line[26:].split()[:2] for line in text.splitlines()}
    assert found["Max open files"] == ["1000", "2000"]
    assert found["Max core file size"] == ["0", "0"]
    assert found["Max processes"] == ["50", "60"]


def test_an_init_is_in_the_image(docker_host: str) -> None:
    with container(docker_host, "reaped", "--init"):
        text = docker(docker_host, "exec", "reaped", "cat", "/proc/1/cmdline")
        assert text.startswith("/sbin/docker-init")
