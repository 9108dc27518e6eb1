"""`orlop.console_board`: true, false, one terminal or several."""

from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_values import Fields
from orlop.wire.config.keys.board import TERMINALS


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (True, ["tty1"]),
        (False, []),
        ("ttyS0", ["ttyS0"]),
        (["/dev/tty1", "ttyS0", "tty1"], ["tty1", "ttyS0"]),
        ([], []),
    ],
)
def test_forms(value: Any, wanted: list[str]) -> None:
    assert TERMINALS.check(Fields("configuration", {"board": value}), "board") == wanted


@pytest.mark.parametrize("value", ["../x", ["pts/0"], [""], [True], {"a": 1}])
def test_what_is_no_terminal(value: Any) -> None:
    with pytest.raises(InvalidArgument, match="board"):
        TERMINALS.check(Fields("configuration", {"board": value}), "board")
