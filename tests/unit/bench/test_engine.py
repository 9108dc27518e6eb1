"""What of bench/engine needs no engine."""

import json
import stat
import tarfile
from pathlib import Path

import pytest

from bench.engine import images, report
from bench.engine.rows import ROWS, Sample


def test_the_root_of_the_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF")
    busybox.chmod(0o755)
    monkeypatch.setattr(images, "BUSYBOX", busybox)
    root = images.make_rootfs(tmp_path / "work")
    program = root / "bin/true"
    assert program.resolve() == (root / "bin/busybox").resolve()
    assert program.stat().st_mode & stat.S_IXUSR


def test_an_archive_names_its_layers(tmp_path: Path) -> None:
    layers = images.large_layers(1 << 20)
    assert len(layers) == images.LAYERS
    path = tmp_path / "big.tar"
    images.make_archive(path, "big:1", layers)
    with tarfile.open(path) as archive:
        manifest_file = archive.extractfile("manifest.json")
        assert manifest_file is not None
        (manifest,) = json.load(manifest_file)
        assert manifest["RepoTags"] == ["big:1"]
        sizes = [archive.getmember(name).size for name in manifest["Layers"]]
    assert sizes == [len(layer) for layer in layers]


def test_the_table_has_medians_and_ratios() -> None:
    samples = [
        *(Sample("orlop", "life", value) for value in (9.0, 10.0, 500.0)),
        Sample("dockerd", "life", 200.0),
        Sample("orlop", "rate", 50.0, "1/s"),
        Sample("dockerd", "rate", 25.0, "1/s"),
    ]
    lines = report.table(samples).splitlines()
    assert lines[0] == "| | orlop | dockerd |"
    assert lines[2:] == [
        "| life, ms | 10 | 200 (20×) |",
        "| rate, 1/s | 50 | 25 (2×) |",
    ]
    assert json.loads(report.line(samples[0], "m", "c"))["name"] == "engine/orlop/life"


def test_every_row_says_what_it_does() -> None:
    assert all(row.__doc__ for row in ROWS.values())
