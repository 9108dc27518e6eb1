"""The table of device permissions."""

import pytest

from orlop.services.devices.permissions import RULES, rule_for


@pytest.mark.parametrize(
    ("name", "mode"), [("fuse", 0o666), ("net/tun", 0o666), ("tty1", 0o620), ("ttyS0", 0o660)]
)
def test_known(name: str, mode: int) -> None:
    rule = rule_for(name)
    assert rule is not None
    assert rule.mode == mode


@pytest.mark.parametrize("name", ["vda", "sda1", "tty", "mem", "kmsg", "input/event0", "rtc0"])
def test_the_kernel_decides_the_rest(name: str) -> None:
    assert rule_for(name) is None


def test_nothing_but_what_checks_itself_is_for_all() -> None:
    assert {rule.pattern for rule in RULES if rule.mode & 0o002} == {"fuse", "net/tun"}
