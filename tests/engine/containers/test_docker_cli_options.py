"""The docker command line for volumes, files and options: what people type."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.containers.test_docker_cli import Cli, docker

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import EngineProcess

__all__ = ["docker"]

pytestmark = [pytest.mark.root, pytest.mark.engine]


def test_volumes(docker: Cli) -> None:
    assert docker.ok("volume", "create", "--label", "a=b", "data") == "data\n"
    docker.ok("run", "--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo x > /d/f")
    assert docker.ok("run", "--rm", "-v", "data:/d:ro", "busybox", "cat", "/d/f") == "x\n"
    assert docker.ok("volume", "ls", "-q", "--filter", "label=a=b") == "data\n"
    assert docker.ok("volume", "inspect", "-f", "{{.Driver}}", "data") == "local\n"
    docker.ok("create", "--name", "user", "-v", "data:/d", "-v", "/anon", "busybox", "true")
    done = docker.run("volume", "rm", "data")
    assert (done.returncode, "volume is in use" in done.stderr) == (1, True)
    mount = "type=volume,source=data,target=/x,volume-nocopy"
    docker.ok("run", "--rm", "--mount", mount, "busybox", "test", "-e", "/x/f")
    docker.ok("rm", "-v", "user")
    assert docker.ok("volume", "ls", "-q") == "data\n"
    assert "data" in docker.ok("volume", "prune", "-af")
    assert docker.ok("volume", "ls", "-q") == ""


def test_copy_both_ways(docker: Cli, tmp_path: Path) -> None:
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/f").write_text("content\n")
    docker.ok("create", "--name", "box", "busybox", "cat", "/tmp/in/sub/f")
    docker.ok("cp", str(tmp_path / "in"), "box:/tmp")
    assert docker.ok("start", "-a", "box") == "content\n"
    docker.ok("cp", "box:/tmp/in/sub/f", str(tmp_path / "out"))
    assert (tmp_path / "out").read_text() == "content\n"
    docker.ok("cp", "box:/tmp/in/.", str(tmp_path / "tree"))
    assert (tmp_path / "tree/sub/f").exists()
    docker.ok("cp", "-", "box:/root", stdin=docker.ok("cp", "box:/etc/passwd", "-"))
    assert "alice" in docker.ok("cp", "box:/root/passwd", "-")
    done = docker.run("cp", "box:/nothing", str(tmp_path))
    assert (done.returncode, "Could not find the file" in done.stderr) == (1, True)
    done = docker.run("cp", str(tmp_path / "in"), "box:/etc/passwd")
    assert done.returncode == 1


def test_many_options_at_once(docker: Cli, engine: EngineProcess) -> None:
    options = """
        --name many --hostname here --domainname example --user alice --workdir /tmp -e A=b
        --read-only --tmpfs /t:size=1m --init --shm-size 8m --ulimit nofile=100:200
        --cap-drop all --cap-add chown --security-opt no-new-privileges --sysctl kernel.msgmax=8192
        --pid host --uts host --ipc shareable --cgroupns host --group-add 10 --oom-score-adj 100
        --memory 64m --memory-swap 128m --cpus 0.5 --cpu-shares 100 --cpuset-cpus 0
        --pids-limit 50 --blkio-weight 100 --device /dev/full:/dev/mine:rw --stop-timeout 1
        --device-cgroup-rule c_1:3_rmw --log-driver json-file --log-opt max-size=1m
        --log-opt max-file=2 --annotation a=b --label x=y --restart on-failure:3
        --health-cmd true --health-start-interval 1s --mount type=tmpfs,target=/m,tmpfs-size=64k
        --security-opt seccomp=unconfined --security-opt systempaths=unconfined
    """.replace("--uts host", "").split()
    words = [word.replace("_", " ") if word.startswith("c_") else word for word in options]
    text = docker.ok("run", *words, "busybox", "sh", "-c", "id; ulimit -n; hostname; pwd; df -h /m")
    assert "uid=1000(alice) gid=1000(alice) groups=10(wheel)" in text
    assert "\n100\nhere\n/tmp\n" in text
    assert "64.0K" in text
    shown = docker.ok("inspect", "-f", "{{json .HostConfig}}", "many")
    for part in ('"Memory":67108864', '"NanoCpus":500000000', '"PidsLimit":50', '"Init":true'):
        assert part in shown
    docker.ok("update", "--memory", "32m", "--memory-swap", "64m", "--cpus", "1", "many")
    assert docker.ok("inspect", "-f", "{{.HostConfig.Memory}}", "many") == "33554432\n"
    done = docker.run("run", "--rm", "--gpus", "all", "busybox", "true")
    assert (done.returncode, "could not select device driver" in done.stderr) == (125, True)


def test_sizes_and_prune(docker: Cli) -> None:
    docker.ok("run", "--name", "fat", "busybox", "sh", "-c", "head -c 5000 /dev/zero > /f")
    assert docker.ok("ps", "-as", "--format", "{{.Size}}").startswith("5kB")
    assert docker.ok("inspect", "-s", "-f", "{{.SizeRw}}", "fat") == "5000\n"
    docker.ok("run", "-d", "--name", "keep", "--label", "keep=1", "busybox", "true")
    docker.ok("wait", "keep")
    text = docker.ok("container", "prune", "-f", "--filter", "label!=keep")
    assert "Total reclaimed space: 5kB" in text
    assert docker.ok("ps", "-a", "--format", "{{.Names}}") == "keep\n"
    docker.ok("container", "prune", "-f", "--filter", "until=1h")
    assert docker.ok("ps", "-a", "--format", "{{.Names}}") == "keep\n"
    docker.ok("container", "prune", "-f")
    assert docker.ok("ps", "-aq") == ""


def test_discarded_option_is_not_shown(docker: Cli) -> None:
    """Cgroup v2 has no such thing: dockerd says so, and forgets that it was asked."""
    done = docker.run("create", "--name", "undying", "--oom-kill-disable", "busybox", "true")
    assert done.returncode == 0
    assert "OomKillDisable discarded" in done.stderr
    form = "{{.HostConfig.OomKillDisable}}"
    assert docker.ok("inspect", "-f", form, "undying") == "<nil>\n"
