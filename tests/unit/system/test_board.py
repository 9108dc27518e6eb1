"""The status board fits its terminal, says what matters, and lets nothing drive the terminal."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from orlop.system import board_facts
from orlop.system.board import Facts, lines, screen
from orlop.system.config.configuration import Configuration

STATUS: dict[str, Any] = {
    "hostname": "ship",
    "version": "0.1.0",
    "kernel": "6.12.57",
    "phase": "ready",
    "uptime_s": 4000.0,
    "memory": {"total_bytes": 512 << 20, "available_bytes": 412 << 20},
    "storage": {
        "kind": "disk",
        "device": "/dev/vda1",
        "filesystem": "ext4",
        "size_bytes": 4 << 30,
        "used_bytes": 1 << 30,
    },
    "addresses": [{"interface": "eth0", "address": "192.0.2.7/24"}],
    "services": [
        {"name": "ssh", "state": "running"},
        {"name": "cloud", "state": "skipped"},
        {"name": "web", "state": "failed"},
        {"name": "time", "state": "starting"},
        {"name": "db", "state": "running", "health": "unhealthy"},
    ],
    "warnings": [],
}
MESSAGES = [(f"01:00:{number:02d} network: message {number}", number == 39) for number in range(40)]


def facts(messages: list[tuple[str, bool]] = MESSAGES, **changes: Any) -> Facts:
    return Facts(
        {**STATUS, **changes}, "0.10 0.20 0.30", "2026-01-01 00:00 UTC", "SHA256:x", messages
    )


def text(found: Facts, columns: int = 80, rows: int = 24) -> str:
    return "\n".join(line.text for line in lines(found, columns, rows))


def test_what_matters_is_there() -> None:
    shown = text(facts(warnings=["a.yml:3: unknown key"]))
    for part in (
        *("ship", "Orlop 0.1.0", "ready, up 1h06m, load 0.10 0.20 0.30", "100.0 MiB of 512.0 MiB"),
        *("1.0 GiB of 4.0 GiB, ext4 on /dev/vda1", "192.0.2.7/24 (eth0)", "host key SHA256:x"),
        *("+ ssh", "- cloud", "x web (failed)", "~ time (starting)", "x db (unhealthy)"),
        *("! a.yml:3: unknown key", "message 39", "ssh root@192.0.2.7", "Any key: log in"),
    ):
        assert part in shown
    assert "look at x web (failed), x db (unhealthy)" in shown


def test_volatile_state_and_closed_ssh_are_said() -> None:
    shown = text(facts(storage={"kind": "memory", "size_bytes": 100}, services=[], addresses=[]))
    assert "in memory, lost at the next boot: 0 B of 100 B" in shown
    assert "closed until the configuration has ssh_authorized_keys" in shown
    assert "none yet" in shown
    read_only = {**STATUS["storage"], "read_only": True}
    assert "can only be read" in text(facts(storage=read_only))


@pytest.mark.parametrize("columns", [1, 39, 59, 60, 80, 132, 500])
@pytest.mark.parametrize("rows", [1, 8, 15, 16, 24, 25, 60, 500])
def test_it_fits_any_terminal(columns: int, rows: int) -> None:
    many = facts(
        warnings=[f"warning {number} {'x' * 200}" for number in range(30)],
        services=[{"name": f"service-{number}", "state": "failed"} for number in range(40)],
        addresses=[{"interface": f"eth{n}", "address": f"2001:db8::{n}/64"} for n in range(9)],
    )
    for found in (facts(), many, facts([]), Facts({})):
        assert len(lines(found, max(columns, 10), max(rows, 4))) == max(rows, 4)
        drawn = screen(found, columns, rows)
        places = [int(row) for row in re.findall(rb"\x1b\[(\d+);1H", drawn)]
        assert places == [*range(1, min(max(rows, 4), 120) + 1)]
        for part in re.split(rb"\x1b\[\d+;1H", drawn)[1:]:
            plain = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", part)
            assert len(plain) <= min(max(columns, 10), 300)
            assert re.fullmatch(rb"[ -~]*", plain)


def test_nobody_else_drives_the_terminal() -> None:
    evil = "\x1b[2J\x07\r\n\x9b31m\u202e"
    drawn = screen(
        facts(
            [(evil, True)],
            hostname=evil,
            warnings=[evil],
            services=[{"name": evil, "state": evil}],
            addresses=[{"interface": evil, "address": evil}],
        ),
        80,
        24,
    )
    assert b"\x1b[2J" not in drawn
    assert not re.search(rb"[\x00-\x1a\x1c-\x1f\x7f-\xff]", drawn)


def test_the_messages_are_the_last_ones_of_the_log(tmp_path: Path) -> None:
    path = tmp_path / "messages"
    row = '<{}>1 2026-01-01T00:00:{:02d}.5Z host app 1 - [orlop@32473 container="ssh"] text {}\n'
    path.write_text("".join(row.format(28 if n % 2 else 30, n % 60, n) for n in range(500)))
    found = board_facts.last_messages(str(path))
    assert found[-1] == ("00:00:19 ssh: text 499", True)
    assert found[-2] == ("00:00:18 ssh: text 498", False)
    assert 100 < len(found) < 200
    assert all(re.fullmatch(r"00:00:\d\d ssh: text \d+", line) for line, _ in found)
    path.write_bytes(b"\xff\xfe no line of ours\n")
    assert len(board_facts.last_messages(str(path))) == 1
    assert board_facts.last_messages(str(tmp_path / "none")) == []


def test_the_fingerprint_is_the_one_that_ssh_shows(tmp_path: Path) -> None:
    key, path = tmp_path / "key", tmp_path / "key.pub"
    make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)]
    subprocess.run(make, check=True)
    shown = subprocess.check_output(["ssh-keygen", "-l", "-f", str(path)], text=True)
    wanted = shown.split()[1]
    assert wanted.startswith("SHA256:")
    assert board_facts.fingerprint(str(path)) == wanted
    path.write_bytes(os.urandom(100))
    assert board_facts.fingerprint(str(path)) == ""
    assert board_facts.fingerprint(str(tmp_path / "none")) == ""


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(None, ["tty1"]), ([], []), (["tty1", "ttyS0"], ["tty1", "ttyS0"])],
)
def test_which_terminals_have_one(value: Any, wanted: list[str]) -> None:
    data = {} if value is None else {"orlop": {"console_board": value}}
    assert board_facts.terminals(Configuration(data=data)) == wanted
