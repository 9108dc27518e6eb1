"""No secret leaves the machine in the file of `orlop support`, wherever it has got to."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from orlop.cli import messages, net, support
from orlop.cli.main import main
from orlop.cli.redaction import Redactor, secrets_of
from orlop.wire.config.secrets import hide
from orlop.wire.config.table import EACH, KEYS, NAME, SECRETS
from tests.unit.cli.fake_engine import FakeEngine

CANARY = "canary-7f3a9"


def with_canaries() -> dict[str, object]:
    """A configuration with a different canary in every secret key of the table."""
    data: dict[str, object] = {"hostname": "ship"}
    for number, key in enumerate(key for key in KEYS if key.secret):
        *path, last = key.segments
        inner: object = data
        for segment, following in zip(path, [*path, last][1:], strict=True):
            name = "one.example" if segment == NAME else segment
            if segment == EACH:
                assert isinstance(inner, list)
                if not inner:
                    inner.append({})
                inner = inner[0]
                continue
            assert isinstance(inner, dict)
            inner = inner.setdefault(name, [] if following == EACH else {})
        if isinstance(inner, list):
            inner.append(f"{CANARY}-{number}")
        else:
            assert isinstance(inner, dict)
            canary = f"{CANARY}-{number}"
            value = {"TOKEN": canary} if key.kind.is_map else canary
            inner["one.example" if last == NAME else last] = value
    return data


def test_every_secret_key_is_found() -> None:
    shown = with_canaries()
    found = secrets_of(shown, hide(shown, SECRETS))  # type: ignore[arg-type]
    count = sum(key.secret for key in KEYS)
    assert count
    assert {f"{CANARY}-{number}" for number in range(count)} <= found
    assert "ship" not in found


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (f"proxy http://me:{CANARY}@proxy:3128/", "proxy http://(hidden)@proxy:3128/"),
        (f"GET https://h/x?a=1&access_token={CANARY}&b=2", "access_token=(hidden)&b=2"),
        (f"https://h/x?sig={CANARY}", "?sig=(hidden)"),
        (f'{{"password": "{CANARY}"}}', '{"password": "(hidden)"}'),
        (f'{{\\"password\\":\\"{CANARY}\\"}}', '\\"password\\":\\"(hidden)\\"'),
        (f"DB_PASSWORD={CANARY} next", "DB_PASSWORD=(hidden) next"),
        (f"https://me:a@{CANARY}@host/", "https://(hidden)@host/"),
        (f'{{"password": "two {CANARY}", "a": "b"}}', '{"password": "(hidden)", "a": "b"}'),
        (f'{{\\"password\\":\\"two {CANARY}\\"}}', '\\"password\\":\\"(hidden)\\"'),
        (f'"secret": "with \\" {CANARY}"', '"secret": "(hidden)"'),
        (f"backup --db-password {CANARY} --fast", "--db-password (hidden) --fast"),
        (f"psk={CANARY}", "psk=(hidden)"),
        (f"Authorization: Bearer {CANARY}", "Authorization: (hidden)"),
        (f"curl -H 'X: Basic {CANARY}'", "Basic (hidden)"),
        (
            f"-----BEGIN EC PRIVATE KEY-----\n{CANARY}\n-----END EC PRIVATE KEY-----",
            "-----BEGIN EC PRIVATE KEY----- (hidden) -----END EC PRIVATE KEY-----",
        ),
        (f"-----BEGIN PRIVATE KEY-----\\n{CANARY}\\n", "(hidden)"),
        (f"root:$6$salt${CANARY}:1", "root:(hidden):1"),
    ],
)
def test_what_looks_like_a_secret_goes(text: str, wanted: str) -> None:
    cleaned = Redactor(set()).clean(text)
    assert CANARY not in cleaned
    assert wanted in cleaned


def test_known_ones_go_wherever_they_are() -> None:
    redactor = Redactor({'with "quotes" and ü', "x", "several\nlines of it"})
    assert redactor.clean(json.dumps({"a": 'with "quotes" and ü'})) == '{"a": "(hidden)"}'
    assert redactor.clean('say with "quotes" and ü!') == "say (hidden)!"
    assert redactor.clean("x is short") == "x is short"
    assert redactor.clean("no secret here: 10.0.0.1") == "no secret here: 10.0.0.1"


@pytest.fixture
def machine(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """A machine with a canary in every secret key, all of which have got into its logs."""
    shown = with_canaries()
    leaks = " ".join(f"{CANARY}-{number}" for number in range(len(SECRETS)))
    url = f"https://user:{CANARY}@h/?token={CANARY}"
    engine.answer("GET /orlop/config?secrets=show", {"config": shown})
    hidden = hide(shown, SECRETS)  # type: ignore[arg-type]
    files = [{"path": "/etc/token", "content": CANARY}]
    config = {**hidden, "runcmd": [url], "write_files": files}
    engine.answer("GET /orlop/config?secrets=hide", {"config": config})
    engine.answer("GET /orlop/status", {"warnings": [f"cannot fetch {url}"]})
    engine.answer("GET /orlop/dmesg", {"messages": [{"uptime_s": 1, "text": leaks}]})
    engine.answer("GET /containers/json", [{"Names": ["/time"]}])
    engine.answer("GET /containers/time/top", {"Titles": ["CMD"], "Processes": [[f"x {url}"]]})
    engine.answer_raw(
        "GET /containers/time/logs",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n"
        + f"2026-01-01T00:00:00Z {leaks}\r\n".encode(),
    )
    log = tmp_path / "messages"
    log.write_text(f"<30>1 2026-01-01T00:00:00Z host app 1 - - {leaks} {url}\n")
    monkeypatch.setattr(messages.latest, "__defaults__", (str(log),))
    monkeypatch.setattr(net, "USER_SOCKET", str(tmp_path / "none"))
    return engine


def test_the_file_has_all_and_no_canary(
    machine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "support.tar.gz"
    assert main(["support", "-o", str(path), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["size_bytes"] == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        files = {
            name.partition("/")[2]: stream.read().decode()
            for name in archive.getnames()
            if (stream := archive.extractfile(name)) is not None
        }
    assert [*files] == answer["entries"]
    assert {"configuration.json", "messages.txt", "dmesg.txt", "logs/time.txt"} <= set(files)
    assert {"proc/meminfo", "network.json", "README", "processes.json"} <= set(files)
    assert [name for name, text in files.items() if CANARY in text] == []
    assert "/etc/token" in files["configuration.json"]
    assert "(hidden)" in files["messages.txt"]
    assert "2026-01-01T00:00:00Z stdout (hidden)" in files["logs/time.txt"]
    assert files["disks.json"].startswith("not to be had: ")


def test_the_file_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(support, "ENTRY_LIMIT_BYTES", 100)
    monkeypatch.setattr(support, "TOTAL_LIMIT_BYTES", 150)
    entries = iter([("a", lambda: "x" * 300 + "end"), ("b", lambda: "y" * 300)])
    data = b"".join(support.packed("f", entries, Redactor(set()), []))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        first, second = (archive.extractfile(f"f/{name}") for name in "ab")
        assert first is not None
        assert second is not None
        text = first.read()
        assert len(text) == 100
        assert text.endswith(b"end")
        assert second.read().startswith(b"left out")


def test_a_place_that_cannot_be_written_is_named(
    machine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["support", "-o", "/nowhere/file"]) == 1
    assert "/nowhere/file" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["a.", "x-", "password ", 'token="', "https://a", "&a_", "-a "])
def test_a_line_is_not_gone_through_again_for_each_of_its_words(part: str) -> None:
    text = part * (400_000 // len(part))
    assert len(Redactor(set()).clean(text)) >= len(text) // 4
