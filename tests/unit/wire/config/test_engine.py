"""Defaults of the engine: what is accepted, and what RancherOS calls them."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import Json
from orlop.wire.config.document import Checked, check_document
from orlop.wire.located_yaml import parse_yaml


def check(text: str) -> Checked:
    return check_document(parse_yaml("e.yml", text))


def engine(text: str) -> dict[str, Json]:
    orlop = check(text).data["orlop"]
    assert isinstance(orlop, dict)
    found = orlop["engine"]
    assert isinstance(found, dict)
    return found


def test_normal_form() -> None:
    found = engine(
        "orlop: {engine: {default_ulimits: {nofile: 1024, nproc: {soft: 5, Hard: 6}, core: '-1'},"
        "log_options: {max-size: 10m, max-file: 3, compress: true}}}"
    )
    assert found["default_ulimits"] == {"nofile": "1024:1024", "nproc": "5:6", "core": "-1:-1"}
    assert found["log_options"] == {"max-size": "10m", "max-file": "3", "compress": "true"}


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("log_driver: journald", "must be one of json-file, local, syslog, none"),
        ("log_options: {max_size: 1m}", "unknown option of a log driver"),
        ("default_ulimits: {nofiles: 1}", "unknown limit"),
        ("default_ulimits: {nofile: many}", "must be a number"),
        ("default_ulimits: {nofile: '5:4'}", "the soft limit is above the hard one"),
        ("bridge_address: 172.30.0.1", "must be an address with its network"),
        ("address_pools: [{base: 10.0.0.1/8, size: 24}]", "must be an IPv4 network"),
        ("address_pools: [{base: 10.0.0.0/16, size: 8}]", "must be the prefix length of a part"),
        ("address_pools: [{base: 10.0.0.0/16}]", "must be the prefix length of a part"),
        ("userns_remap: default", "must be FIRST:COUNT"),
        ("labels: [rack]", "must be KEY=VALUE"),
        ("dns_options: ['a b']", "must be options of resolv.conf"),
    ],
)
def test_errors(value: str, problem: str) -> None:
    with pytest.raises(
        InvalidArgument, match=r"^e\.yml:3: configuration: orlop\.engine\."
    ) as caught:
        check(f"orlop:\n engine:\n  {value}\n")
    assert problem in str(caught.value)


RANCHER = """\
rancher:
  docker:
    log_driver: json-file
    log_opts: {max-size: 5m, max-file: "2"}
    bip: 172.31.0.1/16
    registry_mirror: https://mirror.example
    insecure_registry: [registry.example:5000]
    debug: true
    storage_driver: devicemapper
    live_restore: false
  registry_auths:
    https://index.docker.io/v1/: {auth: bWU6c2VjcmV0}
    registry.example:5000: {username: ann, password: geheim, email: a@b.example}
    other.example: {auth: "?"}
"""


def test_a_document_of_rancheros() -> None:
    assert engine(RANCHER) == {
        "log_driver": "json-file",
        "log_options": {"max-size": "5m", "max-file": "2"},
        "bridge_address": "172.31.0.1/16",
        "registry_mirrors": ["https://mirror.example"],
        "insecure_registries": ["registry.example:5000"],
        "debug": True,
        "registries": {
            "docker.io": {"username": "me", "password": "secret"},
            "registry.example:5000": {"username": "ann", "password": "geheim"},
        },
    }
    notices = check(RANCHER).notices
    ignored = [n.text.split(": configuration: ") for n in notices if n.ignored]
    assert [(place, text.split(": ")[0]) for place, text in ignored] == [
        ("e.yml:9", "rancher.docker.storage_driver"),
        ("e.yml:10", "rancher.docker.live_restore"),
        ("e.yml:14", "rancher.registry_auths.other.example"),
    ]
    assert "geheim" not in repr(notices)
