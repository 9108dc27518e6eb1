"""Each data source against what its service answers, and against services that do not."""

import base64
import gzip
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from orlop.lib.errors import OrlopError
from orlop.wire.cloud import (
    azure,
    config_url,
    digitalocean,
    ec2,
    gce,
    hetzner,
    nocloud,
    openstack,
    vmware,
    vultr,
)
from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import (
    Conversation,
    NoAnswer,
    Request,
    Response,
    Surroundings,
)
from tests.unit.wire.cloud.talk import (
    AROUND,
    CONFIG,
    KEY,
    Pages,
    Serve,
    broken,
    converse,
    pages,
    silent,
)

EC2: Pages = {
    "/latest/meta-data/instance-id": "i-0123456789abcdef0",
    "/latest/meta-data/local-hostname": "ip-10-0-0-5.ec2.internal",
    "/latest/meta-data/public-keys/": "0=mine\n1=other",
    "/latest/meta-data/public-keys/0/openssh-key": KEY + "\n",
    "/latest/meta-data/public-keys/1/openssh-key": KEY.replace(" me", " other"),
    "/latest/meta-data/network/interfaces/macs/": "02:00:00:00:00:01/\n02:00:00:00:00:02/\n",
    "/latest/meta-data/network/interfaces/macs/02:00:00:00:00:01/local-ipv4s": "10.0.0.5",
    "/latest/meta-data/network/interfaces/macs/02:00:00:00:00:02/local-ipv4s": (
        "10.0.1.5\n10.0.1.6\n10.0.1.7"
    ),
    "/latest/meta-data/network/interfaces/macs/02:00:00:00:00:02/subnet-ipv4-cidr-block": (
        "10.0.1.0/24"
    ),
    "/latest/user-data": CONFIG,
}


def imds(content: Mapping[str, str | bytes], token_status: int = 200) -> Serve:
    """As EC2 has it: without the token nothing but 401."""
    inner = pages(content)

    def serve(request: Request) -> Response:
        if request.url.endswith("/latest/api/token"):
            assert request.method == "PUT"
            assert int(request.headers["X-aws-ec2-metadata-token-ttl-seconds"]) > 0
            return Response(token_status, b"TOKEN" if token_status == 200 else b"")
        if token_status == 200 and request.headers.get("X-aws-ec2-metadata-token") != "TOKEN":
            return Response(401)
        return inner(request)

    return serve


def test_ec2() -> None:
    answer = converse(ec2.converse(AROUND), imds(EC2))
    assert answer == Answer(
        "ec2",
        "i-0123456789abcdef0",
        "ip-10-0-0-5.ec2.internal",
        (KEY, KEY.replace(" me", " other")),
        {"interfaces": {"eth1": {"addresses": ["10.0.1.6/24", "10.0.1.7/24"], "dhcp": True}}},
        CONFIG,
    )


def test_ec2_without_tokens_and_with_the_least() -> None:
    content: Pages = {"/latest/meta-data/instance-id": "i-1"}
    answer = converse(ec2.converse(AROUND), imds(content, token_status=404))
    assert answer == Answer("ec2", "i-1")


def test_ec2_switched_off_and_over_ipv6() -> None:
    with pytest.raises(NoAnswer, match="switched off"):
        converse(ec2.converse(AROUND), imds(EC2, token_status=403))
    seen: list[str] = []

    def serve(request: Request) -> Response:
        seen.append(request.url)
        return imds(EC2)(request)

    assert converse(ec2.converse(AROUND, ec2.BASES[1]), serve).instance_id.startswith("i-")
    assert all(url.startswith("http://[fd00:ec2::254]/latest/") for url in seen)


GCE: dict[str, Any] = {
    "instance": {
        "id": 4520031799277581759,
        "hostname": "ship.c.project.internal",
        "attributes": {"ssh-keys": f"me:{KEY}\nx:ssh-rsa A google-ssh {{}}", "user-data": "#!x"},
    },
    "project": {"attributes": {"ssh-keys": "you:ssh-ed25519 BBBB you"}},
}


def gce_pages(data: object) -> Serve:
    inner = pages({"/computeMetadata/v1/?recursive=true&alt=json": json.dumps(data)})

    def serve(request: Request) -> Response:
        assert request.headers["Metadata-Flavor"] == "Google"
        return inner(request)

    return serve


def test_gce() -> None:
    answer = converse(gce.converse(AROUND), gce_pages(GCE))
    assert answer.instance_id == "4520031799277581759"
    assert answer.hostname == "ship.c.project.internal"
    assert answer.ssh_keys == (KEY, "ssh-ed25519 BBBB you")
    assert answer.user_data == b"#!x"


def test_gce_that_forbids_keys_of_the_project() -> None:
    attributes = {
        "block-project-ssh-keys": "TRUE",
        "user-data": base64.b64encode(gzip.compress(CONFIG)).decode(),
        "user-data-encoding": "base64",
        "startup-script": "x",
    }
    data = {**GCE, "instance": {"id": 1, "attributes": attributes}}
    answer = converse(gce.converse(AROUND), gce_pages(data))
    assert answer.ssh_keys == ()
    assert gzip.decompress(answer.user_data) == CONFIG
    assert answer.warnings[0].startswith("startup-script is not run")


OPENSTACK: Pages = {
    "/openstack/latest/meta_data.json": json.dumps(
        {
            "uuid": "d8e02d56-2648-49a3-bf97-6be8f1204f38",
            "hostname": "ship.novalocal",
            "public_keys": {"mine": KEY + "\n"},
            "keys": [{"name": "mine", "type": "ssh", "data": KEY}, {"type": "x509", "data": "x"}],
        }
    ),
    "/openstack/latest/user_data": CONFIG,
    "/openstack/latest/network_data.json": json.dumps(
        {
            "links": [{"id": "a", "type": "phy", "ethernet_mac_address": "02:00:00:00:00:01"}],
            "networks": [{"link": "a", "type": "ipv4", "ip_address": "192.0.2.5", "netmask": "24"}],
        }
    ),
}


def test_openstack() -> None:
    answer = converse(openstack.converse(AROUND), pages(OPENSTACK))
    assert answer.source == "openstack"
    assert answer.instance_id == "d8e02d56-2648-49a3-bf97-6be8f1204f38"
    assert answer.hostname == "ship.novalocal"
    assert answer.ssh_keys == (KEY,)
    assert answer.user_data == CONFIG
    assert answer.network == {
        "interfaces": {"eth0": {"addresses": ["192.0.2.5/24"], "dhcp": False}}
    }


def test_config_drive_with_a_network_in_debians_form() -> None:
    data = {"uuid": "7", "network_config": {"content_path": "/content/0000"}}
    answer = openstack.parse("configdrive", json.dumps(data).encode(), b"", b"", {})
    assert answer.warnings == (
        "meta_data.json: network_config, in Debian's form, is not supported",
    )


DIGITALOCEAN: dict[str, Any] = {
    "droplet_id": 2756294,
    "hostname": "ship",
    "public_keys": [KEY],
    "user_data": CONFIG.decode(),
    "dns": {"nameservers": ["67.207.67.2"]},
    "interfaces": {
        "public": [
            {
                "mac": "02:00:00:00:00:01",
                "ipv4": {
                    "ip_address": "203.0.113.5",
                    "netmask": "255.255.240.0",
                    "gateway": "203.0.112.1",
                },
                "anchor_ipv4": {
                    "ip_address": "10.17.0.9",
                    "netmask": "255.255.0.0",
                    "gateway": "10.17.0.1",
                },
                "ipv6": {"ip_address": "2001:DB8::5", "cidr": 64, "gateway": "2001:DB8::1"},
            }
        ],
        "private": [
            {
                "mac": "02:00:00:00:00:02",
                "ipv4": {"ip_address": "10.1.0.5", "netmask": "255.255.0.0", "gateway": "10.1.0.1"},
            }
        ],
    },
}


def test_digitalocean() -> None:
    content: Pages = {"/metadata/v1.json": json.dumps(DIGITALOCEAN)}
    answer = converse(digitalocean.converse(AROUND), pages(content))
    assert (answer.instance_id, answer.hostname) == ("2756294", "ship")
    assert answer.network == {
        "interfaces": {
            "eth0": {
                "addresses": ["203.0.113.5/20", "2001:db8::5/64", "10.17.0.9/16"],
                "dhcp": False,
                "gateway": "203.0.112.1",
                "gateway6": "2001:DB8::1",
            },
            "eth1": {"addresses": ["10.1.0.5/16"], "dhcp": False},
        },
        "nameservers": ["67.207.67.2"],
    }


HETZNER = f"""\
hostname: ship
instance-id: 123456
network-config:
  version: 1
  config:
  - mac_address: 02:00:00:00:00:01
    name: eth0
    type: physical
    subnets:
    - {{ipv4: true, type: dhcp, dns_nameservers: [185.12.64.1]}}
    - {{ipv6: true, address: "2001:db8:1::1/64", gateway: "fe80::1"}}
public-keys:
- {KEY}
"""


def test_hetzner() -> None:
    encoded = base64.b64encode(gzip.compress(CONFIG))
    content: Pages = {"/hetzner/v1/metadata": HETZNER, "/hetzner/v1/userdata": encoded}
    answer = converse(hetzner.converse(AROUND), pages(content))
    assert (answer.instance_id, answer.hostname, answer.ssh_keys) == ("123456", "ship", (KEY,))
    assert gzip.decompress(answer.user_data) == CONFIG
    assert answer.network == {
        "interfaces": {
            "eth0": {"addresses": ["2001:db8:1::1/64"], "dhcp": True, "gateway6": "fe80::1"}
        },
        "nameservers": ["185.12.64.1"],
    }
    assert hetzner.parse(HETZNER.encode(), CONFIG, {}).user_data == CONFIG


def test_hetzner_of_another_machine() -> None:
    with pytest.raises(NoAnswer, match="instance 123456, this machine is 9"):
        hetzner.parse(HETZNER.encode(), b"", {}, serial="9")


VULTR: dict[str, Any] = {
    "instance-v2-id": "29bea708",
    "hostname": "ship",
    "public-keys": [KEY + "\n" + KEY.replace(" me", " you")],
    "user-data": CONFIG.decode(),
    "interfaces": [
        {
            "mac": "02:00:00:00:00:01",
            "ipv4": {
                "additional": [{"address": "203.0.113.9", "netmask": "255.255.255.255"}],
                "address": "203.0.113.5",
                "netmask": "255.255.254.0",
            },
            "ipv6": {"additional": [{"network": "2001:db8:2::", "prefix": "64"}]},
        },
        {
            "mac": "02:00:00:00:00:02",
            "ipv4": {"additional": [], "address": "10.1.112.3", "netmask": "255.255.240.0"},
            "ipv6": {"additional": [], "network": "", "prefix": ""},
        },
    ],
}


def test_vultr() -> None:
    answer = converse(vultr.converse(AROUND), pages({"/v1.json": json.dumps(VULTR)}))
    assert (answer.instance_id, answer.hostname) == ("29bea708", "ship")
    assert answer.ssh_keys == (KEY, KEY.replace(" me", " you"))
    assert answer.network == {
        "interfaces": {
            "eth0": {"addresses": ["203.0.113.9/32", "2001:db8:2::/64"], "dhcp": True},
            "eth1": {"addresses": ["10.1.112.3/20"], "dhcp": False},
        }
    }
    assert vultr.parse(json.dumps({**VULTR, "user-data": []}).encode(), {}).user_data == b""


AZURE: dict[str, Any] = {
    "compute": {
        "vmId": "02AAB8A4-74EF-476E-8182-F6D2BA4166A6",
        "name": "vm",
        "osProfile": {"computerName": "ship", "adminUsername": "me"},
        "publicKeys": [{"keyData": KEY.replace(" me", "\r\n"), "path": "/home/me/.ssh"}],
        "userData": base64.b64encode(CONFIG).decode(),
    },
    "network": {
        "interface": [
            {
                "macAddress": "020000000001",
                "ipv4": {
                    "ipAddress": [
                        {"privateIpAddress": "10.0.0.4", "publicIpAddress": ""},
                        {"privateIpAddress": "10.0.0.5"},
                    ],
                    "subnet": [{"address": "10.0.0.0", "prefix": "24"}],
                },
            }
        ]
    },
}


def test_azure() -> None:
    path = "/metadata/instance?api-version=2021-08-01&extended=true"
    inner = pages({path: json.dumps(AZURE)})

    def serve(request: Request) -> Response:
        assert request.headers["Metadata"] == "true"
        return inner(request)

    answer = converse(azure.converse(AROUND), serve)
    assert answer.instance_id == "02aab8a4-74ef-476e-8182-f6d2ba4166a6"
    assert answer.hostname == "ship"
    assert answer.ssh_keys == (KEY.removesuffix(" me"),)
    assert answer.user_data == CONFIG
    assert answer.network == {"interfaces": {"eth0": {"addresses": ["10.0.0.5/24"], "dhcp": True}}}


def test_azure_with_custom_data() -> None:
    data = {"compute": {"vmId": "x"}, "extended": {"compute": {"hasCustomData": True}}}
    answer = azure.parse(json.dumps(data).encode(), {})
    assert answer.warnings == (azure.NO_CUSTOM_DATA,)


GOAL_STATE = """<?xml version="1.0" encoding="utf-8"?>
<GoalState xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
  <Version>2012-11-30</Version><Incarnation>1</Incarnation>
  <Container><ContainerId>1a2b-3c</ContainerId><RoleInstanceList><RoleInstance>
    <InstanceId>7f8e.ship</InstanceId><State>Started</State>
  </RoleInstance></RoleInstanceList></Container></GoalState>"""


def test_azure_is_told_that_the_machine_has_started() -> None:
    told: list[bytes] = []

    def serve(request: Request) -> Response:
        assert request.headers["x-ms-version"] == "2012-11-30"
        if request.method == "POST":
            assert request.url == "http://168.63.129.16/machine?comp=health"
            told.append(request.body)
            return Response(200)
        return Response(200, GOAL_STATE.encode())

    report = azure.report_ready()
    posted = report.send(serve(next(report)))
    with pytest.raises(StopIteration):
        report.send(serve(posted))
    (body,) = told
    assert b"<GoalStateIncarnation>1</GoalStateIncarnation>" in body
    assert b"<ContainerId>1a2b-3c</ContainerId>" in body
    assert b"<InstanceId>7f8e.ship</InstanceId><Health><State>Ready</State>" in body


@pytest.mark.parametrize("state", [b"", b"<Incarnation>1</Incarnation>", b"<Incarnation>&x;"])
def test_azure_goal_states_that_are_none(state: bytes) -> None:
    report = azure.report_ready()
    next(report)
    with pytest.raises(NoAnswer, match="goal state has no"):
        report.send(Response(200, state))


def test_nocloud_over_the_network() -> None:
    seed = {"seedfrom": "http://192.0.2.1/seed/", "local-hostname": "stronger"}
    around = Surroundings(interfaces=AROUND.interfaces, kernel_seed=seed)
    content: Pages = {
        "/seed/meta-data": f"instance-id: i1\nlocal-hostname: ship\npublic-keys: [{KEY}]\n",
        "/seed/user-data": CONFIG,
        "/seed/network-config": "{version: 2, ethernets: {eth0: {addresses: [192.0.2.9/24]}}}",
    }
    answer = converse(nocloud.converse(around), pages(content))
    assert (answer.instance_id, answer.hostname, answer.ssh_keys) == ("i1", "stronger", (KEY,))
    assert answer.network["interfaces"] == {"eth0": {"addresses": ["192.0.2.9/24"], "dhcp": False}}
    with pytest.raises(NoAnswer, match="neither meta-data nor user-data"):
        converse(nocloud.converse(around), pages({}))
    with pytest.raises(NoAnswer, match="is no http"):
        next(nocloud.converse(Surroundings(kernel_seed={"seedfrom": "file:///x"})))


@pytest.mark.parametrize("keys", [f"[{KEY}]", f'"{KEY}"', f"{{a: {KEY}}}", f"{{a: [{KEY}]}}"])
def test_nocloud_keys_in_every_form(keys: str) -> None:
    assert nocloud.parse(f"public-keys: {keys}".encode(), b"", b"", {}).ssh_keys == (KEY,)


def test_nocloud_files_count_each_alone() -> None:
    answer = nocloud.parse(b"local-hostname: [", CONFIG, b"version: 2\n\xff", {})
    assert answer.user_data == CONFIG
    assert answer.instance_id == "nocloud"
    assert answer.warnings[0].startswith("meta-data:1:")
    assert answer.warnings[1] == "network-config: not a text in UTF-8"


def test_a_url() -> None:
    around = Surroundings(config_url="https://a.example/c.yml", machine="uuid")
    answer = converse(config_url.converse(around), pages({"/c.yml": CONFIG}))
    assert (answer.source, answer.instance_id, answer.user_data) == ("url", "uuid", CONFIG)


ALL: dict[str, Callable[[Surroundings], Conversation]] = {
    "azure": azure.converse,
    "digitalocean": digitalocean.converse,
    "ec2": ec2.converse,
    "gce": gce.converse,
    "hetzner": hetzner.converse,
    "openstack": openstack.converse,
    "vmware": vmware.converse,
    "vultr": vultr.converse,
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("serve", [silent, broken, pages({})], ids=["silent", "500", "404"])
def test_a_service_that_is_not_there(name: str, serve: Serve) -> None:
    with pytest.raises(NoAnswer):
        converse(ALL[name](AROUND), serve)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b"\xff", b"[" * 100_000, b"<html>login</html>"],
    ids=["nothing", "brace", "list", "null", "object", "bytes", "deep", "page"],
)
def test_a_service_that_answers_nonsense(name: str, body: bytes) -> None:
    """A captive portal answers everything with a page. guestinfo may have any text as a value."""
    try:
        answer = converse(ALL[name](AROUND), lambda _: Response(200, body))
    except OrlopError:
        return
    assert (name == "ec2" and body == b"null") or name == "vmware"
    assert answer.network == {}


@pytest.mark.parametrize(
    ("parse", "document"),
    [
        (lambda data: digitalocean.parse(data, {}), DIGITALOCEAN),
        (lambda data: vultr.parse(data, {}), VULTR),
        (lambda data: azure.parse(data, {}), AZURE),
        (gce.parse, GCE),
    ],
    ids=["digitalocean", "vultr", "azure", "gce"],
)
def test_documents_with_any_type_anywhere(
    parse: Callable[[bytes], Answer], document: dict[str, Any]
) -> None:
    for variant in variants(document):
        try:
            parse(json.dumps(variant).encode())
        except OrlopError:
            pass


def variants(value: Any) -> list[Any]:
    """*value* with each thing in it, once, replaced by something of another type."""
    found: list[Any] = [None, [], {}, "x", 7, True]
    if isinstance(value, dict):
        found += [{**value, key: other} for key, item in value.items() for other in variants(item)]
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += [[*value[:index], other, *value[index + 1 :]] for other in variants(item)]
    return found
