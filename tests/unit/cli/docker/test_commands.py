"""The table of commands is whole, and what the engine says is passed on."""

from __future__ import annotations

import ast
import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.cli.docker import table
from orlop.cli.docker.main import main

if TYPE_CHECKING:
    from tests.unit.cli.fake_engine import FakeEngine

DIRECTORY = Path(table.__file__).parent
NAMES = [
    *table.ROWS,
    *(f"{group} {name}" for group, (_, names) in table.GROUPS.items() for name in names.split()),
]
API = "/v1.45"


@pytest.fixture
def host(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path / 'system.sock'}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "config"))
    return engine


@pytest.mark.parametrize("name", NAMES)
def test_every_row_has_its_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = table.load(name)
    letters = [flag.short for flag in command.flags if flag.short]
    assert len(letters) == len(set(letters))
    assert len({flag.name for flag in command.flags}) == len(command.flags)
    assert main([*name.split(), "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage:  docker {name}")


def test_the_image_takes_every_file_along() -> None:
    tree = ast.parse((DIRECTORY / "table.py").read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "orlop.cli.docker"
        for alias in node.names
    }
    assert {row[0] for row in table.ROWS.values()} == imported


def test_starting_imports_nothing_heavy() -> None:
    heavy = {"re", "argparse", "json", "tarfile", "dataclasses", "enum", "typing", "threading"}
    tops = {
        alias.name
        for name in ("main", "table", "flags", "session", "ps", "command", "listing", "human")
        for node in ast.parse((DIRECTORY / f"{name}.py").read_text()).body
        if isinstance(node, ast.Import)
        for alias in node.names
    }
    assert tops.isdisjoint(heavy)


def test_overviews(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Management Commands:" in capsys.readouterr().out
    assert main(["container"]) == 0
    assert main(["container", "nonsense"]) == 1
    assert main(["--version"]) == 0
    assert main(["help", "ps"]) == 0
    assert "--filter" in capsys.readouterr().out


def test_other_hosts_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-H", "tcp://127.0.0.1:1", "ps"]) == 1
    assert "only speaks unix://PATH" in capsys.readouterr().err
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/sock")
    assert main(["ps"]) == 1
    assert "Is the docker daemon running?" in capsys.readouterr().err


def test_errors_are_the_daemons(host: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    host.answer(f"POST {API}/containers/a/stop", {"message": "no, not now"}, 409)
    assert main(["stop", "a", "b"]) == 1
    assert capsys.readouterr().err == (
        "Error response from daemon: no, not now\nError response from daemon: no such thing\n"
    )


def test_what_is_so_already_is_no_failure(host: FakeEngine) -> None:
    host.answer(f"POST {API}/containers/a/start", status=304)
    assert main(["start", "a"]) == 0


def test_run_pulls_what_is_missing(
    host: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [(404, {"message": "No such image: img:1"}), (201, {"Id": "abc", "Warnings": []})]

    def create(connection: object, body: bytes) -> None:
        status, value = answers.pop(0)
        data = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall(head.encode() + data)  # type: ignore[attr-defined]

    host.script(f"POST {API}/containers/create", create)
    host.answer_raw(
        f"POST {API}/images/create",
        b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"status":"Pulled"}\n',
    )
    host.answer(f"POST {API}/containers/abc/start", status=204)
    assert main(["run", "-d", "localhost:5000/img:1"]) == 0
    out = capsys.readouterr()
    assert out.out == "abc\n"
    assert "Unable to find image 'localhost:5000/img:1' locally" in out.err
    assert f"POST {API}/images/create?fromImage=localhost:5000/img&tag=1" in host.asked()


def test_a_pull_that_fails_says_why(host: FakeEngine, capfd: pytest.CaptureFixture[str]) -> None:
    lines = b'{"status":"Trying"}\n{"errorDetail":{"message":"gone"},"error":"gone"}\n'
    host.answer_raw(
        f"POST {API}/images/create", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + lines
    )
    assert main(["pull", "img"]) == 1
    assert capfd.readouterr().err == "gone\n"


def test_login_is_kept_and_sent(
    host: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    host.answer(f"POST {API}/auth", {"Status": "Login Succeeded", "IdentityToken": ""})
    assert main(["login", "-u", "me", "-p", "secret", "localhost:5000"]) == 0
    path = tmp_path / "config/config.json"
    assert path.stat().st_mode & 0o777 == 0o600
    stored = json.loads(path.read_text())["auths"]["localhost:5000"]["auth"]
    assert base64.b64decode(stored) == b"me:secret"
    assert "Login Succeeded" in capsys.readouterr().out
    assert main(["logout", "localhost:5000"]) == 0
    assert json.loads(path.read_text())["auths"] == {}


def test_formats_of_the_configuration(
    host: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/config.json").write_text('{"psFormat": "{{.Image}}!"}')
    host.answer(f"GET {API}/containers/json", [{"Id": "a", "Image": "img"}])
    assert main(["ps"]) == 0
    assert capsys.readouterr().out == "img!\n"
    (tmp_path / "config/config.json").write_text("{")
    assert main(["ps"]) == 1
    assert "Error loading config file" in capsys.readouterr().err
