"""The boot loader's scripts: GRUB's own parser takes them."""

import subprocess
from pathlib import Path

import pytest

from orlop.image.boot_loader import SCRIPT, without_comments

CHECKOUT = Path(__file__).parents[3]


def test_comments_are_not_commands_to_grub() -> None:
    assert without_comments("# why\nset a=b # c\n  set c\n") == "set a=b # c\n  set c\n"


@pytest.mark.parametrize("name", ["disk.cfg", "grub.cfg", "medium.cfg", "loader.cfg"])
def test_menus_are_scripts(name: str) -> None:
    subprocess.run(["grub-script-check", str(CHECKOUT / "os/boot" / name)], check=True)


def test_what_is_built_in_needs_no_parser() -> None:
    """One command on each line, which begins with its name: the rescue parser knows no more."""
    lines = without_comments((CHECKOUT / SCRIPT).read_text()).splitlines()
    assert [line.split()[0] for line in lines] == ["eval", "set"]
    inner = lines[0].removeprefix("eval '").removesuffix("'")
    assert "'" not in inner
    subprocess.run(["grub-script-check"], input=inner + "\n", text=True, check=True)
