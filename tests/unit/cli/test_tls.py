"""`orlop tls`: files for Docker's clients, and what is said of what ends soon."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from orlop.cli import tls
from orlop.cli.main import main
from orlop.lib import authority
from tests.unit.cli.fake_engine import FakeEngine


@pytest.fixture
def directory(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "tls"
    monkeypatch.setattr(authority, "DIRECTORY", path)
    monkeypatch.setattr(authority.Authority.__init__, "__defaults__", (path,))
    config = {"orlop": {"engine": {"tls": {"enabled": True}}}}
    engine.answer("GET /orlop/config", {"config": config})
    engine.answer("POST /orlop/services/engine/restart", status=204)
    return path


def test_generate_show_renew(
    engine: FakeEngine, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tls", "show"]) == 1
    assert main(["tls", "generate", "--server", "-H", "ship.example", "--host", "b"]) == 0
    assert engine.asked()[-1] == "POST /orlop/services/engine/restart"
    capsys.readouterr()
    assert main(["tls", "show", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["hosts"][:2] == ["ship.example", "b"]
    assert {"localhost", "127.0.0.1"} <= set(found["hosts"])
    assert [entry["file"] for entry in found["certificates"]] == ["ca.pem", "server-cert.pem"]
    before = (directory / "ca.pem").read_text()
    assert main(["tls", "renew"]) == 0
    assert (directory / "ca.pem").read_text() == before
    capsys.readouterr()
    assert main(["tls", "renew", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["certificates"]
    assert main(["tls", "renew", "--ca"]) == 0
    assert (directory / "ca.pem").read_text() != before
    assert "no client's certificate counts" in capsys.readouterr().out
    assert "ship.example" in authority.Authority().hosts()


def test_a_client_for_docker(
    directory: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "docker"
    assert main(["tls", "generate", "-d", str(home), "--days", "0"]) == 2
    capsys.readouterr()
    assert main(["tls", "generate", "-d", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"] == ["ca.pem", "cert.pem", "key.pem"]
    assert main(["tls", "show"]) == 0
    (line,) = capsys.readouterr().out.splitlines()  # there is no certificate of the engine's yet
    assert line.startswith("ca.pem ")
    assert {path.name for path in home.iterdir()} == {"ca.pem", "cert.pem", "key.pem"}
    assert (home / "key.pem").stat().st_mode & 0o777 == 0o600
    bundle = tmp_path / "bundle.tar"
    assert main(["tls", "client", "me", "--host", "192.0.2.7", "-o", str(bundle)]) == 0
    assert bundle.stat().st_mode & 0o777 == 0o600
    with tarfile.open(fileobj=io.BytesIO(bundle.read_bytes())) as archive:
        names = archive.getnames()
        meta = archive.extractfile("meta.json")
        assert meta is not None
        endpoint = json.loads(meta.read())["Endpoints"]["docker"]
    assert names == ["meta.json", *(f"tls/docker/{n}.pem" for n in ("ca", "cert", "key"))]
    assert endpoint == {"Host": "tcp://192.0.2.7:2376", "SkipTLSVerify": False}


def test_what_ends_soon_is_in_the_status(
    engine: FakeEngine,
    directory: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("orlop.cli.status.SERVER_CERTIFICATE", str(directory / "server-cert.pem"))
    engine.answer("GET /orlop/status", {"phase": "ready", "warnings": []})
    assert main(["tls", "generate", "--server", "--days", "29"]) == 0
    capsys.readouterr()
    assert main(["status", "--json"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning.startswith("the certificate server-cert.pem of the engine ends in ")
    assert main(["tls", "renew"]) == 0
    assert tls.warning() == ""


@pytest.mark.parametrize("argv", [["tls"], ["tls", "x"], ["tls", "client"], ["tls", "show", "a"]])
def test_wrong_command_lines(argv: list[str]) -> None:
    assert main(argv) == 2
