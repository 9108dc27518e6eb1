"""Boot records: what survives every tear, and what GRUB's own tool makes of them."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orlop.lib import boot_record, environment_block
from orlop.lib.boot_record import BLOCK_BYTES, RECORDS, TRIED, BootRecord
from orlop.lib.errors import InvalidArgument, NotFound

OLD, NEW, RESCUE = "0123456789abcdef", "fedcba9876543210", "00112233445566aa"
RECORD = BootRecord(41, OLD, RESCUE, NEW, RESCUE)


def install(directory: Path, record: BootRecord) -> None:
    for name, data in boot_record.first_files(record).items():
        (directory / name).write_bytes(data)


def test_a_block_comes_back_and_fits_into_a_sector() -> None:
    block = boot_record.format_block(RECORD)
    assert len(block) == BLOCK_BYTES
    assert block[512:] == b"#" * 512
    assert boot_record.parse(block) == RECORD
    largest = replace(RECORD, sequence=2**63 - 1)
    assert boot_record.parse(boot_record.format_block(largest)) == largest


def test_grub_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "block"
    path.write_bytes(boot_record.format_block(RECORD))
    shown = subprocess.run(
        ["grub-editenv", str(path), "list"], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split() == [
        "begin=41",
        f"default={OLD}",
        f"previous={RESCUE}",
        f"trial={NEW}",
        f"recovery={RESCUE}",
        "end=41",
    ]


def test_what_grub_writes_is_read(tmp_path: Path) -> None:
    install(tmp_path, RECORD)
    assert boot_record.read(tmp_path) == (RECORD, 0)
    subprocess.run(["grub-editenv", str(tmp_path / TRIED), "set", "tried=41"], check=True)
    assert boot_record.read(tmp_path) == (RECORD, 41)


def test_a_tear_at_any_byte_leaves_the_old_record_or_the_new_one(tmp_path: Path) -> None:
    install(tmp_path, RECORD)
    second = replace(RECORD, sequence=42, default=NEW, trial="")
    boot_record.write(tmp_path, second)
    older = (tmp_path / RECORDS[0]).read_bytes()
    third = replace(RECORD, sequence=43, trial=OLD)
    boot_record.write(tmp_path, third)
    newer = (tmp_path / RECORDS[0]).read_bytes()
    for at in range(BLOCK_BYTES + 1):
        (tmp_path / RECORDS[0]).write_bytes(newer[:at] + older[at:])
        found, _ = boot_record.read(tmp_path)
        assert found in {second, third}
        (tmp_path / RECORDS[0]).write_bytes(newer[:at] + bytes(BLOCK_BYTES - at))
        found, _ = boot_record.read(tmp_path)
        assert found in {second, third}


def test_writes_take_turns_and_change_one_file(tmp_path: Path) -> None:
    install(tmp_path, RECORD)
    for sequence in range(42, 50):
        before = [(tmp_path / name).read_bytes() for name in RECORDS]
        record = replace(RECORD, sequence=sequence)
        boot_record.write(tmp_path, record)
        after = [(tmp_path / name).read_bytes() for name in RECORDS]
        assert boot_record.read(tmp_path)[0] == record
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1


def test_a_damaged_record_is_the_one_that_is_replaced(tmp_path: Path) -> None:
    install(tmp_path, RECORD)
    boot_record.write(tmp_path, replace(RECORD, sequence=42))
    (tmp_path / RECORDS[1]).write_bytes(bytes(BLOCK_BYTES))
    assert boot_record.read(tmp_path)[0] == RECORD
    boot_record.write(tmp_path, replace(RECORD, sequence=43))
    assert boot_record.parse((tmp_path / RECORDS[0]).read_bytes()) == RECORD


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    install(tmp_path, RECORD)
    with pytest.raises(InvalidArgument, match="not newer"):
        boot_record.write(tmp_path, RECORD)
    for wrong in (
        replace(RECORD, default=""),
        replace(RECORD, trial="x" * 16),
        replace(RECORD, previous=f"{OLD}\nend=9"),
        replace(RECORD, sequence=0),
    ):
        with pytest.raises(InvalidArgument, match="not a boot record"):
            boot_record.format_block(wrong)
    (tmp_path / RECORDS[0]).unlink()
    (tmp_path / RECORDS[1]).write_bytes(b"\xff" * BLOCK_BYTES)
    with pytest.raises(NotFound):
        boot_record.read(tmp_path)


def test_values_with_backslashes_and_line_breaks(tmp_path: Path) -> None:
    values = {"a": "one \\ two\nthree=4", "b": "\\\\n"}
    block = environment_block.render(values, 200)
    assert environment_block.parse(block) == values
    path = tmp_path / "block"
    path.write_bytes(block)
    subprocess.run(["grub-editenv", str(path), "set", "c=d"], check=True)
    assert environment_block.parse(path.read_bytes()) == {**values, "c": "d"}
    with pytest.raises(InvalidArgument, match="do not fit"):
        environment_block.render(values, 30)
    with pytest.raises(InvalidArgument, match="ASCII"):
        environment_block.render({"a": "ä"}, 300)
