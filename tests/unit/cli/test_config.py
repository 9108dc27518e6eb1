"""`orlop config`: what is sent for each verb, and what is printed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from orlop.cli.config import lookup
from orlop.cli.main import main
from tests.unit.cli.fake_engine import FakeEngine

CHANGE = "POST /orlop/config/change"
REPORT: dict[str, Any] = {
    "changed": True,
    "version": 3,
    "differences": [
        {"key": "hostname", "old": "a", "new": "b"},
        {"key": "orlop.time.servers", "old": None, "new": ["x", "z"]},
    ],
    "services": [{"name": "time", "action": "restart"}],
    "shadowed": [{"key": "hostname", "by": "above.yml:1"}],
    "problems": [],
    "notices": [],
    "is_volatile": False,
}


def sent(engine: FakeEngine) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(engine.requests[-1][1])
    return body


def test_a_change_is_reported(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer(CHANGE, REPORT)
    assert main(["config", "set", "hostname", "b", "--confirm", "9s"]) == 0
    assert sent(engine) == {
        "verb": "set", "key": "hostname", "text": "b", "dry_run": False, "confirm": "9s",
    }  # fmt: skip
    out, errors = capsys.readouterr()
    assert out.splitlines() == [
        "- hostname: a",
        "+ hostname: b",
        "+ orlop.time.servers:",
        "+   - x",
        "+   - z",
        "restart time",
        "version 3 is in force",
        "on trial: `orlop config confirm` within 9s keeps it",
    ]
    assert errors == "orlop: hostname has no effect: above.yml:1 has the last word\n"


def test_documents_are_sent_with_their_names(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.yml"
    path.write_text("hostname: b\n")
    engine.answer(CHANGE, {"changed": False, "differences": [], "services": []})
    for verb, asked in (("apply", "replace"), ("merge", "merge"), ("diff", "replace")):
        assert main(["config", verb, str(path)]) == 0
        body = sent(engine)
        assert (body["verb"], body["name"], body["text"]) == (asked, str(path), "hostname: b\n")
        assert capsys.readouterr().out == "nothing changes\n"
    path.write_bytes(b"a: 1\n\xff")
    assert main(["config", "apply", str(path)]) == 1
    assert f"{path}:2: not a text in UTF-8" in capsys.readouterr().err
    assert main(["config", "apply", str(tmp_path / "gone")]) == 1


def test_a_refused_change_fails(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer(CHANGE, {"message": "stdin:3: configuration: x: unknown key"}, 400)
    assert main(["config", "set", "x", "1"]) == 1
    assert capsys.readouterr().err == "orlop: stdin:3: configuration: x: unknown key\n"
    engine.answer(CHANGE, {"message": "it waits", "hint": "orlop config confirm"}, 409)
    assert main(["config", "set", "x", "1"]) == 1
    assert capsys.readouterr().err == "orlop: it waits\n  (try: orlop config confirm)\n"


def test_the_end_of_a_trial_is_said(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("POST /orlop/config/rollback", {"changed": True, "version": 7})
    assert main(["config", "rollback"]) == 0
    assert capsys.readouterr().out == "version 7 is in force again\n"


def test_validate(engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.yml"
    path.write_text("")
    engine.answer(CHANGE, {"notices": ["a.yml:1: old name"]})
    assert main(["config", "validate", str(path)]) == 0
    assert capsys.readouterr() == ("", "orlop: a.yml:1: old name\n")
    engine.answer(CHANGE, {"message": "a.yml:1: wrong"}, 400)
    assert main(["config", "validate", str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["problems"] == ["a.yml:1: wrong"]


def test_the_editor_is_run_on_the_text(
    engine: FakeEngine,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\necho "hostname: edited" >>"$1"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("VISUAL", str(editor))
    engine.answer("GET /orlop/config/versions/current", {"version": 2, "text": "# mine\n"})
    engine.answer(CHANGE, REPORT)
    assert main(["config", "edit"]) == 0
    assert sent(engine)["text"] == "# mine\nhostname: edited\n"
    monkeypatch.setenv("VISUAL", "true")
    engine.answer("GET /orlop/config/versions/current", {"version": 1, "text": ""})
    asked = len(engine.asked())
    assert main(["config", "edit"]) == 0
    assert len(engine.asked()) == asked + 1  # an empty document that stays one is no change
    monkeypatch.setenv("VISUAL", str(editor))
    engine.answer("GET /orlop/config/versions/current", {"version": 2, "text": "# mine\n"})
    engine.answer(CHANGE, {"message": "config.yml:2: wrong"}, 400)
    capsys.readouterr()
    assert main(["config", "edit"]) == 1
    path = Path(capsys.readouterr().err.rsplit(" ", 1)[1].strip())
    assert path.read_text() == "# mine\nhostname: edited\n"
    assert path.stat().st_mode & 0o777 == 0o600
    path.unlink()


def test_diff_of_versions(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    versions = [{"version": number, "created_at": 1.0} for number in (1, 2, 4)]
    engine.answer("GET /orlop/config/versions", {"current": 4, "versions": versions})
    engine.answer("GET /orlop/config/versions/2", {"version": 2, "text": "a\nb\n"})
    engine.answer("GET /orlop/config/versions/current", {"version": 4, "text": "a\nc\n"})
    assert main(["config", "diff"]) == 0
    assert capsys.readouterr().out.splitlines()[:2] == ["--- version 2", "+++ version 4"]
    assert main(["config", "rollback", "x"]) == 2


def test_get_and_explain(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    value = {"orlop": {"network": {"interfaces": {"eth0.1": {"mtu": 9000}}}}}
    origins = {"orlop.network.interfaces.eth0.1.mtu": "a.yml:5"}
    engine.answer("GET /orlop/config", {"config": value, "origins": origins})
    key = "orlop.network.interfaces.eth0.1.mtu"
    assert main(["config", "get", key]) == 0
    assert capsys.readouterr().out == "9000\n"
    assert main(["config", "get", "hostname"]) == 1
    assert "hostname is not set" in capsys.readouterr().err
    assert main(["config", "get", "hostnam"]) == 1
    assert "did you mean hostname?" in capsys.readouterr().err
    assert main(["config", "explain", key]) == 0
    out = capsys.readouterr().out
    assert "576 to 65535" in out
    assert "set by a.yml:5:\n    9000" in out
    assert main(["config", "explain", "orlop.time"]) == 0
    assert "orlop.time.servers" in capsys.readouterr().out
    assert lookup(value, ["orlop", "network", "interfaces", "eth0"]) is None


def test_the_template_is_right_once_it_is_commented_in(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from orlop.wire.config.document import check_document, leaves
    from orlop.wire.config.table import KEYS
    from orlop.wire.located_yaml import parse_yaml

    assert main(["config", "generate"]) == 0
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(re.sub(r"^#(?!cloud-)(?=  |[^ ])", "", line) for line in lines)
    text = text.replace("  NAME:", "  eth0:", 1)
    checked = check_document(parse_yaml("template", text.replace("NAME:", "ssh:")))
    lists = [key.path.partition("[]")[0] for key in KEYS if "[]" in key.path]
    assert len(leaves(checked.data)) == len(KEYS) - len(lists) + len(set(lists))
    assert "write_files" in checked.data
    assert check_document(parse_yaml("template", "\n".join(lines))).data == {}


def test_a_foreign_document_is_migrated(
    engine: FakeEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "old.yml").write_text("packages: [vim]\n")
    answer = {"document": "{}\n", "config": {}, "renamed": ["a"], "left_out": ["b"]}
    engine.answer(CHANGE, answer)
    words = ["migrate", str(tmp_path / "old.yml"), "--kernel", "rancher.log"]
    assert main([*words, "--output", str(tmp_path / "new.yml"), "--strict"]) == 1
    name = str(tmp_path / "old.yml")
    expected = {"verb": "migrate", "name": name, "text": "packages: [vim]\n", "key": "rancher.log"}
    assert sent(engine) == expected
    assert (tmp_path / "new.yml").stat().st_mode & 0o777 == 0o600
    out, errors = capsys.readouterr()
    assert not out
    assert errors.splitlines() == ["orlop: a", "orlop: b", "orlop: 1 keys renamed, 1 left out"]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer


@pytest.mark.parametrize(
    ("words", "form"),
    [
        (["get"], "config get takes KEY"),
        (["set", "hostname"], "config set takes KEY VALUE"),
        (["edit", "x"], "config edit takes no more words"),
        (["diff", "1", "2", "3"], "'3' is one word too many"),
    ],
)
def test_what_a_verb_takes_is_said(
    words: list[str], form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", *words]) == 2
    assert capsys.readouterr().err.splitlines()[0] == f"orlop: {form}"
