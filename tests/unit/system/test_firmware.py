"""What the firmware's variables say, on files as efivarfs shows them."""

from pathlib import Path

import pytest

from orlop.system.firmware import GLOBAL, secure_boot

ATTRIBUTES = b"\x06\0\0\0"


@pytest.mark.parametrize(
    ("secure", "setup", "expected"),
    [
        (b"\1", b"\0", "on"),
        (b"\0", b"\0", "off"),
        (b"\0", b"\1", "setup"),
        (b"\1", None, "on"),
        (None, None, None),
        (b"", b"", None),
        (b"\1\1", b"\0", "on"),
    ],
)
def test_state_of_secure_boot(
    tmp_path: Path, secure: bytes | None, setup: bytes | None, expected: str | None
) -> None:
    for name, value in (("SecureBoot", secure), ("SetupMode", setup)):
        if value is not None:
            (tmp_path / f"{name}-{GLOBAL}").write_bytes(ATTRIBUTES + value)
    assert secure_boot(str(tmp_path)) == expected
