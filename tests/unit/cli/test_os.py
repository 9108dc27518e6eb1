"""`orlop os`: what it asks, what it shows, and its exit statuses."""

import json
import socket
import threading
from pathlib import Path

import pytest

from orlop.cli.main import main
from tests.unit.cli.fake_engine import FakeEngine

STATUS = {
    "installed": True,
    "version": "0.2.0",
    "build": "0123456789abcdef0123",
    "running": 3,
    "good": 2,
    "previous": 1,
    "staged": 3,
    "trial": {"generation": 3, "attempt": 2, "now": True},
    "configuration_changed": True,
    "hold": {"reason": "a fair", "at_s": 1.0, "until_s": 0.0},
    "services": {"time": {"digest": "sha256:abab"}},
    "bad": {
        "ab" * 32: {"cause": "health", "text": "web answers 500"},
        "cd" * 32: {"cause": "rolled back", "text": ""},
    },
    "blocked": "generation 3 is on trial",
}
GENERATIONS = [
    {
        "number": 1,
        "created": 0,
        "release": {"version": "0.1.0", "sequence": 1},
        "image": {"id": "a" * 16},
        "services": {"time": {"digest": f"sha256:{'ab' * 32}"}, "ssh": {"digest": None}},
        "states": ["running", "good"],
        "tainted": True,
    }
]


def answer(engine: FakeEngine, request: str, *lines: object) -> None:
    body = "".join(f"{json.dumps(line)}\n" for line in lines)
    head = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
    engine.answer_raw(request, (head + body).encode())


def test_status(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("GET /orlop/os/status", STATUS)
    assert main(["os"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "Orlop 0.2.0, build 0123456789abcdef",
        "running   generation 3",
        "good      generation 2",
        "previous  generation 1",
        "staged    generation 3",
        "service   time sha256:abab",
        "trial     generation 3, now, attempt 2",
        "held      a fair",
        "changed   the configuration, since the generation was made",
        "bad       abababababababab: health web answers 500",
        "left      cdcdcdcdcdcdcdcd: rolled back",
        "waiting   generation 3 is on trial",
    ]
    assert main(["os", "status", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == STATUS


def test_what_is_replaced_in_place(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    result = {"generation": 3, "reboot": False, "services": ["ssh", "time"]}
    answer(engine, "POST /orlop/os/apply", {"result": result})
    assert main(["os", "apply"]) == 0
    assert capsys.readouterr().out == "generation 3, without a reboot: ssh, time\n"
    assert main(["os", "apply", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert said == "would be done: generation 3, without a reboot: ssh, time\n"


def test_list(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("GET /orlop/os/list", GENERATIONS)
    assert main(["os", "list"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert (
        header
        == "GENERATION   VERSION   IMAGE              SERVICES                   MADE   STATES"
    )
    assert row == (
        "1            0.1.0     aaaaaaaaaaaaaaaa   time sha256:abababababab   -      "
        "running, good, tainted"
    )


def test_a_verb_and_its_end(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    answer(
        engine,
        "POST /orlop/os/apply",
        {"progress": {"done": 1, "of": 2}},
        {"result": {"generation": 3, "reboot": True}},
    )
    assert main(["os", "apply", "--now"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "generation 3 is tried with the next boot",
        "the machine reboots",
    ]
    [(_, body)] = engine.requests
    assert json.loads(body) == {"now": True, "dry_run": False, "reboot": True}


@pytest.mark.parametrize(
    ("kind", "status"), [("NotModified", 77), ("Forbidden", 75), ("Conflict", 1), ("Internal", 1)]
)
def test_exit_statuses(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], kind: str, status: int
) -> None:
    error = {"kind": kind, "message": "it is so", "hint": "something"}
    answer(engine, "POST /orlop/os/rollback", {"error": error})
    assert main(["os", "rollback", "2"]) == status
    assert capsys.readouterr().err == "orlop: it is so\n  (try: something)\n"


def test_a_live_system_says_so(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("GET /orlop/os/why", {"message": "this system runs from memory"}, status=503)
    assert main(["os", "why"]) == 1
    assert "this system runs from memory" in capsys.readouterr().err


def test_an_image_is_sent_and_must_be_called_unsigned(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    image = tmp_path / "orlop.efi"
    image.write_bytes(b"x" * 1000)
    assert main(["os", "stage", "--image", str(image)]) == 2
    assert "--unsigned" in capsys.readouterr().err
    answer(engine, "POST /orlop/os/stage?unsigned=1", {"result": {"generation": 4}})
    assert main(["os", "stage", "--image", str(image), "--unsigned"]) == 0
    assert capsys.readouterr().out == "generation 4 is staged: orlop os apply\n"


def test_verify_fails_when_something_is_not_as_it_was(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    rows: list[dict[str, object]] = [
        {"what": "image a", "ok": False, "problem": "is damaged"},
        {"what": "boot record", "ok": True, "problem": None},
    ]
    lines: list[object] = [{"progress": {"done": 1, "of": 2}}]
    answer(engine, "POST /orlop/os/verify", *lines, {"result": {"rows": rows, "ok": False}})
    assert main(["os", "verify"]) == 1
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "WHAT          IS",
        "image a       is damaged",
        "boot record   as it was",
    ]
    assert "orlop os verify --repair" in said.err
    assert main(["os", "verify", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == rows
    rows[0] |= {"ok": True, "problem": None, "repaired": True}
    answer(engine, "POST /orlop/os/verify", *lines, {"result": {"rows": rows, "ok": True}})
    assert main(["os", "verify", "--repair"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "image a       repaired"
    assert main(["os", "verify", "--repair", "/mnt/releases.tar"]) == 0
    asked = json.loads(engine.requests[-1][1])
    assert asked == {"repair": True, "source": "/mnt/releases.tar"}
    assert main(["os", "verify", "--repair", "releases.tar"]) == 1
    assert main(["os", "verify", "/mnt/releases.tar"]) == 2


@pytest.mark.parametrize("words", [["pin"], ["pin", "x"], ["diff", "1"], ["nothing"], ["pin", "0"]])
def test_wrong_words(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["os", *words]) == 2
    assert capsys.readouterr().err


def test_releases(engine: FakeEngine, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = {"version": "2.0", "sequence": 2, "download_bytes": 12345}
    waits = {"progress": {"waits": "https://releases.example"}}
    answer(engine, "POST /orlop/os/check", waits, {"result": found})
    assert main(["os", "check", "--channel", "beta"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("release 2.0 (sequence 2), 12,345 bytes to fetch")
    assert told.err == "no answer from https://releases.example yet\n"
    made = {"result": {"generation": 3, "version": "2.0"}}
    answer(engine, "POST /orlop/os/stage", made)
    assert main(["os", "stage", "oci://registry.example/orlop:stable"]) == 0
    assert "generation 3 is staged: release 2.0" in capsys.readouterr().out
    archive = tmp_path / "release.tar"
    archive.write_bytes(b"an archive")
    answer(engine, "POST /orlop/os/stage?archive=1&channel=beta", made)
    assert main(["os", "stage", str(archive), "--channel", "beta"]) == 0
    answer(engine, "POST /orlop/os/trust", {"result": {"version": 1, "threshold": 2}})
    assert main(["os", "trust", str(archive)]) == 0
    assert "2 of its keys say who signs releases" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["stage", "folder"], "folder is a directory"),
        (["stage", "none.tar"], "cannot read none.tar: No such file"),
        (["stage", "--image", "folder", "--unsigned"], "folder is a directory"),
        (["trust", "folder"], "cannot read folder: Is a directory"),
        (["trust", "binary"], "binary is no root of trust"),
        (["hold", "--until", "soon"], "'soon' is neither a duration nor a time"),
    ],
)
def test_files_and_times_that_are_none(
    words: list[str],
    text: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    assert main(["os", *words]) in (1, 2)
    assert text in capsys.readouterr().err


def test_fetching_is_given_up(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    answer(engine, "POST /orlop/os/cancel", {"result": {"fetch": "given up"}})
    assert main(["os", "cancel"]) == 0
    assert capsys.readouterr().out == "nothing is fetched any more; what has come is kept\n"


def test_no_turn_yet(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    answer(engine, "POST /orlop/os/check", {"error": {"kind": "Forbidden", "message": "later"}})
    assert main(["os", "check"]) == 75
    assert main(["os", "check", "ftp://x"]) == 1
    assert "no source of releases" in capsys.readouterr().err


def test_inhibit_holds_its_connection_while_the_program_runs(
    engine: FakeEngine, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And asks again when it is cut, as by an engine that is replaced, until it is answered."""
    held: list[bytes] = []
    ended = threading.Event()

    def hold(connection: socket.socket, _: bytes) -> None:
        if held == [b"cut"]:
            held.append(b"refused")
            connection.sendall(b"HTTP/1.1 409 Conflict\r\nContent-Length: 0\r\n\r\n")
            return
        connection.sendall(b'HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{"result": {}}\n')
        if not held:
            held.append(b"cut")
            return
        (tmp_path / "again").touch()
        held.append(connection.recv(1))
        ended.set()

    engine.script("POST /orlop/os/inhibit", hold)
    wait = f"until [ -e {tmp_path}/again ]; do sleep 0.05; done; echo ran; exit 3"
    assert main(["os", "inhibit", "--reason", "moving", "--", "sh", "-c", wait]) == 3
    assert capfd.readouterr().out == "ran\n"
    assert ended.wait(60)
    assert held == [b"cut", b"refused", b""]
    assert json.loads(engine.requests[0][1]) == {"reason": "moving"}
    assert main(["os", "inhibit"]) == 2


def test_words_after_the_end_of_options_are_words(engine: FakeEngine) -> None:
    answer(engine, "POST /orlop/os/pin", {"result": {"generation": 2}})
    assert main(["os", "pin", "--", "2"]) == 0
    assert json.loads(engine.requests[0][1]) == {"generation": 2}
    assert main(["os", "gc", "--", "2"]) == 2
    assert engine.asked() == ["POST /orlop/os/pin"]


@pytest.mark.parametrize(
    ("verb", "result", "said"),
    [
        ("gc", {"generations": [2, 3]}, "removed: 2, 3\n"),
        (
            "check",
            {"version": "2.0", "sequence": 2, "download_bytes": 5, "staged": 4},
            "release 2.0 is staged already, as generation 4: orlop os apply\n",
        ),
    ],
)
def test_what_people_are_told(
    engine: FakeEngine,
    capsys: pytest.CaptureFixture[str],
    verb: str,
    result: dict[str, object],
    said: str,
) -> None:
    answer(engine, f"POST /orlop/os/{verb}", {"result": result})
    assert main(["os", verb]) == 0
    assert capsys.readouterr().out == said
