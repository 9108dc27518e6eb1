"""`orlop install`: what its words ask for, what it shows, and what it asks a person."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest

from orlop.cli import install, install_dialogue, install_keys
from orlop.cli.client import Client
from orlop.cli.main import main
from orlop.lib.errors import Cancelled, OrlopError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.fake_engine import FakeEngine

DISK = {
    "name": "vda",
    "device": "/dev/vda",
    "id": "virtio-system",
    "ids": ["virtio-system"],
    "model": "Disk of mine",
    "size_bytes": 8 << 30,
    "content": "empty",
    "found": [],
    "has_state": False,
    "busy": "",
    "problem": "",
}
MEDIUM = {**DISK, "name": "sdb", "device": "/dev/sdb", "id": "usb-x", "ids": ["usb-x"]}
MEDIUM["problem"] = "is what this machine was started from"


def stream(*events: dict[str, object]) -> bytes:
    lines = b"".join(json.dumps(event).encode() + b"\n" for event in events)
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + lines


GOOD = stream(
    {"step": "boot partition", "text": "boot partition", "done_bytes": 1, "total_bytes": 2},
    {"step": "boot partition", "text": "boot partition", "done_bytes": 2, "total_bytes": 2},
    {"text": "installed on /dev/vda", "result": {"device": "/dev/vda"}},
)


def body(engine: FakeEngine) -> dict[str, object]:
    [data] = [data for request, data in engine.requests if request == "POST /orlop/install"]
    found = json.loads(data)
    assert isinstance(found, dict)
    return found


def test_by_options(engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer_raw("POST /orlop/install", GOOD)
    path = tmp_path / "ship.yml"
    path.write_text("hostname: ship\n")
    words = ["-t", "generic", "-c", str(path), "-d", "virtio-system", "-a", "a=b", "--wipe"]
    assert main(["install", *words, "--yes", "--reboot"]) == 0
    assert body(engine) == {
        "disk": "virtio-system",
        "config": "hostname: ship\n",
        "config_name": str(path),
        "append": "a=b",
        "wipe": True,
        "then": "reboot",
    }
    assert capsys.readouterr().out.splitlines() == ["boot partition", "installed on /dev/vda"]


def test_an_error_in_the_midst_of_it(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    events: tuple[dict[str, object], ...] = (
        {"text": "boot loader"},
        {"error": "/dev/vda is faulty", "hint": "another disk"},
    )
    engine.answer_raw("POST /orlop/install", stream(*events))
    assert main(["install", "-d", "vda", "-y"]) == 1
    error = capsys.readouterr().err
    assert "/dev/vda is faulty" in error
    assert "another disk" in error
    engine.answer_raw("POST /orlop/install", stream(*events))
    assert main(["install", "-d", "vda", "-y", "--json"]) == 1
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [*events]


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--yes"], 2),
        (["-d", "vda"], 2),
        (["-d", "vda", "-y", "--wipe", "--keep-state"], 2),
        (["-d", "vda", "-y", "--reboot", "--poweroff"], 2),
        (["-d", "vda", "-y", "--mirror", "vdb", "--keep-state"], 2),
        (["-d", "vda", "-y", "-t", "raid"], 1),
        (["-d", "vda", "-y", "-c", "/nowhere"], 1),
        (["-d", "vda", "-y", "--encrypt", "magic"], 2),
        (["-d", "vda", "-y", "--encrypt", "passphrase"], 2),
        (["-d", "vda", "-y", "--encrypt", "tpm", "--passphrase-file", "/nowhere"], 1),
    ],
)
def test_what_is_refused(engine: FakeEngine, words: list[str], status: int) -> None:
    assert main(["install", *words]) == status
    assert not engine.requests


def test_the_list(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("GET /orlop/install", {"disks": [DISK, MEDIUM], "is_running": False})
    assert main(["install", "--list"]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.split()[:3] == ["1", "virtio-system", "/dev/vda"]
    assert first.endswith("empty")
    assert second.endswith("is what this machine was started from")


def dialogue(engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, *answers: str) -> int:
    engine.answer("POST /orlop/reboot", {})
    lines = [f"{answer}\n".encode() for answer in answers]
    monkeypatch.setattr(os, "read", lambda _fd, _size: lines.pop(0) if lines else b"")
    monkeypatch.setattr(install_dialogue, "ask_password", lambda: "$y$hash")
    status = install_dialogue.run(Client(), {"then": "stay"})
    assert not lines, "asked for all of it"
    return status


def test_a_dialogue(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answer("GET /orlop/install", {"disks": [DISK, MEDIUM]})
    engine.answer("GET /orlop/config", {"config": {}})
    engine.answer_raw("POST /orlop/install", GOOD)
    answers = ["2", "1", "", "ship", "ssh-ed25519 AAAA me", "", "", "vda", "y"]
    assert dialogue(engine, monkeypatch, *answers) == 0
    sent = body(engine)
    assert (sent["disk"], sent["then"]) == ("virtio-system", "stay")
    assert "wipe" not in sent
    assert json.loads(str(sent["config"])) == {
        "hostname": "ship",
        "ssh_authorized_keys": ["ssh-ed25519 AAAA me"],
        "users": ["default", {"name": "root", "hashed_passwd": "$y$hash"}],
    }
    assert engine.asked()[-1] == "POST /orlop/reboot"
    assert "started from" in capsys.readouterr().out


def test_a_second_disk_is_asked_for_where_there_is_one(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = {**DISK, "name": "vdb", "device": "/dev/vdb", "id": "virtio-b", "ids": ["virtio-b"]}
    engine.answer("GET /orlop/install", {"disks": [DISK, MEDIUM, second]})
    engine.answer("GET /orlop/config", {"config": {"hostname": "ship"}})
    engine.answer_raw("POST /orlop/install", GOOD)
    answers = ["1", "1", "3", "y", "", "vda vdb", "n"]
    assert dialogue(engine, monkeypatch, *answers) == 0
    assert (body(engine)["disk"], body(engine)["mirror"]) == ("virtio-system", "virtio-b")
    engine.requests.clear()
    assert dialogue(engine, monkeypatch, "1", "", "y", "", "vda", "n") == 0
    assert "mirror" not in body(engine)
    with pytest.raises(OrlopError, match="not another disk"):
        install_dialogue.run(Client(), {"disk": "vda", "mirror": "vda"})


def test_what_would_be_lost_is_shown_and_asked_for(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    used = {**DISK, "content": "foreign", "found": ["/dev/vda1, 7 GiB: ext4 'photos'"]}
    engine.answer("GET /orlop/install", {"disks": [used]})
    with pytest.raises(Cancelled):
        dialogue(engine, monkeypatch, "vda", "n")
    assert "photos" in capsys.readouterr().out
    engine.answer("GET /orlop/config", {"config": {"hostname": "ship"}})
    engine.answer_raw("POST /orlop/install", GOOD)
    assert dialogue(engine, monkeypatch, "vda", "y", "y", "", "vda", "n") == 0
    sent = body(engine)
    assert sent["wipe"] is True
    assert "config" not in sent


def test_a_name_that_is_typed_wrong_changes_nothing(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**DISK, "content": "installed", "found": ["an installation of Orlop"], "has_state": True}
    engine.answer("GET /orlop/install", {"disks": [own]})
    with pytest.raises(Cancelled):
        dialogue(engine, monkeypatch, "1", "y", "sda")
    assert "POST /orlop/install" not in engine.asked()
    engine.answer_raw("POST /orlop/install", GOOD)
    assert dialogue(engine, monkeypatch, "1", "y", "vda", "") == 0
    assert body(engine)["keep_state"] is True


def test_an_encrypted_state_gets_a_recovery_key_that_is_shown_once(
    engine: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    engine.answer("GET /orlop/install", {"disks": [DISK]})
    engine.answer("GET /orlop/config", {"config": {"hostname": "ship"}})
    engine.answer_raw("POST /orlop/install", GOOD)
    assert dialogue(engine, monkeypatch, "1", "y", "by magic", "tpm", "vda", "n") == 0
    sent = body(engine)
    key = base64.b64decode(str(sent["recovery_key"])).decode()
    assert len(key) == 40
    shown = capsys.readouterr().out
    assert shown.replace(" ", "").count(key) == 1
    assert (sent["encrypt"], "key" in sent) == ("tpm", False)

    engine.requests.clear()
    file = tmp_path / "passphrase"
    file.write_text("correct horse\n")
    words = ["-d", "vda", "-y", "--json", "--encrypt", "passphrase"]
    assert main(["install", *words, "--passphrase-file", str(file)]) == 0
    sent = body(engine)
    assert base64.b64decode(str(sent["key"])) == b"correct horse"
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert base64.b64decode(str(sent["recovery_key"])).decode() == first["recovery_key"] != key


def test_a_kept_state_that_is_encrypted_is_opened_by_a_person(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = {**DISK, "content": "installed", "found": ["Orlop"], "has_state": True, "is_locked": True}
    engine.answer("GET /orlop/install", {"disks": [own]})
    engine.answer_raw("POST /orlop/install", GOOD)
    monkeypatch.setattr(install_keys, "ask_once", lambda _device: b"correct horse")
    assert dialogue(engine, monkeypatch, "1", "y", "vda", "") == 0
    sent = body(engine)
    assert base64.b64decode(str(sent["key"])) == b"correct horse"
    assert not {"encrypt", "recovery_key"} & sent.keys()


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(OrlopError, match="UTF-8"):
        install.configuration(str(path))


def test_an_answer_without_a_result_is_a_failure(
    engine: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    engine.answer_raw("POST /orlop/install", stream({"text": "boot loader"}))
    assert main(["install", "-d", "virtio-system", "--yes"]) == 1
    assert "without a result" in capsys.readouterr().err


def test_the_disk_of_this_machine_can_be_chosen_if_its_state_is_kept() -> None:
    own = {**DISK, "busy": "/dev/vda3 is mounted at /var", "is_running_system": True}
    assert install_dialogue.choose([own], "vda", keeps_state=True) is own
    for other, keeps in ((own, False), ({**own, "is_running_system": False}, True)):
        with pytest.raises(OrlopError, match="no disk to install on"):
            install_dialogue.choose([other], "vda", keeps_state=keeps)
