"""What the API makes of wrong words, and of what disks refuse."""

from __future__ import annotations

import asyncio
import errno
import time
from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib.errors import Internal, InvalidArgument, ResourceExhausted
from orlop.system.updates import routes

if TYPE_CHECKING:
    from orlop.system.updates.control import Updates


class Held:
    async def hold(self, reason: str, until_s: float) -> dict[str, object]:
        return {"reason": reason, "until": until_s}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"until": 1000}, "1970-01-01 00:16 UTC is over already"),
        ({"until": -1}, "seconds since 1970 expected"),
        ({"until": "tomorrow"}, "seconds since 1970 expected"),
        ({"reason": "two\nlines"}, "printable"),
        ({"reason": "x" * 201}, "up to 200"),
    ],
)
def test_a_hold_that_would_hold_nothing(body: dict[str, object], text: str) -> None:
    with pytest.raises(InvalidArgument, match=text):
        asyncio.run(routes._hold(cast("Updates", Held()), body))


def test_a_hold() -> None:
    until = time.time() + 60
    body = {"reason": "the fair", "until": until}
    assert asyncio.run(routes._hold(cast("Updates", Held()), body)) == body


def test_a_full_disk_is_called_that() -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/var/lib/orlop/os/journal")
    found = routes.of_disk("stage", full)
    assert isinstance(found, ResourceExhausted)
    assert str(found) == "stage: /var/lib/orlop/os/journal: no space left on device"
    assert isinstance(routes.of_disk("stage", OSError(errno.EIO, "I/O error")), Internal)
