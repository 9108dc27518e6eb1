"""The cloud service as a process against a metadata service of ours, in network namespaces.

The machine is in one namespace; in the other, at the end of its cable, are 169.254.169.254 and the
other addresses of clouds.
"""

import base64
import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from orlop.services.cloud import guestinfo
from orlop.services.cloud.probe import hold
from orlop.wire.cloud import vmware
from orlop.wire.cloud.answer import Answer, decode, encode
from orlop.wire.cloud.conversation import NoAnswer, Surroundings
from tests.engine.services.namespaces import (
    NetworkNamespace,
    cable,
    network_namespace,
    running,
    wait_until,
)

pytestmark = [pytest.mark.engine, pytest.mark.root]

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[2]
MAC = "02:00:00:00:00:01"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt me"
CONFIG = "#cloud-config\nhostname: ship\n"
ADDRESSES = ("169.254.169.254", "168.63.129.16", "fd00:ec2::254", "192.0.2.1")
# What its definition grants: user 103, and nothing.
PRIVILEGES = ("--reuid=103", "--regid=103", "--clear-groups", "--bounding-set=-all")

type Pages = dict[str, dict[str, Any]]


class Machine:
    """A machine and, in *server*, what is beyond its cable."""

    def __init__(self, root: Path, client: NetworkNamespace, server: NetworkNamespace) -> None:
        self.root, self.client, self.server = root, client, server
        for name in ("cloud", "cache", "seed"):
            (root / name).mkdir()
            shutil.chown(root / name, 103, 103)
        self.log = root / "requests"

    def connect(self) -> None:
        """Give the machine an address and routes."""
        self.client.run("ip", "addr", "add", "192.0.2.7/24", "dev", "eth0")
        self.client.run("ip", "addr", "add", "fd00::7/64", "dev", "eth0", "nodad")
        self.client.run("ip", "route", "add", "default", "via", "192.0.2.1")
        self.client.run("ip", "-6", "route", "add", "default", "via", "fd00::1")

    def serve(self, pages: Pages) -> AbstractContextManager[object]:
        path = self.root / "pages.json"
        path.write_text(json.dumps(pages))
        program = str(HERE / "metadata_server.py")
        argv = [sys.executable, program, str(path), str(self.log), *ADDRESSES]
        return running(self.server.command(*argv), self.root / "server.log")

    def command(self, settings: dict[str, Any], late_s: float = 0.0) -> list[str]:
        """The service with its mounts and without privileges, asking no longer than it must."""
        (self.root / "config.json").write_text(json.dumps(settings))
        mounts = (
            "mount -t tmpfs none /run; mount -t tmpfs none /var/lib;"
            "mkdir -p /run/orlop/cloud /run/orlop/seed /var/lib/orlop/cloud;"
            f"mount --bind {self.root}/cloud /run/orlop/cloud;"
            f"mount --bind {self.root}/seed /run/orlop/seed;"
            f"mount --bind {self.root}/cache /var/lib/orlop/cloud;"
            f"cp {self.root}/config.json /run/; chmod a+r /run/config.json;"
        )
        probe_s = 2.0 if late_s else 4.0
        code = (
            f"import sys; sys.path.insert(0, '{REPOSITORY}/src');"
            "from orlop.services.cloud import main;"
            f"main.LATE_S, main.LATE_PAUSE_S, main.PROBE_S = {late_s}, 0.2, {probe_s};"
            "sys.exit(main.main([]))"
        )
        return self.client.command(
            *("unshare", "--mount", "sh", "-ec", mounts + 'exec "$@"', "sh"),
            *("setpriv", "--no-new-privs", *PRIVILEGES, sys.executable, "-I", "-c", code),
        )

    def ask(self, *sources: str, **settings: Any) -> Answer:
        """What the service writes down when it may ask *sources*."""
        argv = self.command({"sources": [*sources], "machine": "uuid", **settings})
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return self.answer()

    def answer(self) -> Answer:
        return decode((self.root / "cloud/answer.json").read_bytes())

    def requests(self) -> list[list[str]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        parent.chmod(0o755)
    with network_namespace() as client, network_namespace() as server:
        cable(client, "eth0", server, "s0")
        client.run("ip", "link", "set", "eth0", "address", MAC, "up")
        server.run("ip", "link", "set", "s0", "up")
        for address in (*ADDRESSES, "fd00::1"):
            length = "64" if address == "fd00::1" else "128" if ":" in address else "24"
            flags = ("nodad",) if ":" in address else ()
            server.run("ip", "addr", "add", f"{address}/{length}", "dev", "s0", *flags)
        yield Machine(tmp_path, client, server)


@pytest.fixture
def online(machine: Machine) -> Machine:
    machine.connect()
    return machine


EC2 = "/latest/meta-data"
TOKEN = {"X-aws-ec2-metadata-token": "TOKEN"}
EC2_PAGES: Pages = {
    "PUT /latest/api/token": {
        "body": "TOKEN",
        "headers": {"X-aws-ec2-metadata-token-ttl-seconds": "21600"},
    },
    f"GET {EC2}/instance-id": {"body": "i-1", "headers": TOKEN},
    f"GET {EC2}/local-hostname": {"body": "ip-192-0-2-7", "headers": TOKEN},
    f"GET {EC2}/public-keys/": {"body": "0=me", "headers": TOKEN},
    f"GET {EC2}/public-keys/0/openssh-key": {"body": KEY, "headers": TOKEN},
    f"GET {EC2}/network/interfaces/macs/": {"body": f"{MAC}/", "headers": TOKEN},
    f"GET {EC2}/network/interfaces/macs/{MAC}/local-ipv4s": {
        "body": "192.0.2.7\n192.0.2.8",
        "headers": TOKEN,
    },
    f"GET {EC2}/network/interfaces/macs/{MAC}/subnet-ipv4-cidr-block": {
        "body": "192.0.2.0/24",
        "headers": TOKEN,
    },
    "GET /latest/user-data": {
        "base64": base64.b64encode(gzip.compress(CONFIG.encode())).decode(),
        "headers": TOKEN,
    },
}


def test_ec2(online: Machine) -> None:
    with online.serve(EC2_PAGES):
        wait_until(online.log.exists, "server")
        answer = online.ask("ec2")
    assert (answer.source, answer.instance_id, answer.ssh_keys) == ("ec2", "i-1", (KEY,))
    assert gzip.decompress(answer.user_data).decode() == CONFIG
    assert answer.network == {"interfaces": {"eth0": {"addresses": ["192.0.2.8/24"], "dhcp": True}}}
    assert answer.machine == "uuid"
    assert (online.root / "cache/answer.json").read_bytes() == encode(answer)


def test_ec2_over_ipv6_only(machine: Machine) -> None:
    machine.client.run("ip", "addr", "add", "fd00::7/64", "dev", "eth0", "nodad")
    machine.client.run("ip", "-6", "route", "add", "default", "via", "fd00::1")
    with machine.serve(EC2_PAGES):
        wait_until(machine.log.exists, "server")
        answer = machine.ask("ec2")
        assert answer.instance_id == "i-1", answer.warnings


SERVICES: dict[str, Pages] = {
    "gce": {
        "GET /computeMetadata/v1/?recursive=true&alt=json": {
            "body": json.dumps(
                {
                    "instance": {
                        "id": 7,
                        "hostname": "cloud-name",
                        "attributes": {"ssh-keys": f"me:{KEY}", "user-data": CONFIG},
                    }
                }
            ),
            "headers": {"Metadata-Flavor": "Google"},
        }
    },
    "azure": {
        "GET /metadata/instance?api-version=2021-08-01&extended=true": {
            "body": json.dumps(
                {
                    "compute": {
                        "vmId": "7",
                        "osProfile": {"computerName": "cloud-name"},
                        "publicKeys": [{"keyData": KEY}],
                        "userData": base64.b64encode(CONFIG.encode()).decode(),
                    }
                }
            ),
            "headers": {"Metadata": "true"},
        },
        "GET /machine/?comp=goalstate": {
            "body": "<GoalState><Incarnation>1</Incarnation><Container><ContainerId>c</ContainerId>"
            "<InstanceId>i</InstanceId></Container></GoalState>",
            "headers": {"x-ms-version": "2012-11-30"},
        },
        "POST /machine?comp=health": {"body": "", "headers": {"x-ms-version": "2012-11-30"}},
    },
    "openstack": {
        "GET /openstack/latest/meta_data.json": {
            "body": json.dumps({"uuid": "7", "name": "cloud-name", "public_keys": {"me": KEY}})
        },
        "GET /openstack/latest/user_data": {"body": CONFIG},
    },
    "digitalocean": {
        "GET /metadata/v1.json": {
            "body": json.dumps(
                {
                    "droplet_id": 7,
                    "hostname": "cloud-name",
                    "public_keys": [KEY],
                    "user_data": CONFIG,
                }
            )
        }
    },
    "hetzner": {
        "GET /hetzner/v1/metadata": {
            "body": f"instance-id: 7\nhostname: cloud-name\npublic-keys: ['{KEY}']\n"
        },
        "GET /hetzner/v1/userdata": {"body": CONFIG},
    },
    "vultr": {
        "GET /v1.json": {
            "body": json.dumps(
                {
                    "instance-v2-id": "7",
                    "hostname": "cloud-name",
                    "public-keys": [KEY],
                    "user-data": CONFIG,
                }
            ),
            "headers": {"Metadata-Token": "cloudinit"},
        }
    },
}


@pytest.mark.parametrize("name", SERVICES)
def test_service(name: str, online: Machine) -> None:
    with online.serve(SERVICES[name]):
        wait_until(online.log.exists, "server")
        answer = online.ask(name)
    assert answer.source == name
    assert (answer.instance_id, answer.hostname) == ("7", "cloud-name")
    assert answer.ssh_keys == (KEY,)
    assert answer.user_data.decode().strip() == CONFIG.strip()
    assert answer.warnings == ()
    if name == "azure":
        (report,) = [body for method, _, body in online.requests() if method == "POST"]
        assert "<State>Ready</State>" in report


def test_azures_custom_data_is_kept(online: Machine) -> None:
    """The disk is there at the first boot only; user data is stronger."""
    pages: Pages = dict(SERVICES["azure"])
    path = "GET /metadata/instance?api-version=2021-08-01&extended=true"
    extended = {"compute": {"hasCustomData": True}}
    pages[path] = {"body": json.dumps({"compute": {"vmId": "7"}, "extended": extended})}
    disk = online.root / "seed/answer.json"
    disk.write_bytes(encode(Answer("azure", "uuid", user_data=b"custom")))
    with online.serve(pages):
        wait_until(online.log.exists, "server")
        first = online.ask("azure")
        disk.unlink()
        later = online.ask("azure")
    assert (first.instance_id, first.user_data, first.warnings) == ("7", b"custom", ())
    assert (later.instance_id, later.user_data, later.warnings) == ("7", b"custom", ())
    online.log.unlink()
    with online.serve(SERVICES["azure"]):
        wait_until(online.log.exists, "server")
        assert online.ask("azure").user_data.decode() == CONFIG


def test_all_at_once_and_the_one_that_is_there_counts(online: Machine) -> None:
    with online.serve(SERVICES["hetzner"]):
        wait_until(online.log.exists, "server")
        assert online.ask("ec2", *SERVICES).source == "hetzner"


def test_nocloud_at_a_url_and_what_it_includes(online: Machine) -> None:
    pages: Pages = {
        "GET /seed/meta-data": {"body": "instance-id: 7\nlocal-hostname: cloud-name\n"},
        "GET /seed/user-data": {
            "body": "#include\nhttp://192.0.2.1/a\nhttp://192.0.2.1/moved\nhttp://192.0.2.1/none\n"
        },
        "GET /seed/network-config": {
            "body": json.dumps(
                {"version": 2, "ethernets": {"e": {"match": {"macaddress": MAC}, "mtu": 1400}}}
            )
        },
        "GET /a": {"body": CONFIG},
        "GET /moved": {"body": "", "status": 302, "location": "/b"},
        "GET /b": {"body": "b"},
    }
    with online.serve(pages):
        wait_until(online.log.exists, "server")
        answer = online.ask("nocloud-net", seed={"seedfrom": "http://192.0.2.1/seed/"})
        assert (answer.source, answer.instance_id) == ("nocloud", "7")
        assert answer.network == {"interfaces": {"eth0": {"mtu": 1400}}}
        assert answer.included == {
            "http://192.0.2.1/a": CONFIG.encode(),
            "http://192.0.2.1/moved": b"b",
        }
        assert answer.warnings == ("cannot include http://192.0.2.1/none: status 404",)
        seed = Answer("configdrive", "8", user_data=b"#include\nhttp://192.0.2.1/a\n")
        (online.root / "seed/answer.json").write_bytes(encode(seed))
        answer = online.ask("seed")
        assert (answer.source, answer.instance_id) == ("configdrive", "8")
        assert answer.included == {"http://192.0.2.1/a": CONFIG.encode()}


@pytest.mark.parametrize("source", ["nocloud", "vmware"])
def test_includes_wait_for_the_network(machine: Machine, source: str) -> None:
    """What PID 1 has read from a disk stays in force; what VMware's host says is needed now."""
    seed = Answer(source, "8", "ship", user_data=b"#include\nhttp://192.0.2.1/a\n")
    (machine.root / "seed/answer.json").write_bytes(encode(seed))
    argv = machine.command({"sources": ["seed"]})
    with (
        machine.serve({"GET /a": {"body": CONFIG}}),
        running(argv, machine.root / "cloud.log") as service,
    ):
        wait_until(machine.log.exists, "server")
        wait_until(lambda: _listens_for_routes(machine.client), "waiting for the network")
        if source == "vmware":
            assert (machine.answer().hostname, machine.answer().user_data) == ("ship", b"")
        else:
            assert not (machine.root / "cloud/answer.json").exists()
        machine.connect()
        assert service.wait(30) == 0
    assert machine.answer().included == {"http://192.0.2.1/a": CONFIG.encode()}


def test_url(online: Machine) -> None:
    with online.serve({"GET /c.yml?x=1": {"body": CONFIG}}):
        wait_until(online.log.exists, "server")
        answer = online.ask("url", url="http://192.0.2.1/c.yml?x=1")
        assert (answer.source, answer.user_data.decode()) == ("url", CONFIG)


def test_the_network_comes_late(machine: Machine) -> None:
    argv = machine.command({"sources": ["hetzner"]})
    with (
        machine.serve(SERVICES["hetzner"]),
        running(argv, machine.root / "cloud.log") as service,
    ):
        wait_until(machine.log.exists, "server")
        # It listens for routes by then: nothing else in this namespace has such a socket.
        wait_until(lambda: _listens_for_routes(machine.client), "waiting for the network")
        machine.connect()
        assert service.wait(30) == 0
    assert machine.answer().instance_id == "7"


def _listens_for_routes(namespace: NetworkNamespace) -> bool:
    lines = namespace.run("cat", "/proc/self/net/netlink").splitlines()[1:]
    return any(fields[1] == "0" and int(fields[3], 16) for fields in map(str.split, lines))


def test_the_service_comes_late(online: Machine) -> None:
    argv = online.command({"sources": ["hetzner"]}, late_s=60.0)
    with running(argv, online.root / "cloud.log") as service:
        wait_until((online.root / "cloud/answer.json").exists, "a word that nobody answers")
        assert online.answer().source == ""
        assert "hetzner: " in online.answer().warnings[0]
        with online.serve(SERVICES["hetzner"]):
            assert service.wait(60) == 0
    assert online.answer().instance_id == "7"


def test_nobody_answers(online: Machine) -> None:
    # Silence, not refusal: what comes is dropped.
    online.server.run("ip", "addr", "del", "169.254.169.254/24", "dev", "s0")
    online.server.run("ip", "route", "add", "blackhole", "169.254.169.254")
    answer = online.ask("ec2", *SERVICES)
    assert answer.source == ""
    assert {warning.partition(":")[0] for warning in answer.warnings} == {"ec2", *SERVICES}
    assert not (online.root / "cache/answer.json").exists()


def test_a_cache_that_cannot_be_written_is_only_mentioned(online: Machine) -> None:
    shutil.chown(online.root / "cache", 0, 0)
    with online.serve(SERVICES["hetzner"]):
        wait_until(online.log.exists, "server")
        assert online.ask("hetzner").instance_id == "7"


@pytest.fixture(scope="module")
def backdoor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our program for VMware, linked with a host of ours that answers its `in` instructions."""
    program = tmp_path_factory.mktemp("vmware") / "vmware-guestinfo"
    sources = [REPOSITORY / "os/cloud/vmware-guestinfo.c", HERE / "vmware_host.c"]
    argv = ["gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", str(program), *map(str, sources)]
    subprocess.run(argv, check=True)
    return program


def test_vmware(backdoor: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = base64.b64encode(gzip.compress((CONFIG + "# " + "x" * 70_000).encode())).decode()
    values = f"metadata=instance-id: 7\nuserdata={long}\nuserdata.encoding=gzip+base64\n"
    wrapper = tmp_path / "ask"
    wrapper.write_text(f"#!/bin/sh\nGUESTINFO='{values}' exec {backdoor} \"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setattr(guestinfo, "PROGRAM", str(wrapper))
    answer = hold(vmware.converse(Surroundings()), 0.0)
    assert (answer.source, answer.instance_id) == ("vmware", "7")
    assert answer.user_data.startswith(CONFIG.encode())
    assert len(answer.user_data) > 70_000


def test_vmware_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "vmware-guestinfo"
    source = REPOSITORY / "os/cloud/vmware-guestinfo.c"
    subprocess.run(["gcc", "-o", str(program), str(source)], check=True)
    monkeypatch.setattr(guestinfo, "PROGRAM", str(program))
    with pytest.raises(NoAnswer, match="not a guest of VMware"):
        hold(vmware.converse(Surroundings()), 0.0)
