"""The firewall of the shipped image, with its own kernel: what comes in from another machine."""

import http.client
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Publish, UserNet
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.vm import guest
from tests.vm.lab import Lab
from tests.vm.test_docker_cli import docker
from tests.vm.test_user_engine import user_api

IMAGE = "busybox:test"
CONTAINER, CONSOLE, PUBLISHED = 8080, 8081, 8082
SERVE = ("busybox", "httpd", "-f", "-h", "/", "-p")


@pytest.fixture
def walled(lab: Lab, tmp_path: Path) -> Iterator[Machine]:
    ports = (Publish(0, port) for port in (22, CONTAINER, CONSOLE, PUBLISHED))
    archive = tmp_path / "busybox.tar"
    archive.write_bytes(docker_archive([busybox_layer()], tags=[IMAGE]))
    with lab.machine(
        lab.kernel(), "walled", key=True, nics=(UserNet(publish=(*ports,)),), memory_mib=256
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        with user_api(machine) as name:  # over SSH, which the firewall lets in
            docker(name, "load", "-i", str(archive))
        yield machine


def answers(machine: Machine, port: int, timeout_s: float = 5) -> bool:
    """Whether somebody answers at *port* from outside."""
    connection = http.client.HTTPConnection("127.0.0.1", machine.host_port(port), timeout=timeout_s)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def test_what_is_published_comes_in(walled: Machine) -> None:
    with user_api(walled) as name:
        docker(name, "run", "-d", "--network=host", IMAGE, *SERVE, str(CONTAINER))
        docker(name, "run", "-d", "-p", f"{PUBLISHED}:80", IMAGE, *SERVE, "80")
    walled.wait_until(lambda: answers(walled, CONTAINER), "a container of the host's network")
    walled.wait_until(lambda: answers(walled, PUBLISHED), "a published port")
    # The console's container is the system's, and nobody has said that it listens.
    listen = f"while :; do printf 'HTTP/1.0 200 OK\\r\\n\\r\\n' | nc -l -p {CONSOLE}; done"
    walled.succeed(f'orlop exec console sh -c "{listen}" >/dev/null 2>&1 &')
    walled.wait_until_succeeds(f"netstat -ltn | grep :{CONSOLE}")
    assert not answers(walled, CONSOLE)
    assert f" DPT={CONSOLE} " in walled.succeed("orlop dmesg | grep firewall:")

    assert walled.succeed("orlop firewall").splitlines()[0].startswith("allow  22/tcp")
    walled.succeed(f"orlop config set orlop.firewall.rules '[{{ports: {CONSOLE}}}]'")
    walled.wait_until(lambda: answers(walled, CONSOLE), "the rule is in force")
    walled.succeed(
        f"orlop config set orlop.firewall.rules '[{{ports: {PUBLISHED}, to: containers, "
        "action: drop}]'"
    )
    assert not answers(walled, PUBLISHED)
    assert not answers(walled, CONSOLE)
    assert answers(walled, CONTAINER, timeout_s=60)
    assert guest.warnings(walled) == []
