"""`./orlop image`: the file that it leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orlop.cli.host import image
from orlop.image import lockfile
from orlop.image.disk import DiskImage, Format
from orlop.lib.errors import InvalidArgument


@pytest.mark.parametrize(("configuration", "mode"), [(None, 0o644), (b"users: []\n", 0o600)])
def test_who_may_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configuration: bytes | None, mode: int
) -> None:
    """There may be hashes of passwords in a configuration."""

    def make(_wanted: DiskImage, output: Path, *_: Any, **__: Any) -> None:
        output.write_bytes(b"disk")
        output.chmod(0o644)

    monkeypatch.setattr(lockfile, "read", lambda *_: {})
    monkeypatch.setattr(lockfile, "parse_epoch", lambda _: 0)
    monkeypatch.setattr(image, "make_disk", make)
    wanted = DiskImage(tmp_path / "iso", 1 << 30, configuration=configuration)
    output = tmp_path / "disk.raw"
    image.write_image(wanted, output, Format.RAW, tmp_path)
    assert output.read_bytes() == b"disk"
    assert output.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--output", "there/none/disk.raw"], "there is no directory"),
        (["--output", "disk.raw", "--append", "a\nb"], "--append: words on one line"),
    ],
)
def test_what_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidArgument, match=text):
        image.main(words)
