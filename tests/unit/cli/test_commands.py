"""What people see: columns, JSON, exit statuses, errors with a hint."""

import json
from pathlib import Path

import pytest

from orlop.cli import commands, messages
from orlop.cli.log_choice import Choice
from orlop.cli.main import main
from orlop.wire.stdcopy import Stream, encode
from tests.unit.cli.fake_engine import FakeEngine

CONTAINERS = [
    {
        "Id": "b" * 64,
        "Names": ["/time"],
        "Image": "time",
        "Command": "/usr/sbin/chronyd -d",
        "State": "running",
        "Status": "Up 3 seconds",
    },
    {
        "Id": "a" * 64,
        "Names": ["/network"],
        "Image": "network",
        "Command": "evil \x1b[2J name",
        "State": "running",
        "Status": "Up 2 minutes (healthy)",
    },
]
SERVICES = [
    {"name": "syslog", "state": "running", "health": "healthy", "restarts": 0, "started_at": 1e3},
    {
        "name": "ssh",
        "state": "skipped",
        "restarts": 0,
        "reason": "no key is configured",
        "depends_on": ["network"],
    },
]


def test_ps_aligns_and_neutralises(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("GET /containers/json?all=0", CONTAINERS)
    assert main(["ps"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "NAME      STATUS                   IMAGE     COMMAND                ID",
        "network   Up 2 minutes (healthy)   network   evil ?[2J name         aaaaaaaaaaaa",
        "time      Up 3 seconds             time      /usr/sbin/chronyd -d   bbbbbbbbbbbb",
    ]


def test_ps_gives_json_and_names(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("GET /containers/json?all=1", CONTAINERS)
    assert main(["ps", "-a", "--json"]) == 0
    assert [entry["Image"] for entry in json.loads(capsys.readouterr().out)] == ["network", "time"]
    assert main(["ps", "-aq"]) == 0
    assert capsys.readouterr().out == "network\ntime\n"


def test_service_ls(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.answer("GET /orlop/services", SERVICES)
    monkeypatch.setattr("time.time", lambda: 1061.5)
    monkeypatch.setattr("time.clock_gettime", lambda _: 1e6)
    assert main(["service", "ls"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "SERVICE   STATE     BOOT   HEALTH    SINCE        RESTARTS   WHY",
        "syslog    running   -      healthy   61 seconds   0",
        "ssh       skipped   -      -         -            0          no key is configured",
    ]


def test_service_why_names_what_it_needs(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answer("GET /orlop/services", SERVICES)
    engine.answer("GET /orlop/services/ssh", SERVICES[1])
    assert main(["service", "why", "ssh"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "ssh is skipped: no key is configured",
        "  defined by the image",
        "  needs network, which is unknown",
    ]


def test_service_actions_ask_once_for_each(engine: FakeEngine) -> None:
    for name in ("a", "b"):
        engine.answer(f"POST /orlop/services/{name}/restart", status=204)
    assert main(["service", "restart", "a", "b"]) == 0
    assert engine.asked() == [f"POST /orlop/services/{name}/restart" for name in ("a", "b")]


def test_what_is_so_already_is_no_failure(engine: FakeEngine) -> None:
    engine.answer("POST /orlop/services/a/start", status=304)
    assert main(["service", "start", "a"]) == 0


@pytest.mark.parametrize("argv", [["service", "stop"], ["service", "dance"], ["system", "x"]])
def test_a_wrong_verb_is_a_wrong_command_line(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 2
    assert capsys.readouterr().err.startswith("orlop: ")


def test_what_is_missing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exec", "time"]) == 2
    assert capsys.readouterr().err.endswith(
        "  (try: orlop exec [OPTION...] NAME PROGRAM [ARGUMENT...])\n"
    )


@pytest.mark.parametrize("verb", ["poweroff", "reboot", "halt"])
def test_power(engine: FakeEngine, verb: str) -> None:
    engine.answer(f"POST /orlop/{verb}", status=202)
    engine.answer(f"POST /orlop/{verb}?force=1", status=202)
    assert main([verb]) == 0
    assert main([verb, "-f"]) == 0
    assert engine.asked() == [f"POST /orlop/{verb}", f"POST /orlop/{verb}?force=1"]


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("now", "poweroff"),
        ("-h now", "poweroff"),
        ("-P +0", "poweroff"),
        ("-r", "reboot"),
        ("-H now", "halt"),
        ("-rf now", "reboot?force=1"),
        ("-h +5", ""),
        ("-rH now", ""),
    ],
)
def test_shutdown(engine: FakeEngine, words: str, asked: str) -> None:
    engine.answer(f"POST /orlop/{asked}", status=202)
    assert main(["shutdown", *words.split()]) == (0 if asked else 2)
    assert engine.asked() == ([f"POST /orlop/{asked}"] if asked else [])


def test_logs_takes_the_two_outputs_apart(
    engine: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    frames = encode(Stream.STDOUT, b"out\n") + encode(Stream.STDERR, b"err\n")
    engine.answer_raw(
        "GET /containers/time/logs?stdout=1&stderr=1&tail=5",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\n"
        + frames,
    )
    assert main(["logs", "--tail", "5", "time"]) == 0
    assert capfd.readouterr() == ("out\n", "err\n")


def test_the_systems_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "messages"
    head = "<30>1 2026-01-0{}T00:00:00Z host app 1 - -"
    path.write_text("".join(f"{head.format(day)} {day}\n" for day in range(1, 8)))
    monkeypatch.setattr(messages, "BLOCK_BYTES", 16)
    messages.show(tail=2, follow=False, path=str(path))
    assert capfd.readouterr().out.splitlines() == [
        "2026-01-06T00:00:00Z app: 6",
        "2026-01-07T00:00:00Z app: 7",
    ]
    messages.show(tail=1, follow=False, form="raw", path=str(path))
    assert capfd.readouterr().out == f"{head.format(7)} 7\n"
    messages.show(tail=100, follow=False, choice=Choice(since_s=1767657600.0), path=str(path))
    assert capfd.readouterr().out.splitlines()[0] == "2026-01-06T00:00:00Z app: 6"


def test_a_reader_that_goes_away_is_no_error(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: object) -> None:
        raise BrokenPipeError

    engine.answer("GET /containers/json?all=0", [])
    monkeypatch.setattr("builtins.print", gone)
    monkeypatch.setattr("os.dup2", lambda *_: None)
    assert main(["ps"]) == 141


def test_no_engine_is_one_sentence_and_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("orlop.cli.client.SOCKET_PATH", str(tmp_path / "none"))
    assert main(["ps"]) == 1
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith("orlop: cannot reach the engine at ")
    assert second.startswith("  (try: ")


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["servcie"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "orlop: there is no command 'servcie'",
        "  (try: orlop service)",
    ]


def test_an_unexpected_fault_is_reported_and_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError("x")

    monkeypatch.setattr("orlop.cli.ps.run", fail)
    assert main(["ps"]) == 70
    assert "ZeroDivisionError" in capsys.readouterr().err


@pytest.mark.parametrize("name", [*commands.COMMANDS])
def test_every_command_has_what_the_table_wants(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = commands.find(name)
    assert command is not None
    assert command.USAGE.split()[0] == name
    assert main([name, "--help"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"usage: orlop {command.USAGE}"
    assert all(len(line) <= 80 for line in lines), "help fits a terminal"
    letters = [option.short for option in command.OPTIONS if option.short]
    assert len(set(letters)) == len(letters)


def test_help_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 60
    assert all(len(line) <= 80 for line in lines)


def test_a_config_is_shown_as_yaml(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    value = {
        "hostname": "box-1",
        "orlop": {"time": {"servers": ["a.example", "2001:db8::1"]}, "services": {}},
        "list": [{"a": 1, "b": [True, None]}, "yes"],
        "empty": "",
    }
    engine.answer("GET /orlop/config", {"config": value, "problems": []})
    assert main(["config", "show"]) == 0
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(capsys.readouterr().out) == value


def test_a_wrong_config_is_told_and_fails(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = {"changed": ["network"], "problems": ["a.yml:3: there is no key colour"]}
    engine.answer("POST /orlop/config/reload", answer)
    assert main(["config", "reload"]) == 1
    assert capsys.readouterr() == (
        "changed: network\n",
        "orlop: a.yml:3: there is no key colour\n",
    )


def test_boot_shows_when_and_how_long(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [{"name": "kernel", "uptime_s": 1.5}, {"name": "ready", "uptime_s": 4.0}]
    engine.answer("GET /orlop/boot", {"stages": stages})
    assert main(["boot"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "STAGE    REACHED   AFTER",
        "kernel   1.50 s    +1.50",
        "ready    4.00 s    +2.50",
    ]


def test_dmesg_chooses_by_level(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    messages = [
        {"level": 6, "uptime_s": 0.5, "text": "fine"},
        {"level": 3, "uptime_s": 1.25, "text": "not \x1b[1m"},
    ]
    engine.answer("GET /orlop/dmesg", {"messages": messages})
    assert main(["dmesg", "-l3"]) == 0
    assert capsys.readouterr().out == "[    1.250000] not ?[1m\n"


def test_stats_computes_from_two_samples(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = iter((0, 500_000_000))
    passed = iter((0, 4_000_000_000))

    def sample(connection: object, _: bytes) -> None:
        body = json.dumps(
            {
                "cpu_stats": {
                    "cpu_usage": {"total_usage": next(used)},
                    "system_cpu_usage": next(passed),
                    "online_cpus": 4,
                },
                "memory_stats": {"usage": 10 << 20, "limit": 32 << 20},
                "pids_stats": {"current": 3},
            }
        ).encode()
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n" + body)  # type: ignore[attr-defined]

    engine.script("GET /containers/time/stats?stream=0&one-shot=1", sample)
    monkeypatch.setattr("time.sleep", lambda _: None)
    assert main(["stats", "tme"]) == 1
    assert main(["stats", "time"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split() == [
        *("time", "50.0", "10.0", "MiB", "32.0", "MiB", "3", "0", "B", "0", "B"),
    ]


def test_top_puts_the_containers_together(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answer("GET /containers/json", CONTAINERS)
    titles = ["PID", "CMD"]
    engine.answer("GET /containers/network/top", {"Titles": titles, "Processes": [["7", "a"]]})
    engine.answer("GET /containers/time/top", {"message": "not running"}, status=409)
    assert main(["top"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "CONTAINER   PID   CMD",
        "network     7     a",
    ]
    assert main(["top", "time"]) == 1
