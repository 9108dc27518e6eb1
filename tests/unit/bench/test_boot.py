"""What of bench/boot needs no machine: commands, formats, reading figures off."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.boot import debian, floor, report, sides
from bench.boot.guest import Guest, Side, command_line
from orlop.vm.qemu import TCG

SIDE = Side("orlop", Path("/k"), Path("/i"), "console=ttyS0", 512, 2)


def test_debian_is_made_from_the_sources_of_this_machine() -> None:
    command = debian.plan_mmdebstrap(Path("/t"), [Path("/etc/apt/a.sources")])
    assert command[0] == "mmdebstrap"
    assert command[-3:] == ["trixie", "/t", "/etc/apt/a.sources"]
    (include,) = (word for word in command if word.startswith("--include="))
    assert set(debian.PACKAGES) == set(include.removeprefix("--include=").split(","))


def test_the_images_key_follows_what_it_is_made_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "reporter.c"
    source.write_text("one")
    before = debian.image_key(source)
    assert debian.image_key(source) == before
    source.write_text("two")
    assert debian.image_key(source) != before
    source.write_text("one")
    monkeypatch.setattr(debian, "PACKAGES", ("docker.io",))
    assert debian.image_key(source) != before


def test_all_sides_start_the_same_way() -> None:
    other = Side("debian", Path("/k2"), Path("/i2"), "quiet", 512, 2, Path("/d"))
    words, others = command_line(SIDE, TCG), command_line(other, TCG)
    disk = [word for word in others if "disk" in word]
    assert [word for word in others if word not in words and word not in disk] == [
        *("-drive", "/k2", "/i2", "quiet"),
    ]
    assert "snapshot=on" in disk[0]


def test_the_initrd_of_the_floor_is_an_archive(tmp_path: Path) -> None:
    archive = floor.entry("init", 0o100755, b"12345") + floor.entry("TRAILER!!!", 0)
    assert len(archive) % 4 == 0
    if shutil.which("cpio") is None:
        pytest.skip("cpio is not installed")
    path = tmp_path / "a.cpio"
    path.write_bytes(archive)
    listing = subprocess.run(
        ["cpio", "-itv", "--quiet"], input=archive, capture_output=True, check=True
    )
    assert b"-rwxr-xr-x" in listing.stdout
    assert listing.stdout.rstrip().endswith(b"init")


def test_kernel_threads_and_the_readers_do_not_count() -> None:
    shown = (
        b"1 (python3.13) S 0 1 1 0 -1 4194560 9 9\n"
        b"2 (kthreadd) S 0 0 0 0 -1 2129984 0 0\n"
        b"30 (a) b) S 1 30 30 0 -1 4194304 0 0\n"
        b"40 (ash) S 30 40 40 1088 40 4194304 0 0\n"
        b"41 (cat) R 40 41 40 1088 41 4194304 0 0\n"
        b"bench-end\n"
    )
    assert sides.user_processes(shown) == 2


def test_events_carry_the_time_since_the_hand_over(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((101.0, 102.0, 103.5, 105.0))
    monkeypatch.setattr("time.monotonic", lambda: next(clock))
    guest = Guest(SIDE, 100.0)
    guest.feed("firmware", b"SeaBIOS\nBooting from ROM...\n")
    guest.feed("firmware", b"Booting from c000:0054\n")
    guest.feed("port", b'{"event":"stage","name":"eng')
    guest.feed("port", b'ine","uptime_s":2.5}\nrubbish\n')
    assert guest.find(event="stage", name="engine") == (
        3.0,
        {"event": "stage", "name": "engine", "uptime_s": 2.5},
    )
    assert guest.find(event="ready") is None


def test_a_line_is_what_bench_compare_reads() -> None:
    assert json.loads(report.line("orlop", "engine_uptime_s", 2.34567, "m", "c")) == {
        "name": "boot/orlop/engine_uptime_s",
        "unit": "s",
        "value": 2.346,
        "commit": "c",
        "machine": "m",
    }


def test_the_table_shows_medians_spread_and_shares() -> None:
    text = report.table(
        {
            "orlop": {"engine_uptime_s": [2.0, 3.0, 2.5], "image_bytes": [16e6, 16e6]},
            "debian": {"engine_uptime_s": [20.0, 30.0, 25.0], "image_bytes": [160e6, 160e6]},
            "floor": {"engine_uptime_s": [1.0], "image_bytes": [5e6]},
        }
    )
    assert "2.50 (2.00-3.00)" in text
    assert "16,000,000" in text
    assert "orlop / debian, engine answers: 0.10" in text
    assert "orlop / floor, engine answers: 2.50" in text
    assert "orlop / floor, image" not in text
