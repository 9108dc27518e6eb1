"""Containers that are on the machine's own wire: macvlan and ipvlan, with and without a VLAN.

At the other end of the second interface's cable is a namespace of this host.
"""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from orlop.lib.errors import OrlopError
from orlop.vm.machine import Machine
from orlop.vm.spec import LinkNet
from tests.engine.services.namespaces import NetworkNamespace, network_namespace
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.vm import cable_peer, guest
from tests.vm.lab import SSH_PUBLISHED, Lab
from tests.vm.test_docker_cli import docker
from tests.vm.test_user_engine import user_api

IMAGE = "busybox:test"
VLAN = 10
PARENT, PARENT_ADDRESS = "eth1", "192.0.2.1"
PEER, TAGGED_PEER = "192.0.2.2", "198.51.100.2"


@dataclass(frozen=True, slots=True)
class Case:
    """A network, a free address in it, and who is reached from there."""

    driver: str
    parent: str
    options: tuple[str, ...]
    subnet: str
    address: str
    peer: str


PLAIN, TAGGED = "192.0.2.0/24", "198.51.100.0/24"
TAGGED_PARENT = f"{PARENT}.{VLAN}"
CASES = {
    "macvlan": Case("macvlan", PARENT, (), PLAIN, "192.0.2.10", PEER),
    "ipvlan l2": Case("ipvlan", PARENT, ("-o", "ipvlan_mode=l2"), PLAIN, "192.0.2.20", PEER),
    "ipvlan l3": Case(
        "ipvlan", PARENT, ("-o", "ipvlan_mode=l3"), "203.0.113.0/24", "203.0.113.30", PEER
    ),
    "macvlan on a VLAN": Case("macvlan", TAGGED_PARENT, (), TAGGED, "198.51.100.40", TAGGED_PEER),
    "ipvlan on a VLAN": Case("ipvlan", TAGGED_PARENT, (), TAGGED, "198.51.100.50", TAGGED_PEER),
}


@dataclass(frozen=True, slots=True)
class Wired:
    """A machine, `DOCKER_HOST` of its engine, and who is at the other end of its cable."""

    machine: Machine
    host: str
    peer: NetworkNamespace


@contextlib.contextmanager
def peer_on(cable: LinkNet) -> Iterator[NetworkNamespace]:
    """A namespace with addresses at the other end of a machine's *cable*."""
    with network_namespace() as peer:
        words = (cable_peer.__file__, str(cable.remote), str(cable.local), str(VLAN))
        argv = peer.command(sys.executable, *words)
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == b"ready\n"
                for name, address in (("plain", PEER), ("tagged", TAGGED_PEER)):
                    peer.run("ip", "address", "add", f"{address}/24", "dev", name)
                    peer.run("ip", "link", "set", name, "up")
                # Containers of an ipvlan in mode l3 are behind the machine.
                peer.run("ip", "route", "add", CASES["ipvlan l3"].subnet, "via", PARENT_ADDRESS)
                yield peer
            finally:
                process.kill()


@pytest.fixture(scope="module")
def wired(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wired]:
    archive = tmp_path_factory.mktemp("archive") / "busybox.tar"
    archive.write_bytes(docker_archive([busybox_layer()], tags=[IMAGE]))
    cable = LinkNet(lab.scratch / "wired", lab.scratch / "peer", "52:54:00:00:00:0c")
    interface = {"addresses": [f"{PARENT_ADDRESS}/24"]}
    config: dict[str, object] = {"orlop": {"network": {"interfaces": {PARENT: interface}}}}
    with (
        peer_on(cable) as peer,
        lab.machine(
            lab.kernel(), "wired", key=True, nics=(SSH_PUBLISHED, cable), config=config
        ) as machine,
    ):
        machine.boot()
        guest.wait_for_services(machine)
        with user_api(machine) as host:
            docker(host, "load", "-i", str(archive))
            yield Wired(machine, host, peer)


@pytest.mark.parametrize("name", CASES)
def test_container_and_the_world_reach_each_other(wired: Wired, name: str) -> None:
    case, host = CASES[name], wired.host
    links = interfaces(wired.machine)
    words = ("-d", case.driver, "-o", f"parent={case.parent}", "--subnet", case.subnet)
    docker(host, "network", "create", *words, *case.options, "wired")
    try:
        assert case.parent in interfaces(wired.machine)
        on_wire = ("run", "-d", "--network", "wired")
        docker(host, *on_wire, "--ip", case.address, "--name", "one", IMAGE, "sleep", "100000")
        docker(host, *on_wire, "--name", "two", IMAGE, "sleep", "100000")
        ping = ("busybox", "ping", "-c", "1", "-W", "20")
        docker(host, "exec", "one", *ping, case.peer)
        docker(host, "exec", "two", *ping, "one")
        wired.peer.run("ping", "-c", "1", "-W", "20", case.address)
    finally:
        with contextlib.suppress(OrlopError):
            docker(host, "rm", "-f", "one", "two")
        docker(host, "network", "rm", "wired")
    assert interfaces(wired.machine) == links


def interfaces(machine: Machine) -> set[str]:
    """The machine's network interfaces."""
    listed = machine.succeed("ls /sys/class/net")
    return set(listed.split())
