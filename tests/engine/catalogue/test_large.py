"""The entries that take minutes to build: a whole Debian, and Debian's dockerd."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.engine.store.archives import busybox_layer, docker_archive

if TYPE_CHECKING:
    from tests.engine.catalogue.conftest import CatalogueEngine

pytestmark = pytest.mark.long


def test_debian_is_a_whole_one(catalogue: CatalogueEngine) -> None:
    reference = catalogue.add("debian")
    script = """
        set -e
        dpkg --audit
        apt-get check
        apt-get update --print-uris | grep -q trixie-security
        command -v ssh docker ip less vi tmux jq curl lsof strace htop rsync
        update-ca-certificates --fresh >/dev/null
        grep -c BEGIN /etc/ssl/certs/ca-certificates.crt
    """
    catalogue.run("debian", ["bash", "-xc", script], Image=reference)
    assert catalogue.wait("debian") == 0, catalogue.logs("debian").decode()


def test_dockerd_runs_containers_and_a_swarm(catalogue: CatalogueEngine) -> None:
    archive = catalogue.machine / "run/orlop/docker/busybox.tar"
    archive.parent.mkdir(parents=True, exist_ok=True)
    archive.write_bytes(docker_archive([busybox_layer()], ["busybox:latest"]))
    reference = catalogue.add("docker")
    var, socket = catalogue.machine / "var/lib/orlop", "/run/orlop/docker/docker.sock"
    (var / "docker").mkdir(parents=True)
    # As the machine runs it in place of its own engine, but for what gives it the machine itself.
    catalogue.run(
        "docker",
        [
            *("/usr/sbin/dockerd", f"--host=unix://{socket}", "--data-root=/var/lib/orlop/docker"),
            *("--exec-root=/run/orlop/dockerd", "--pidfile=/run/orlop/dockerd/docker.pid"),
            *("--exec-opt=native.cgroupdriver=cgroupfs", "--cgroup-parent=/user", "--group=root"),
        ],
        Image=reference,
        Env=["DOCKER_RAMDISK=true", f"DOCKER_HOST=unix://{socket}"],
        HostConfig={
            "Binds": [f"{archive.parent}:/run/orlop/docker", f"{var}:/var/lib/orlop"],
            "Tmpfs": {"/run/orlop/dockerd": "mode=711", "/etc/docker": "", "/tmp": ""},
            "ReadonlyRootfs": True,
            "Privileged": True,
            "NetworkMode": "host",
            "CgroupnsMode": "host",
        },
    )

    def docker(*words: str) -> str:
        code, output = catalogue.execute("docker", ["docker", *words])
        assert code == 0, output + catalogue.logs("docker")
        return output.decode()

    catalogue.wait_for_log("docker", f"API listen on {socket}")
    docker("load", "--input", "/run/orlop/docker/busybox.tar")
    assert docker("run", "--rm", "busybox", "echo", "from a container") == "from a container\n"
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    info = json.loads(docker("info", "--format", "{{json .}}"))
    assert info["Swarm"]["LocalNodeState"] == "active"
    assert info["DockerRootDir"] == "/var/lib/orlop/docker"
    catalogue.request("POST", "/containers/docker/stop?t=60")
    assert catalogue.inspect("docker")["State"]["ExitCode"] == 0
