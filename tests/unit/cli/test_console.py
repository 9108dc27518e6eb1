"""`orlop console`: what is listed, and how images are named."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from orlop.cli import console, exec_command
from orlop.cli.main import main

if TYPE_CHECKING:
    from orlop.cli.answers import Object


def test_what_is_listed() -> None:
    answer: Object = {
        "name": "debian",
        "enabled": "alpine:3",
        "state": "running",
        "reason": "",
        "images": ["catalogue.internal/debian:latest", "alpine:3", "fedora:42"],
    }
    assert console.rows(answer) == [
        ("default", "available", ""),
        ("debian", "current", "until the next boot"),
        ("alpine:3", "enabled", "from the next boot on"),
        ("fedora:42", "available", ""),
    ]


def test_a_console_that_is_not_there_is_listed() -> None:
    reason = "No such image: alpine:3"
    answer: Object = {"name": "alpine:3", "enabled": "alpine:3"}
    answer |= {"state": "failed", "reason": reason}
    assert console.rows(answer) == [
        ("default", "available", ""),
        ("alpine:3", "failed", reason),
    ]


def test_names_of_images() -> None:
    assert console.references("debian") == ["debian", "catalogue.internal/debian:latest"]
    assert console.references("debian:13") == ["debian:13"]
    assert console.references("example/debian") == ["example/debian"]
    assert console.shown("catalogue.internal/debian:latest") == "debian"


@pytest.mark.parametrize(
    ("status", "was_running", "terminal", "program", "falls_back"),
    [
        (127, True, True, [], True),
        (127, True, True, ["-c", "nonsense"], False),
        (127, True, False, [], False),
        (1, True, True, [], False),
        (0, False, True, [], True),
    ],
)
def test_a_shell_that_cannot_run_is_no_session(
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    was_running: bool,
    terminal: bool,
    program: list[str],
    falls_back: bool,
) -> None:
    session = SimpleNamespace(
        end_with_terminal=lambda: None, run=lambda **_: status, was_running=was_running
    )
    said: list[str] = []
    client = SimpleNamespace(post=lambda _, body: said.append(body["reason"]))
    monkeypatch.setattr(console, "_chosen", lambda: "shell")
    monkeypatch.setattr(console, "Client", lambda: client)
    monkeypatch.setattr(console, "os", SimpleNamespace(isatty=lambda _: terminal, environ={}))
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=lambda: 1.0))
    monkeypatch.setattr(exec_command, "start", lambda *_: session)
    shells: list[list[str]] = []

    def own_shell(words: list[str]) -> int:
        shells.append(words)
        return 0

    monkeypatch.setattr(console, "_own_shell", own_shell)
    code = console.enter(program)
    assert (shells, bool(said)) == ([program] * falls_back, falls_back)
    assert code == (0 if falls_back else status)


@pytest.mark.parametrize("words", ["console rm", "console dance", "engine rm", "engine ls x"])
def test_what_can_be_done_is_said(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    command, _, rest = words.partition(" ")
    said = capsys.readouterr().err
    assert said.startswith(f"orlop: '{rest}' is none of: orlop {command} ls | switch ")
