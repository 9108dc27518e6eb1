"""What cloud-init's modules that people commonly use mean here: taken over, or so, or why not."""

import pytest

from orlop.wire.config.as_is import SAME
from orlop.wire.config.document import Checked, check_document
from orlop.wire.config.rancher import LEFT_OUT
from orlop.wire.config.table import KEYS
from orlop.wire.config.words import document
from orlop.wire.located_yaml import parse_yaml


def check(text: str) -> Checked:
    return check_document(parse_yaml("c.yml", text))


@pytest.mark.parametrize("key", SAME)
def test_a_value_that_is_so(key: str) -> None:
    aliases = {alias for row in KEYS for alias in row.aliases}
    assert key not in aliases
    for value in SAME[key]:
        checked = check_document(document("c", tuple(key.split(".")), value))
        assert checked.data == {}
        assert [notice.ignored for notice in checked.notices] == [False]


def test_another_value_has_a_reason() -> None:
    for key in SAME:
        parts = key.split(".")
        assert {".".join(parts[:n]) for n in range(1, len(parts) + 1)} & LEFT_OUT.keys(), key
    [notice] = check("package_upgrade: true\n").notices
    assert notice.ignored
    assert "there is no package manager" in notice.text
    # 1 is not true.
    assert check("no_ssh_fingerprints: 1\n").notices[0].ignored


COMMON = """\
#cloud-config
fqdn: ship-1.fleet.example
prefer_fqdn_over_hostname: true
manage_etc_hosts: true
manage_resolv_conf: true
resolv_conf:
  nameservers: [192.0.2.53, "2001:db8::53"]
  searchdomains: [fleet.example]
  domain: fleet.example
package_update: false
ssh_deletekeys: true
no_ssh_fingerprints: true
locale: en_US.UTF-8
timezone: Europe/Oslo
final_message: "up after $UPTIME s"
power_state: {mode: reboot, delay: "+5", message: bye, timeout: 30, condition: true}
"""


def test_a_common_document() -> None:
    checked = check(COMMON)
    assert checked.data == {
        "fqdn": "ship-1.fleet.example",
        "prefer_fqdn_over_hostname": True,
        "final_message": "up after $UPTIME s",
        "power_state": {
            "mode": "reboot",
            "delay": 5,
            "message": "bye",
            "timeout": 30,
            "condition": True,
        },
        "timezone": "Europe/Oslo",
        "orlop": {
            "network": {
                "nameservers": ["192.0.2.53", "2001:db8::53"],
                "search": ["fleet.example"],
            }
        },
    }
    assert [n.text for n in checked.notices if n.ignored] == [
        "c.yml:9: configuration: resolv_conf.domain: see orlop.network.search, ignoring"
    ]


def test_an_end_that_depends_on_a_command() -> None:
    checked = check("power_state:\n  mode: poweroff\n  condition: test -e /x\n")
    assert checked.data == {}
    assert "a condition that has to be run is not supported" in checked.notices[0].text


@pytest.mark.parametrize("delay", ["later", "+-5", "5m", "100000"])
def test_wrong_delay(delay: str) -> None:
    from orlop.lib.errors import InvalidArgument

    with pytest.raises(InvalidArgument, match=r"^c.yml:2: .*must be now, or a number of minutes"):
        check(f"power_state:\n  delay: {delay}\n")
