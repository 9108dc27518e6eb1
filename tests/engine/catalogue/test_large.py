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
    # What `x-orlop` gives it on a machine, and Docker's API has no single word for.
    catalogue.serve("docker", Privileged=True, CgroupnsMode="host", CapDrop=[], CapAdd=[])

    def docker(*words: str) -> str:
        code, output = catalogue.execute("docker", ["docker", *words])
        assert code == 0, output + catalogue.logs("docker")
        return output.decode()

    catalogue.wait_for_log("docker", "API listen on /run/orlop/docker/docker.sock")
    docker("load", "--input", "/run/orlop/docker/busybox.tar")
    assert docker("run", "--rm", "busybox", "echo", "from a container") == "from a container\n"
    docker("swarm", "init", "--advertise-addr", "127.0.0.1")
    info = json.loads(docker("info", "--format", "{{json .}}"))
    assert info["Swarm"]["LocalNodeState"] == "active"
    assert info["DockerRootDir"] == "/var/lib/orlop/docker"
    catalogue.request("POST", "/containers/docker/stop?t=60")
    assert catalogue.inspect("docker")["State"]["ExitCode"] == 0
