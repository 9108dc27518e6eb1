"""The tables of `./orlop`: what they name is there."""

import importlib

import pytest

from orlop.cli.host.main import COMMANDS
from orlop.cli.host.run import SUBCOMMANDS, module_of


@pytest.mark.parametrize("name", [*COMMANDS.values(), *(module_of(word) for word in SUBCOMMANDS)])
def test_a_command_has_its_module(name: str) -> None:
    assert callable(importlib.import_module(name).main)
