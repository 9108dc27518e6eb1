"""The greeting: everything that counts, on one screen."""

import re

import pytest

from orlop.cli import greeting
from orlop.cli.main import main
from orlop.cli.text import Style
from tests.unit.cli.fake_engine import FakeEngine

NAMES = ("syslog", "time", "devices", "network", "console", "power")
STATUS: dict[str, object] = {
    "version": "0.1.0",
    "kernel": "6.12.48",
    "hostname": "orlop",
    "uptime_s": 42.0,
    "ready_s": 3.14,
    "phase": "ready",
    "addresses": [{"interface": "eth0", "address": "10.0.2.15/24"}],
    "memory": {"total_bytes": 480 << 20, "available_bytes": 420 << 20},
    "storage": {"kind": "memory"},
    "services": [
        *({"name": name, "state": "running"} for name in NAMES),
        {"name": "ssh", "state": "skipped"},
    ],
    "warnings": [],
}
PLAIN = Style(colours=False)


def lines_of(status: dict[str, object], style: Style = PLAIN) -> list[str]:
    return greeting.motd(status, style, 80).splitlines()


@pytest.mark.parametrize("colours", [False, True])
def test_it_fits_a_screen(colours: bool) -> None:
    full = STATUS | {
        "warnings": ["something is wrong " * 9] * 9,
        "addresses": ["2001:db8:1234:5678:5054:ff:fe12:3456/64"],
        "services": [{"name": f"service-{index}", "state": "failed"} for index in range(12)],
    }
    lines = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines_of(full, Style(colours=colours))]
    assert len(lines) <= 23, "the prompt needs a line too"
    assert max(map(len, lines)) <= 80
    assert all(line.isascii() for line in lines)


def test_it_says_what_one_wants_to_know() -> None:
    text = "\n".join(lines_of(STATUS))
    for words in (
        "Orlop 0.1.0, Linux 6.12.48",
        "orlop, up 42 seconds, ready after 3.1 s",
        "10.0.2.15/24 (eth0)",
        "live: nothing is kept",
        "60.0 MiB of 480.0 MiB in use",
        "+ syslog  + time",
        "- ssh",
        "closed until the configuration has ssh_authorized_keys",
        "orlop help",
    ):
        assert words in text


def test_with_a_disk_and_a_key_it_says_so() -> None:
    status = STATUS | {
        "storage": {"kind": "disk", "device": "/dev/vda", "size_bytes": 1 << 30, "used_bytes": 0},
        "services": {"ssh": "running", "time": {"state": "starting"}},
    }
    text = "\n".join(lines_of(status))
    assert "/dev/vda, 0 B of 1.0 GiB used" in text
    assert "ssh root@10.0.2.15" in text
    assert "~ time (starting)" in text


def test_an_unhealthy_service_does_not_look_well() -> None:
    services = [{"name": "time", "state": "running", "health": "unhealthy"}]
    assert "x time (unhealthy)" in "\n".join(lines_of(STATUS | {"services": services}))


def test_a_name_cannot_drive_the_terminal() -> None:
    text = "\n".join(lines_of(STATUS | {"hostname": "a\x1b[2Jb", "warnings": ["c\rd"]}))
    assert "\x1b" not in text
    assert "\r" not in text


def test_without_an_engine_it_fails_so_that_the_login_can_say_something_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orlop.cli.client.SOCKET_PATH", "/nowhere/system.sock")
    monkeypatch.setattr("orlop.cli.status.PAUSE_S", 0.01)
    assert main(["status", "--motd", "--wait", "0"]) == 1
    assert capsys.readouterr().out == ""


def test_it_waits_until_the_machine_has_started(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def start(_: float) -> None:
        engine.answer("GET /orlop/status", STATUS)

    monkeypatch.setattr("time.sleep", start)
    engine.answer("GET /orlop/status", STATUS | {"phase": "starting", "ready_s": None})
    assert main(["status", "--wait", "20"]) == 0
    assert "ready after 3.1 s" in capsys.readouterr().out
    assert len(engine.requests) == 2


def test_an_empty_answer_is_survived(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answer("GET /orlop/status", {})
    assert main(["status"]) == 0
    assert "none (yet)" in capsys.readouterr().out


def test_what_is_kept_is_said() -> None:
    storage = {"kind": "disk", "device": "/dev/vda", "kept": ["/root", "/opt"]}
    assert "kept        /root /opt; all else is new" in "\n".join(
        greeting.facts(STATUS | {"storage": storage}, PLAIN, 80)
    )
    assert "kept  " not in "\n".join(greeting.facts(STATUS, PLAIN, 80))
