"""The unified kernel image: what is in it, where, and that it is the same each time."""

import json
from pathlib import Path

import pytest

from orlop.image import uki
from orlop.image.iso import fill_template
from orlop.image.release_steps import GRUB_MENU, menu_words
from orlop.image.step import Cancellation, StepContext
from orlop.lib.errors import InvalidArgument

CHECKOUT = Path(__file__).parents[3]
INITRD = b"the initrd" * 100
STEPS = ("root", "kernel", "initrd", "extras")


def build(tmp_path: Path, name: str) -> Path:
    """An image of a small program as kernel and a few bytes as initrd."""
    results = {step: tmp_path / "results" / step for step in STEPS}
    if not results["root"].exists():
        for folder in results.values():
            folder.mkdir(parents=True)
        release = {"version": "1.2.3", "build": "0123456789abcdef"}
        (results["root"] / "release.json").write_text(json.dumps(release))
        (results["extras"] / "extras.json").write_text(json.dumps({"sha256": "ab" * 32}))
        (results["kernel"] / "lib/modules/6.12.1-orlop").mkdir(parents=True)
        (results["kernel"] / "vmlinuz").write_bytes(Path(uki.PROFILE_STUB).read_bytes())
        (results["initrd"] / "initrd").write_bytes(INITRD)
    output, scratch = tmp_path / name / "output", tmp_path / name / "scratch"
    output.mkdir(parents=True)
    scratch.mkdir()
    context = StepContext(
        name="uki",
        output=output,
        scratch=scratch,
        jobs=1,
        epoch=0,
        log_path=tmp_path / f"{name}.log",
        results=results,
        cancellation=Cancellation(),
        report=lambda *_: None,
        report_warning=lambda _: None,
    )
    uki.build_uki(context, command_line="quiet a=b")
    return output / uki.FILE


def content(image: Path, section: str) -> bytes:
    start, count = uki.sections(image)[section]
    data = image.read_bytes()[start * 512 : (start + count) * 512]
    assert len(data) == count * 512
    return data.rstrip(b"\0")


def test_parts_lie_where_the_table_of_sections_says(tmp_path: Path) -> None:
    image = build(tmp_path, "one")
    assert content(image, ".initrd") == INITRD
    assert content(image, ".linux") == Path(uki.PROFILE_STUB).read_bytes().rstrip(b"\0")
    assert content(image, ".cmdline") == b"quiet a=b"
    assert content(image, ".uname") == b"6.12.1-orlop"
    assert content(image, ".profile") == b"ID=main\nTITLE=Orlop 1.2.3\n"
    assert b"orlop.recovery" in image.read_bytes()
    words = menu_words(image, "quiet a=b", "1.2.3")
    menu = fill_template((CHECKOUT / GRUB_MENU).read_text(), words, CHECKOUT / GRUB_MENU)
    start, count = uki.sections(image)[".initrd"]
    assert f"initrd (image){start}+{count}\n" in menu
    assert 'set parameters="a=b orlop.debug"\n    start 1\n' in menu


def test_two_builds_are_equal(tmp_path: Path) -> None:
    assert build(tmp_path, "one").read_bytes() == build(tmp_path, "two").read_bytes()


@pytest.mark.parametrize(
    "content",
    [b"", b"MZ", b"#!/bin/sh\n" * 20, b"MZ" + bytes(58) + b"\xff\xff\xff\x7f" + bytes(99)],
)
def test_what_is_no_efi_program_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.efi"
    path.write_bytes(content)
    with pytest.raises(InvalidArgument, match="not an EFI program"):
        uki.sections(path)
