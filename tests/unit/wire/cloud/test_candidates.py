"""Which sources are plausible on which machine."""

import pytest

from orlop.wire.cloud.candidates import allows, choose, kernel_seed, parse_names, wanted_names

MACHINES = {
    "azure": {"chassis_asset_tag": "7783-7084-3265-9085-8269-3286-77"},
    "digitalocean": {"sys_vendor": "DigitalOcean"},
    "ec2": {"sys_vendor": "Amazon EC2", "product_uuid": "ec2f0000"},
    "gce": {"product_name": "Google Compute Engine"},
    "hetzner": {"sys_vendor": "Hetzner", "product_serial": "1"},
    "openstack": {"product_name": "OpenStack Nova"},
    "vmware": {"sys_vendor": "VMware, Inc.", "product_name": "VMware7,1"},
    "vultr": {"sys_vendor": "Vultr"},
}
OWN = {"sys_vendor": "QEMU", "product_name": "Standard PC", "chassis_asset_tag": ""}


@pytest.mark.parametrize("name", MACHINES)
def test_firmware(name: str) -> None:
    assert choose(MACHINES[name], []).network == (name,)


def test_a_machine_of_ones_own_asks_nobody() -> None:
    assert choose(OWN, [("quiet", None), ("root", "x")]).network == ()
    assert choose({}, []).network == ()


def test_older_instances_of_ec2() -> None:
    xen = {"sys_vendor": "Xen", "product_serial": "ec2e1916-9099-7caf-fd21-012345abcdef"}
    assert choose(xen, []).network == ("ec2",)


def test_names_choose_and_switch_off() -> None:
    assert choose(MACHINES["ec2"], [], ()).network == ()
    assert choose(MACHINES["ec2"], [], ("gce",)).network == ("gce",)
    assert choose(OWN, [], ("openstack", "nocloud", "url")).network == ("openstack",)
    found = choose(OWN, [], ("url",), "http://a/b")
    assert (found.network, found.url) == (("url",), "http://a/b")


@pytest.mark.parametrize("key", ["orlop.config.url", "cloud-config-url"])
def test_url_on_the_command_line(key: str) -> None:
    found = choose(OWN, [(key, "http://a/b")])
    assert (found.network, found.url) == (("url",), "http://a/b")
    assert choose(OWN, [(key, "http://a/b")], ()).network == ()


def test_nocloud_on_the_command_line_and_as_serial() -> None:
    found = choose(OWN, [("ds", "nocloud;s=http://10.0.2.2:8000/;h=ship;i=one")])
    assert found.network == ("nocloud-net",)
    assert found.seed == {
        "seedfrom": "http://10.0.2.2:8000/",
        "local-hostname": "ship",
        "instance-id": "one",
    }
    serial = {"product_serial": "ds=nocloud-net;s=http://a/"}
    assert choose(serial, []).network == ("nocloud-net",)
    assert choose(OWN, [("ds", "nocloud")]).network == ()
    assert kernel_seed([("ds", r"nocloud\;seedfrom=http://a/")], "") == {"seedfrom": "http://a/"}
    assert kernel_seed([("ds", "ec2;s=x"), ("ds", None)], "x") == {}


def test_names() -> None:
    assert parse_names(["ec2", "gce", "ec2"]) == (("ec2", "gce"), "")
    assert parse_names(["configdrive:/media/config-2", "url:http://a/b", "packet"]) == (
        ("configdrive", "url"),
        "http://a/b",
    )
    assert parse_names(["proxmox", "*", "none", ""]) == (("nocloud", "auto"), "")
    with pytest.raises(ValueError, match="'ec3' is no data source"):
        parse_names(["ec3"])
    with pytest.raises(ValueError, match="must be http"):
        parse_names(["url:file:///x"])


def test_what_the_configuration_wants() -> None:
    assert wanted_names({}) == wanted_names({"orlop": {"cloud": None}}) == (("auto",), "")
    assert wanted_names({"orlop": {"cloud": {"datasources": []}}}) == ((), "")


def test_allows() -> None:
    assert allows(("auto",), "ec2")
    assert allows(("nocloud",), "nocloud")
    assert not allows((), "ec2")
    assert not allows(("gce",), "ec2")
