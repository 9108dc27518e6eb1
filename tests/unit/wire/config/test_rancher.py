"""A RancherOS cloud-config: what is understood counts, the rest is named with its line."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.document import check_document
from orlop.wire.located_yaml import parse_yaml

DOCUMENT = """\
#cloud-config
hostname: old
packages: [vim]
rancher:
  network:
    interfaces:
      eth0:
        address: 192.0.2.7/24
        addresses: [192.0.2.8/24]
        gateway: 192.0.2.1
        dhcp: false
      "mac=00:11:22:33:44:55":
        dhcp: true
    dns:
      nameservers: [192.0.2.53]
      nameserver: x
  state: {dev: LABEL=RANCHER_STATE, autoformat: [/dev/sda]}
  upgrad: {}
orlop:
  network:
    search: [example]
"""


def test_a_document() -> None:
    checked = check_document(parse_yaml("c.yml", DOCUMENT))
    assert checked.data == {
        "hostname": "old",
        "orlop": {
            "network": {
                "interfaces": {
                    "eth0": {
                        "dhcp": False,
                        "addresses": ["192.0.2.7/24", "192.0.2.8/24"],
                        "gateway": "192.0.2.1",
                    },
                    "mac=00:11:22:33:44:55": {"dhcp": True},
                },
                "nameservers": ["192.0.2.53"],
                "search": ["example"],
            }
        },
    }
    gateway = ("orlop", "network", "interfaces", "eth0", "gateway")
    assert checked.origins[gateway] == "c.yml:10"
    told = {
        notice.text.split(" ")[0] + notice.text.split(" ")[2]: notice for notice in checked.notices
    }
    renamed = told["c.yml:10:rancher.network.interfaces.eth0.gateway:"]
    assert renamed.text.endswith("is called orlop.network.interfaces.eth0.gateway here")
    ignored = {place: notice.text for place, notice in told.items() if notice.ignored}
    assert set(ignored) == {
        "c.yml:3:packages:",
        "c.yml:16:rancher.network.dns.nameserver:",
        "c.yml:17:rancher.state:",
        "c.yml:18:rancher.upgrad:",
    }
    assert "orlop.state" in ignored["c.yml:17:rancher.state:"]
    assert "did you mean nameservers?" in ignored["c.yml:16:rancher.network.dns.nameserver:"]
    assert "did you mean upgrade?" in ignored["c.yml:18:rancher.upgrad:"]
    assert all(text.endswith(", ignoring") for text in ignored.values())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "rancher: {network: {dns: {search: [a]}}}\norlop: {network: {search: [b]}}",
            "c.yml:1: configuration: rancher.network.dns.search: is the same as orlop.network",
        ),
        (
            "orlop: {network: {interfaces: {x: {match: mac=52:54:oo:*}}}}",
            "c.yml:1: .*match.mac: must be a hardware address, perhaps with",
        ),
        ("orlop: [a]\nrancher: {network: {dns: {search: [a]}}}", "c.yml:1: .*orlop: must be a map"),
    ],
)
def test_a_value_that_is_wrong(text: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        check_document(parse_yaml("c.yml", text))


@pytest.mark.parametrize("value", ["", "[a]", "7", "x", "{network: }", "{network: {dns: [a]}}"])
def test_little_and_odd_is_survived(value: str) -> None:
    assert check_document(parse_yaml("c.yml", f"hostname: a\nrancher: {value}")).data == {
        "hostname": "a"
    }


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        ("rancher: 7", "rancher: must be a map, not a number"),
        ("rancher: {network: eth0}", "rancher.network: must be a map, not a string"),
        (
            "rancher: {network: {interfaces: {eth0: [dhcp]}}}",
            "rancher.network.interfaces.eth0: must be a map, not a list",
        ),
    ],
)
def test_what_should_be_a_map(tree: str, problem: str) -> None:
    (notice,) = check_document(parse_yaml("c.yml", tree)).notices
    assert notice.text == f"c.yml:1: configuration: {problem}, ignoring"


def test_what_means_nothing_here_costs_nothing_else() -> None:
    text = """\
hostname: ship
mounts:
- [swap, null]
- ["//nas/share", /mnt/nas, cifs, ""]
- [ephemeral0, /mnt]
- [/dev/vdb, /home, ext4, ""]
- [/dev/vdb, /mnt/data, ext4, ""]
write_files:
- {path: /etc/a, content: a, owner: "syslog:adm"}
- {path: /etc/b, content: b, append: true}
- {path: /etc/c, content: c, defer: true, append: false, owner: root}
- {path: /proc/sys/vm/swappiness, content: "1"}
- {path: //run/orlop/system.sock, content: x}
rancher:
  modules: [nbd/2]
  network: {dns: {nameservers: [x]}}
"""
    checked = check_document(parse_yaml("c.yml", text))
    assert checked.data["hostname"] == "ship"
    assert checked.data["mounts"] == [["/dev/vdb", "/mnt/data", "ext4", "defaults"]]
    files = checked.data["write_files"]
    assert isinstance(files, list)
    assert [file["path"] for file in files if isinstance(file, dict)] == ["/etc/c"]
    assert "orlop" not in checked.data
    ignored = sorted(notice.text for notice in checked.notices if notice.ignored)
    assert [text.split(": configuration: ")[0] for text in ignored] == sorted(
        [f"c.yml:{line}" for line in (3, 4, 5, 6, 9, 10, 12, 13, 15, 16)]
    )
    assert any("mounts[1]: CIFS is not supported yet, ignoring" in text for text in ignored)
    assert any("must be the name of a module" in text for text in ignored)


def test_a_file_that_nothing_reads_is_written_and_said() -> None:
    text = """\
write_files:
- {path: /etc/ssh/sshd_config, content: a}
- {path: /etc/profile.d/a.sh, content: a}
- {path: /etc/cron.d/a, content: a, container: syslog}
"""
    checked = check_document(parse_yaml("c.yml", text))
    (notice,) = checked.notices
    assert notice.text.startswith("c.yml:2: configuration: write_files[0]: nothing here reads ")
    assert notice.text.endswith(" /etc/ssh/sshd_config: see orlop.ssh")
    assert not notice.ignored
    assert len(checked.data["write_files"]) == 3  # type: ignore[arg-type]


def test_an_entry_that_is_wrong_is_found_where_it_stands() -> None:
    text = "mounts:\n- [swap, null]\n- [LABEL=a, /mnt/a, zfs]\n"
    with pytest.raises(InvalidArgument, match=r"^c.yml:3: configuration: mounts\[0\]"):
        check_document(parse_yaml("c.yml", text))


def test_swap_of_cloud_init() -> None:
    text = "swap:\n  filename: /swap.img\n  size: 512M\n  maxsize: 1g\n"
    checked = check_document(parse_yaml("c.yml", text))
    assert checked.data == {"swap": {"size": 512 << 20}}
    assert sorted(notice.text.split(" ")[0] for notice in checked.notices) == [
        "c.yml:2:",
        "c.yml:4:",
    ]
    assert check_document(parse_yaml("c.yml", "swap: {size: auto}")).data == {"swap": {}}
    with pytest.raises(InvalidArgument, match="at least 1m"):
        check_document(parse_yaml("c.yml", "swap: {size: 5}"))


def test_a_network_of_rancheros() -> None:
    """The forms in RancherOS's own documents: numbers of modes, texts, commas."""
    text = """\
rancher:
  network:
    dhcp_timeout: 30
    interfaces:
      bond0:
        addresses: [192.168.101.33/31]
        gateway: 192.168.101.32
        bond_opts: {downdelay: "200", lacp_rate: "1", miimon: "100", mode: "4",
                    updelay: "200", xmit_hash_policy: layer3+4}
        post_up: [ip route add 10.0.0.0/8 via 192.168.101.32, "echo $iface"]
      eth*: {bond: bond0, ipv4ll: true}
      br0: {bridge: true, dhcp: true}
      eth1: {match: "mac=0c:c4:d7:b2:14:d2", vlans: "100,200:foobar"}
      foobar: {bridge: br0}
"""
    checked = check_document(parse_yaml("c.yml", text))
    assert checked.data == {
        "orlop": {
            "network": {
                "wait_online": 30,
                "routes": [{"to": "10.0.0.0/8", "via": "192.168.101.32"}],
                "interfaces": {
                    "bond0": {
                        "addresses": ["192.168.101.33/31"],
                        "gateway": "192.168.101.32",
                        "bond_options": {
                            "downdelay": 200,
                            "lacp_rate": 1,
                            "miimon": 100,
                            "mode": 4,
                            "updelay": 200,
                            "xmit_hash_policy": 1,
                        },
                    },
                    "eth*": {"bond": "bond0", "ipv4ll": True},
                    "br0": {"bridge": True, "dhcp": True},
                    "eth1": {
                        "match": {"mac": "0c:c4:d7:b2:14:d2"},
                        "vlans": ["100", "200:foobar"],
                    },
                    "foobar": {"bridge": "br0"},
                },
            }
        }
    }
    ignored = [notice.text for notice in checked.notices if notice.ignored]
    assert len(ignored) == 1
    assert "post_up" in ignored[0]
    assert "'echo $iface' is not run" in ignored[0]
