"""Which services cannot be beside those that are there."""

from __future__ import annotations

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.system import commands, consoles
from orlop.system.services.check import RESERVED, Present, check
from orlop.wire.compose_file import parse_file
from orlop.wire.located_yaml import parse_yaml


def test_names_that_the_system_may_come_to_need_are_refused() -> None:
    assert {*commands.NAMES, consoles.SHELL, consoles.TRIAL} == RESERVED
    found = parse_file(parse_yaml("web.yml", "services:\n  shell:\n    image: nginx\n"))
    with pytest.raises(InvalidArgument, match=r"web\.yml:2: service shell: the system has"):
        check(found, Present(), enabling=False)


def test_a_name_that_no_container_can_have_is_refused() -> None:
    found = parse_file(parse_yaml("web.yml", "services:\n  w:\n    image: nginx\n"))
    with pytest.raises(InvalidArgument, match=r"web\.yml:2: service w: a container's name has 2"):
        check(found, Present(), enabling=False)
