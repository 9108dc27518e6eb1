"""What of bench/engine needs no engine."""

import json
import math
import stat
import tarfile
import threading
from pathlib import Path

import pytest

from bench.engine import images, report, turns
from bench.engine.contestants import Contestant
from bench.engine.measure import FAILED, Options, Row, Sample, Steps, TookTooLong, limit
from bench.engine.rows.table import ROWS


def test_the_root_of_the_containers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busybox = tmp_path / "busybox"
    busybox.write_bytes(b"\x7fELF")
    busybox.chmod(0o755)
    monkeypatch.setattr(images, "BUSYBOX", busybox)
    root = images.make_rootfs(tmp_path / "work")
    program = root / "bin/true"
    assert program.resolve() == (root / "bin/busybox").resolve()
    assert program.stat().st_mode & stat.S_IXUSR


def test_an_archive_names_its_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "programs"
    source.mkdir()
    for number in range(20):
        (source / f"program{number}").write_bytes(b"x" * 1000)
    monkeypatch.setattr(images, "BUSYBOX", source / "program0")
    layers = images.large_layers(tmp_path, 15_000, source)
    assert len(layers) == images.LAYERS
    path = tmp_path / "big.tar"
    config = images.make_archive(path, "big:1", layers)
    assert len(json.loads(config)["rootfs"]["diff_ids"]) == images.LAYERS
    with tarfile.open(path) as archive:
        manifest_file = archive.extractfile("manifest.json")
        assert manifest_file is not None
        (manifest,) = json.load(manifest_file)
        assert manifest["RepoTags"] == ["big:1"]
        sizes = [archive.getmember(name).size for name in manifest["Layers"]]
    assert sizes == [layer.stat().st_size for layer in layers]
    # All of it is programs, none of them twice.
    names: list[str] = []
    for layer in layers:
        with tarfile.open(layer) as archive:
            names += [name for name in archive.getnames() if name.startswith("data/")]
    assert len({name.rpartition("/")[2] for name in names}) == len(names) >= 15


def test_the_table_has_medians_and_ratios() -> None:
    samples = [
        *(Sample("orlop", "life", value) for value in (9.0, 10.0, 500.0)),
        Sample("dockerd", "life", 200.0),
        Sample("orlop", "rate", 50.0, "1/s"),
        Sample("dockerd", "rate", 25.0, "1/s"),
        Sample("dockerd", "pull: did not finish", FAILED, "1"),
    ]
    lines = report.table(samples).splitlines()
    assert lines[0] == "| | orlop | dockerd |"
    assert lines[2:] == [
        "| life, ms | 10 | 200 (20×) |",
        "| rate, 1/s | 50 | 25 (2×) |",
        "| pull: did not finish |  | × |",
    ]
    assert json.loads(report.line(samples[-1], "m", "c"))["value"] is None
    assert json.loads(report.line(samples[0], "m", "c"))["name"] == "engine/orlop/life"


def test_every_row_says_what_it_does() -> None:
    assert all(row.on.__doc__ for row in ROWS.values())


class _Engine(Contestant):
    restarts = 0

    def restart(self) -> None:
        _Engine.restarts += 1


def test_who_hangs_is_out_and_the_others_go_on(tmp_path: Path) -> None:
    def row(side: Contestant, options: Options) -> Steps:
        for number in range(3):
            if side.name == "slow" and number == 1:
                threading.Event().wait()
            yield [Sample(side.name, "figure", float(number))]

    sides: list[Contestant] = [_Engine(name, tmp_path, ("x",)) for name in ("slow", "quick")]
    options = Options(1, 1, (1,), 1, 1, 1)
    found = list(turns.run("row", Row(row, 0.05), sides, options))
    assert [(item.side, item.value) for item in found if not math.isnan(item.value)] == [
        ("slow", 0),
        ("quick", 0),
        ("quick", 1),
        ("quick", 2),
    ]
    (failed,) = (item for item in found if math.isnan(item.value))
    assert failed.side == "slow"
    assert "did not finish" in failed.figure
    assert _Engine.restarts == 1


def test_a_row_that_cannot_be_prepared_is_left_out(tmp_path: Path) -> None:
    def prepare(work: Path, options: Options) -> None:
        raise KeyError(work)

    def row(side: Contestant, options: Options) -> Steps:
        yield [Sample(side.name, "figure", 1.0)]

    sides: list[Contestant] = [_Engine("one", tmp_path, ("x",))]
    options = Options(1, 1, (1,), 1, 1, 1)
    assert list(turns.run("row", Row(row, 1, prepare=prepare), sides, options)) == []
    assert len(list(turns.run("row", Row(row, 1), sides, options))) == 1


def test_a_limit_ends_what_hangs() -> None:
    with pytest.raises(TookTooLong), limit(0.01):
        threading.Event().wait()
