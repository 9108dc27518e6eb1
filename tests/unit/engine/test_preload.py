"""What is brought from a directory of archives: which files, by which digests."""

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from orlop.engine.preload import (
    MAX_ARCHIVES,
    Memory,
    Preload,
    check_sum,
    find_archives,
    parse_sums,
    read_memory,
    read_sums,
)
from orlop.lib.errors import InvalidArgument

DIGEST = "0123456789abcdef" * 4


def test_archives_are_found_by_their_names(tmp_path: Path) -> None:
    for name in ("b.tar", "a.tar.zst", "c.tgz", "d.oci", ".tmp.tar", "README", "SHA256SUMS"):
        (tmp_path / name).touch()
    (tmp_path / "system").mkdir()
    assert [path.name for path in find_archives(tmp_path)] == [
        "a.tar.zst",
        "b.tar",
        "c.tgz",
        "d.oci",
    ]
    assert find_archives(tmp_path / "none") == []


def test_their_number_is_bounded(tmp_path: Path) -> None:
    for number in range(MAX_ARCHIVES + 1):
        (tmp_path / f"{number:04}.tar").touch()
    assert len(find_archives(tmp_path)) == MAX_ARCHIVES


def test_sums_as_sha256sum_writes_them() -> None:
    text = f"# made by hand\n{DIGEST}  a.tar\n{DIGEST.upper()} *./with blank.tar\r\n\n"
    assert parse_sums(text) == {"a.tar": f"sha256:{DIGEST}", "with blank.tar": f"sha256:{DIGEST}"}


@pytest.mark.parametrize("line", ["a.tar", f"{DIGEST[:-1]}  a.tar", f"{DIGEST}\ta.tar", "\0"])
def test_a_wrong_line_is_named(line: str) -> None:
    with pytest.raises(InvalidArgument, match="SHA256SUMS, line 2"):
        parse_sums(f"{DIGEST}  a.tar\n{line}\n")


def test_a_list_that_is_no_text(tmp_path: Path) -> None:
    assert read_sums(tmp_path) is None
    (tmp_path / "SHA256SUMS").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidArgument, match="no text"):
        read_sums(tmp_path)


def test_what_a_list_lacks_or_has_otherwise_is_refused() -> None:
    check_sum("a.tar", f"sha256:{DIGEST}", None)
    check_sum("a.tar", f"sha256:{DIGEST}", {"a.tar": f"sha256:{DIGEST}"})
    with pytest.raises(InvalidArgument, match="does not list it"):
        check_sum("a.tar", f"sha256:{DIGEST}", {})
    with pytest.raises(InvalidArgument, match="SHA256SUMS says sha256:1"):
        check_sum("a.tar", f"sha256:{DIGEST}", {"a.tar": "sha256:1"})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"files": 1, "brought": {}}', "[" * 100_000])
def test_a_damaged_memory_counts_as_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "preload.json"
    assert read_memory(path) == Memory()
    path.write_text(text)
    assert read_memory(path) == Memory()


def test_a_disk_that_is_refused_is_not_touched_and_named_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = tmp_path / "disk"
    engine: Any = SimpleNamespace(settings=SimpleNamespace(store_dir=tmp_path / "store"))
    preload = Preload(engine, tmp_path, "ORLOP_LOAD", refused=True)
    cast("Any", preload)._device = str(disk)
    with caplog.at_level(logging.WARNING):
        assert asyncio.run(preload._look_at_disk(was_there=False)) is False
        disk.touch()
        assert asyncio.run(preload._look_at_disk(was_there=False)) is True
        assert asyncio.run(preload._look_at_disk(was_there=True)) is True
    [record] = caplog.records
    assert "the disk ORLOP_LOAD is left alone" in record.getMessage()
