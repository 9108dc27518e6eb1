"""VMware's guestinfo in cloud-init's form and in RancherOS's."""

import base64
import gzip
import json
from collections.abc import Mapping

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.cloud import vmware
from orlop.wire.cloud.conversation import NoAnswer, Request, Response
from tests.unit.wire.cloud.talk import AROUND, CONFIG, KEY, Pages, Serve, converse


def guest_pages(content: Mapping[str, str | bytes]) -> Serve:
    def serve(request: Request) -> Response:
        body = content.get(request.url.removeprefix("guestinfo:"))
        if body is None:
            return Response(404)
        return Response(200, body.encode() if isinstance(body, str) else body)

    return serve


def test_vmware() -> None:
    network = "{version: 2, ethernets: {eth0: {addresses: [192.0.2.9/24]}}}"
    meta_data = json.dumps(
        {
            "instance-id": "vm-1",
            "local-hostname": "ship",
            "public-keys": [KEY],
            "network": base64.b64encode(network.encode()).decode(),
            "network.encoding": "base64",
        }
    )
    content: Pages = {
        "metadata": base64.b64encode(gzip.compress(meta_data.encode())),
        "metadata.encoding": "gzip+base64",
        "userdata": base64.b64encode(CONFIG),
        "userdata.encoding": "b64",
    }
    answer = converse(vmware.converse(AROUND), guest_pages(content))
    assert (answer.instance_id, answer.hostname, answer.ssh_keys) == ("vm-1", "ship", (KEY,))
    assert answer.user_data == CONFIG
    assert answer.network == {
        "interfaces": {"eth0": {"addresses": ["192.0.2.9/24"], "dhcp": False}}
    }


def test_vmware_with_keys_of_rancheros() -> None:
    content: Pages = {
        "hostname": "ship",
        "dns.server.0": "192.0.2.53",
        "dns.domain.0": "a.example",
        "interface.0.name": "eth0",
        "interface.0.dhcp": "no",
        "interface.0.ip.0.address": "192.0.2.9/24",
        "interface.0.route.0.gateway": "192.0.2.1",
        "cloud-init.config.data": base64.b64encode(CONFIG),
        "cloud-init.data.encoding": "base64",
    }
    answer = converse(vmware.converse(AROUND), guest_pages(content))
    assert (answer.instance_id, answer.hostname) == ("uuid", "ship")
    assert answer.user_data == CONFIG
    assert answer.network == {
        "interfaces": {
            "eth0": {"addresses": ["192.0.2.9/24"], "dhcp": False, "gateway": "192.0.2.1"}
        },
        "nameservers": ["192.0.2.53"],
        "search": ["a.example"],
    }
    other: Pages = {"cloud-init.config.url": "http://192.0.2.1/c.yml"}
    answer = converse(vmware.converse(AROUND), guest_pages(other))
    assert answer.user_data == b"#include\nhttp://192.0.2.1/c.yml\n"


def test_vmware_with_nothing_and_with_nonsense() -> None:
    with pytest.raises(NoAnswer, match="has no guestinfo"):
        converse(vmware.converse(AROUND), guest_pages({"metadata": "---"}))
    for encoding in ("base64", "gzip+base64", "rot13"):
        content: Pages = {"userdata": "%%%", "userdata.encoding": encoding}
        with pytest.raises(InvalidArgument, match=encoding.replace("+", r"\+")):
            converse(vmware.converse(AROUND), guest_pages(content))
