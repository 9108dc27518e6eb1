"""`orlop logs`, `events` and `dmesg`: choosing, putting together, JSON."""

import json
from pathlib import Path

import pytest

from orlop.cli import dmesg, events, messages
from orlop.cli.log_choice import Choice
from orlop.cli.main import main
from orlop.lib.errors import Forbidden
from orlop.wire.stdcopy import Stream, encode
from tests.unit.cli.fake_engine import FakeEngine

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.multiplexed-stream\r\n\r\n"
QUERY = "logs?stdout=1&stderr=1&tail=all&timestamps=1"


def line(second: int, text: str, stream: Stream = Stream.STDOUT) -> bytes:
    return encode(stream, f"2026-01-01T00:00:{second:02d}.000000000Z {text}\n".encode())


@pytest.fixture
def outputs(engine: FakeEngine) -> FakeEngine:
    engine.answer_raw(f"GET /containers/a/{QUERY}", HEAD + line(1, "one") + line(3, "three"))
    two = line(2, "two", Stream.STDERR)
    engine.answer_raw(f"GET /containers/long/{QUERY}", HEAD + two[:5] + two[5:])
    return engine


def test_several_are_put_in_order(outputs: FakeEngine, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "a", "long"]) == 0
    assert capfd.readouterr().out.splitlines() == ["a    | one", "long | two", "a    | three"]


def test_lines_as_json(outputs: FakeEngine, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["logs", "--json", "long"]) == 0
    assert json.loads(capfd.readouterr().out) == {
        "time": "2026-01-01T00:00:02.000000000Z",
        "container": "long",
        "stream": "stderr",
        "message": "two",
    }


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        (["--grep", "^t"], ["three"]),
        (["--until", "2026-01-01T00:00:02Z"], ["one"]),
        (["--grep", "e", "--tail", "1"], ["three"]),
        (["--grep", "e", "--tail", "0"], []),
    ],
)
def test_outputs_are_chosen_from(
    outputs: FakeEngine,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    wanted: list[str],
) -> None:
    assert main(["logs", *arguments, "a"]) == 0
    assert capfd.readouterr().out.split() == wanted


def test_following_several_ends_with_them(
    engine: FakeEngine, capfd: pytest.CaptureFixture[str]
) -> None:
    query = QUERY.replace("&timestamps", "&follow=1&timestamps")
    for name in ("a", "b"):
        engine.answer_raw(f"GET /containers/{name}/{query}", HEAD + line(1, name))
    assert main(["logs", "-f", "a", "b"]) == 0
    assert sorted(capfd.readouterr().out.splitlines()) == ["a | a", "b | b"]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "messages"

    def text(day: int, level: int, container: str) -> str:
        structure = f'[orlop@32473 container="{container}"]'
        return f"<{24 + level}>1 2026-01-0{day}T00:00:00Z host app 1 - {structure} day {day}\n"

    (tmp_path / "messages.1").write_text(text(1, 3, "ssh") + text(2, 6, "time"))
    path.write_text(text(3, 4, "ssh") + text(4, 6, "ssh"))
    monkeypatch.setattr(messages, "LOG_PATH", str(path))
    monkeypatch.setattr(
        messages.show,
        "__kwdefaults__",
        {
            **(messages.show.__kwdefaults__ or {}),
            "path": str(path),
        },
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "days"),
    [
        ([], [3, 4]),
        (["--priority", "warning"], [1, 3]),
        (["--priority", "err"], [1]),
        (["--priority", "7", "ssh"], [1, 3, 4]),
        (["--priority", "debug", "time", "other"], [2]),
        (["--since", "2026-01-02T00:00:00Z", "--until", "2026-01-03T00:00:00Z"], [2, 3]),
        (["--grep", "day [14]"], [1, 4]),
        (["--grep", "day", "-n", "3"], [2, 3, 4]),
    ],
)
def test_messages_are_chosen_from_all_files(
    log: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], days: list[int]
) -> None:
    assert main(["logs", "--json", *arguments]) == 0
    found = [json.loads(row) for row in capfd.readouterr().out.splitlines()]
    assert [row["message"] for row in found] == [f"day {day}" for day in days]
    assert all(row["container"] in ("ssh", "time") for row in found)


@pytest.mark.parametrize("arguments", [["--grep", "("], ["-p", "loud"], ["--until", "x"]])
def test_what_is_no_choice_is_a_wrong_command_line(
    log: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["logs", *arguments]) == 2
    assert capsys.readouterr().err.startswith("orlop: ")


def test_a_choice_of_nothing_is_everything() -> None:
    assert Choice().is_everything
    assert not Choice(names={"a"}).is_everything
    assert not Choice(since_s=1.0).is_everything


EVENT = {
    "Type": "container",
    "Action": "start",
    "Actor": {"ID": "f" * 64, "Attributes": {"name": "web", "image": "nginx"}},
    "timeNano": 1767225600_000000005,
}


def test_events_of_both_engines(
    engine: FakeEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    user = FakeEngine(tmp_path / "user.sock")
    monkeypatch.setattr(events, "USER_SOCKET", str(tmp_path / "user.sock"))
    later = json.dumps({**EVENT, "Action": "die", "timeNano": EVENT["timeNano"] + 1})  # type: ignore[operator]
    body = f"HTTP/1.1 200 OK\r\n\r\n{json.dumps(EVENT)}\n".encode()
    user.answer_raw("GET /events", body)
    engine.answer_raw("GET /events", f"HTTP/1.1 200 OK\r\n\r\n{later}\n".encode())
    assert main(["events", "--filter", "type=container", "--filter", "type=image"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "2026-01-01T00:00:00.000000005Z user container start web (image=nginx)",
        "2026-01-01T00:00:00.000000006Z system container die web (image=nginx)",
    ]
    asked = user.asked()[0]
    assert "since=1." in asked
    assert "until=" in asked
    assert "%22type%22%3A%5B%22container%22%2C%22image%22%5D" in asked
    assert main(["events", "--user", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["attributes"] == {"name": "web", "image": "nginx"}
    assert main(["events", "-f", "--user", "--json"]) == 0
    assert user.asked()[-1] == "GET /events"
    user.close()


def test_the_users_engine_may_be_off(
    engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "USER_SOCKET", str(tmp_path / "none"))
    engine.answer_raw("GET /events", b"HTTP/1.1 200 OK\r\n\r\n")
    assert main(["events"]) == 0
    assert main(["events", "--user"]) == 1
    assert main(["events", "--filter", "x"]) == 2


def test_dmesg_by_name_of_level_with_times(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [{"level": 3, "uptime_s": 2.0, "text": "bad"}, {"level": 6, "uptime_s": 3, "text": "x"}]
    engine.answer("GET /orlop/dmesg", {"messages": found})
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr("time.time", lambda: 1767225700.0)
    monkeypatch.setattr("time.clock_gettime", lambda _: 100.0)
    assert main(["dmesg", "-l", "err", "-T", "-x"]) == 0
    assert capsys.readouterr().out == "error     [2026-01-01 00:00:02] bad\n"
    assert main(["dmesg", "--level", "shout"]) == 2


def test_dmesg_follows(tmp_path: Path) -> None:
    kmsg = tmp_path / "kmsg"
    kmsg.write_text("")
    assert [*dmesg.following(str(kmsg))] == []
    with pytest.raises(Forbidden):
        next(dmesg.following(str(tmp_path / "none")))
