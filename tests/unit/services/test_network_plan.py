"""From the network's configuration to dhcpcd's, and what the hook makes of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orlop.services.network.main import dhcpcd_arguments, write_plan
from orlop.services.network.plan import plan

HOOK = Path("os/services/network/rootfs/usr/lib/orlop/network-hook")


def configuration(settings: dict[str, object]) -> list[str]:
    return plan(settings).files["dhcpcd.conf"].splitlines()


def test_without_configuration_everything_is_automatic() -> None:
    lines = configuration({})
    assert not [line for line in lines if line.startswith("interface ")]
    assert "nodelay" in lines
    assert "persistent" in lines
    assert set(plan({}).files) == {"dhcpcd.conf", "configured-dns"}


def test_containers_ends_are_left_alone() -> None:
    (line,) = [line for line in configuration({}) if line.startswith("denyinterfaces ")]
    assert {"lo", "veth*", "docker*", "br-*"} <= set(line.split()[1:])


def test_static_interface() -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "eth0": {
                "addresses": ["192.0.2.7/24", "2001:db8::7/64"],
                "gateway": "192.0.2.1",
                "gateway6": "fe80::1",
                "mtu": 9000,
            }
        }
    }
    assert configuration(settings)[-4:] == ["interface eth0", "noipv4", "noipv6rs", "nodhcp6"]
    assert plan(settings).files["static/eth0"].splitlines() == [
        "only",
        "mtu 9000",
        "address 192.0.2.7/24",
        "address 2001:db8::7/64",
        "gateway 192.0.2.1",
        "gateway fe80::1",
    ]


def test_dhcp_with_an_address_besides() -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "eth0": {"dhcp": True, "addresses": ["192.0.2.7/24"]},
            "eth1": {"dhcp": False},
        }
    }
    assert plan(settings).files["static/eth0"] == "address 192.0.2.7/24\n"
    assert plan(settings).files["static/eth1"] == "only\n"
    assert configuration(settings)[-5:] == [
        *("interface eth0", "interface eth1"),
        *("noipv4", "noipv6rs", "nodhcp6"),
    ]


def test_what_is_no_setting_makes_no_line() -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "eth0\nscript /tmp/x": {},
            "eth1": {"addresses": ["1.2.3.4/24; reboot", 7], "gateway": "$(reboot)", "mtu": True},
            "eth2": "yes",
        },
        "nameservers": ["192.0.2.53\nx"],
        "search": [".", "ok.example"],
    }
    files = plan(settings).files
    assert files["static/eth1"] == "only\n"
    assert "reboot" not in "".join(files.values())
    assert files["dhcpcd.conf"].count("script ") == 1
    assert files["configured-dns"] == "search ok.example\n"


def test_files_of_a_former_configuration_go(tmp_path: Path) -> None:
    first: dict[str, object] = {
        "interfaces": {"eth0": {"addresses": ["192.0.2.7/24"]}},
        "hostname": "a",
    }
    write_plan(plan(first), str(tmp_path))
    assert (tmp_path / "static/eth0").exists()
    assert (tmp_path / "hostname-configured").exists()
    write_plan(plan({}), str(tmp_path))
    assert not (tmp_path / "static/eth0").exists()
    assert not (tmp_path / "hostname-configured").exists()


def test_arguments() -> None:
    assert dhcpcd_arguments("/x")[1:] == ["--nobackground", "--quiet", "--config", "/x/dhcpcd.conf"]


class Hook:
    """Runs the hook as dhcpcd does, with directories of the test's."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.own, self.shared = root / "own", root / "shared"
        for directory in (self.own / "static", self.shared / "etc", self.shared / "network"):
            directory.mkdir(parents=True)
        (root / "bin").mkdir()
        for name in ("mv", "rm", "mkdir"):
            tool = shutil.which(name)
            assert tool is not None
            (root / "bin" / name).symlink_to(tool)
        (root / "bin/ip").write_text(f'#!/bin/sh\necho "$*" >>{root}/ip-calls\n')
        (root / "bin/ip").chmod(0o755)
        self.script = root / "hook"
        text = HOOK.read_text().replace("PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"PATH={root}/bin")
        self.script.write_text(text)

    def __call__(self, reason: str, interface: str = "eth0", **variables: str) -> None:
        directories = {"ORLOP_NETWORK_DIR": str(self.own), "ORLOP_SHARED_DIR": str(self.shared)}
        environment = {"interface": interface, "reason": reason, **directories, **variables}
        subprocess.run(["/bin/sh", str(self.script)], env=environment, check=True)

    @property
    def resolv_conf(self) -> list[str]:
        return (self.shared / "etc/resolv.conf").read_text().splitlines()

    @property
    def ip_calls(self) -> list[str]:
        return (self.root / "ip-calls").read_text().splitlines()


@pytest.fixture
def hook(tmp_path: Path) -> Hook:
    return Hook(tmp_path)


def test_servers_of_all_interfaces_come_together_and_go(hook: Hook) -> None:
    hook("BOUND", new_domain_name_servers="10.0.0.1 10.0.0.2", new_domain_name="a.example")
    hook("BOUND6", new_dhcp6_name_servers="fd00::1", new_dhcp6_domain_search="a.example b.example.")
    hook("ROUTERADVERT", "eth1", nd1_rdnss1_servers="fd00::1 fe80::1%eth1")
    # Three is what C libraries use.
    assert hook.resolv_conf == [
        "nameserver 10.0.0.1",
        "nameserver 10.0.0.2",
        "nameserver fd00::1",
        "search a.example b.example",
    ]
    hook("EXPIRE")
    assert hook.resolv_conf[0] == "nameserver fd00::1"
    hook("NOCARRIER")
    assert hook.resolv_conf == ["nameserver fd00::1", "nameserver fe80::1%eth1"]
    hook("NOCARRIER", "eth1")
    assert hook.resolv_conf == []


def test_configured_servers_are_the_only_ones(hook: Hook) -> None:
    (hook.own / "configured-dns").write_text("nameserver 192.0.2.53\n")
    hook("BOUND", new_domain_name_servers="10.0.0.1", new_domain_name="a.example")
    assert hook.resolv_conf == ["nameserver 192.0.2.53", "search a.example"]


def test_what_the_network_says_is_not_believed(hook: Hook) -> None:
    hook(
        "BOUND",
        new_domain_name_servers="10.0.0.1 $(touch${IFS}x) ;reboot ../x * 10.0.0.2\noptions",
        new_domain_name="a.example;x `id` -x ..",
        new_host_name="$(id)",
        new_ntp_servers="10.0.0.9 * pool;x",
    )
    assert hook.resolv_conf == ["nameserver 10.0.0.1", "nameserver 10.0.0.2"]
    assert not (hook.shared / "network/hostname").exists()
    assert (hook.shared / "network/ntp-servers").read_text() == "10.0.0.9\n"


@pytest.mark.parametrize("interface", ["../x", "a/b", "", "eth0;x", "."])
def test_odd_interfaces_are_nothing(hook: Hook, interface: str) -> None:
    hook("BOUND", interface, new_domain_name_servers="10.0.0.1")
    assert not (hook.shared / "etc/resolv.conf").exists()


def test_host_name_of_a_lease(hook: Hook) -> None:
    hook("BOUND", new_host_name="web7.example.org")
    assert (hook.shared / "network/hostname").read_text() == "web7\n"
    (hook.own / "hostname-configured").write_text("")
    hook("RENEW", new_host_name="other")
    assert (hook.shared / "network/hostname").read_text() == "web7\n"


def test_static_addresses(hook: Hook) -> None:
    lines = ["only", "mtu 1400", "address 192.0.2.7/24", "address fd00::7/64"]
    lines += ["gateway 192.0.2.1", "gateway fd00::1", ""]
    (hook.own / "static/eth0").write_text("\n".join(lines))
    hook("CARRIER")
    assert hook.ip_calls == [
        "link set dev eth0 mtu 1400",
        "-o addr show dev eth0 scope global",
        "addr replace 192.0.2.7/24 dev eth0",
        "addr replace fd00::7/64 dev eth0",
        "-4 route replace default via 192.0.2.1 dev eth0",
        "-6 route replace default via fd00::1 dev eth0",
    ]


def test_unchanged_files_are_not_written_again(hook: Hook) -> None:
    hook("BOUND", new_domain_name_servers="10.0.0.1")
    path = hook.shared / "etc/resolv.conf"
    before = os.stat(path)
    hook("RENEW", new_domain_name_servers="10.0.0.1")
    assert os.stat(path).st_ino == before.st_ino
