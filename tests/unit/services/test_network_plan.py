"""From the network's configuration to dhcpcd's, and what the hook makes of it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from orlop.services.network.main import dhcpcd_arguments, write_plan
from orlop.services.network.plan import Plan
from orlop.services.network.plan import plan as make_plan
from orlop.services.network.wanted import interpret

HOOK = Path("os/services/network/rootfs/usr/lib/orlop/network-hook")


def plan(settings: dict[str, object]) -> Plan:
    """On a machine of which nothing is known yet."""
    return make_plan(settings, interpret(settings, []))


def configuration(settings: dict[str, object]) -> list[str]:
    return plan(settings).files["dhcpcd.conf"].splitlines()


def test_without_configuration_everything_is_automatic() -> None:
    lines = configuration({})
    assert not [line for line in lines if line.startswith("interface ")]
    assert "nodelay" in lines
    assert "persistent" in lines
    assert {"noarp", "noipv4ll"} <= set(lines)
    assert make_plan({}) == plan({})
    assert plan({}).files["awaited"] == ""
    assert set(plan({}).files) == {"dhcpcd.conf", "configured-dns", "awaited"}


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
    assert plan(settings).files["static/eth0"] == ""
    assert plan(settings).files["awaited"] == "eth0\n"


def test_dhcp_with_an_address_besides() -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "eth0": {"dhcp": True, "addresses": ["192.0.2.7/24"]},
            "eth1": {"dhcp": False},
        }
    }
    assert "static/eth0" in plan(settings).files
    assert "static/eth1" not in plan(settings).files
    assert plan(settings).files["awaited"] == "eth0\n"
    assert configuration(settings)[-5:] == [
        *("interface eth0", "interface eth1"),
        *("noipv4", "noipv6rs", "nodhcp6"),
    ]


def test_what_is_no_setting_makes_no_line() -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "eth0\nscript /tmp/x": {},
            "eth1": {"addresses": ["1.2.3.4/24; reboot", 7], "mtu": True},
            "eth2": "yes",
        },
        "nameservers": ["192.0.2.53\nx"],
        "search": [".", "ok.example"],
    }
    files = plan(settings).files
    assert not any(name.startswith("static/") for name in files)
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


def test_interfaces_that_were_not_there_are_seen_to(hook: Hook, tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho "$@" >>{calls}\n')
    program.chmod(0o755)
    index = Path("/sys/class/net/lo/ifindex").read_text()

    def call(reason: str) -> None:
        hook(reason, "lo", ORLOP_NETWORK_PROGRAM=str(program))

    call("PREINIT")
    assert not calls.exists()  # nothing is configured
    (hook.own / "configured").write_text("")
    call("PREINIT")
    assert calls.read_text() == "apply\n"
    (hook.own / "seen").mkdir()
    (hook.own / "seen/lo").write_text(index)
    call("PREINIT")
    call("CARRIER")
    assert calls.read_text() == "apply\n"
    call("NOCARRIER")
    call("CARRIER")
    assert calls.read_text() == "apply\napply\n"


def test_the_machine_is_online_when_all_that_counts_is_there(hook: Hook) -> None:
    (hook.own / "awaited").write_text("eth0\neth1\n")
    (hook.own / "static/eth1").write_text("")
    online = hook.shared / "network/online"
    hook("BOUND", new_ip_address="192.0.2.9", new_subnet_cidr="24")
    hook("CARRIER", "eth2")
    assert not online.exists()
    hook("CARRIER", "eth1")
    assert online.exists()
    assert (hook.shared / "network/lease-eth0").read_text() == "192.0.2.9/24\n"


def test_an_address_of_any_interface_will_do_if_none_is_named(hook: Hook) -> None:
    (hook.own / "awaited").write_text("")
    hook("ROUTERADVERT", nd1_rdnss1_servers="fd00::1")
    assert not (hook.shared / "network/online").exists()
    hook("ROUTERADVERT", nd1_addr1="fd00::7")
    assert (hook.shared / "network/online").exists()


def test_ways_to_ask(tmp_path: Path) -> None:
    settings: dict[str, object] = {
        "interfaces": {
            "eth0": {"dhcp": False, "ra": True, "metric": 7},
            "eth1": {"dhcp": False, "dhcp6": True},
            "eth2": {"ipv4ll": True, "dhcp": False},
            "eth3": {"bond": "bond0"},
            "bond0": {"optional": True},
        }
    }
    lines = configuration(settings)
    assert "bond*" not in next(line for line in lines if line.startswith("denyinterfaces"))
    blocks = "\n".join(lines).split("interface ")[1:]
    assert [block.split() for block in blocks] == [
        ["bond0", "noarp", "noipv4ll"],
        ["eth0", "noipv4", "nodhcp6", "metric", "7", "noarp", "noipv4ll"],
        ["eth1", "noipv4", "noipv6rs", "ia_na", "noarp", "noipv4ll"],
        ["eth2", "nodhcp", "noipv6rs", "nodhcp6"],
        ["eth3", "noipv4", "noipv6", "iaid", "4", "noarp", "noipv4ll"],
    ]
    assert "noarp" not in lines[: lines.index("interface bond0")]
    assert plan(settings).files["awaited"] == "eth0\neth1\neth2\n"


def test_unchanged_files_are_not_written_again(hook: Hook) -> None:
    hook("BOUND", new_domain_name_servers="10.0.0.1")
    path = hook.shared / "etc/resolv.conf"
    before = os.stat(path)
    hook("RENEW", new_domain_name_servers="10.0.0.1")
    assert os.stat(path).st_ino == before.st_ino
