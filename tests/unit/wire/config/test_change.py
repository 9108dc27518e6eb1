"""Changes of the machine's own document: what it becomes, and what is in force then."""

from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument, NotFound
from orlop.wire.config.change import Operation, plan, validate
from orlop.wire.config.evaluate import Source, evaluate

BELOW = Source("config", "below.yml", b"hostname: below\norlop: {time: {pools: [a]}}\n")
ABOVE = Source("config", "above.yml", b"orlop: {syslog: {remote: udp://192.0.2.9}}\n")
SECRET_KEY = "1 SHA256 HEX:00"


def sources(own: str | None = None, secret: str = "") -> list[Source]:
    gone = OSError(2, "No such file or directory")
    return [
        BELOW,
        Source("own", "config.yml", gone if own is None else own.encode()),
        Source("secret", "secrets.yml", secret.encode()),
        ABOVE,
    ]


def change(operation: Operation, own: str | None = None, secret: str = "") -> dict[str, Any]:
    return plan(sources(own, secret), operation, evaluate)


def test_set_on_nothing() -> None:
    found = change(Operation("set", "hostname", "ship"))
    assert found["changed"]
    assert found["texts"] == {
        "old": "",
        "old_secret": "",
        "new": "hostname: ship\n",
        "new_secret": "",
    }
    assert found["config"]["hostname"] == "ship"
    assert found["origins"]["hostname"] == "config.yml:1"
    assert found["shadowed"] == []


def test_set_the_same_again_keeps_the_text() -> None:
    own = "# mine\nhostname: ship\n"
    found = change(Operation("set", "hostname", "ship"), own)
    assert not found["changed"]
    assert found["texts"]["new"] == own


def test_lists_are_added_to() -> None:
    found = change(Operation("set", "orlop.time.pools+", "[b]"))
    assert found["config"]["orlop"]["time"]["pools"] == ["a", "b"]
    assert found["origins"]["orlop.time.pools"] == "below.yml:2, config.yml:3"
    again = change(Operation("set", "orlop.time.pools+", "[c]"), found["texts"]["new"])
    assert again["config"]["orlop"]["time"]["pools"] == ["a", "b", "c"]
    plain = change(Operation("set", "orlop.time.pools", "[c]"), again["texts"]["new"])
    assert plain["config"]["orlop"]["time"]["pools"] == ["c"]


def test_unset() -> None:
    own = "hostname: ship\norlop:\n  network:\n    interfaces:\n      eth0.1: {mtu: 9000}\n"
    found = change(Operation("unset", "orlop.network.interfaces.eth0.1.mtu"), own)
    assert found["texts"]["new"] == "hostname: ship\n"
    found = change(Operation("unset", "orlop"), own)
    assert found["texts"]["new"] == "hostname: ship\n"
    found = change(Operation("unset", "hostname"), found["texts"]["new"])
    assert found["texts"]["new"] == ""
    assert found["config"]["hostname"] == "below"
    with pytest.raises(NotFound, match="hostname is not set by"):
        change(Operation("unset", "hostname"))
    with pytest.raises(InvalidArgument, match="unknown key"):
        change(Operation("unset", "hostnam"), own)


def test_merge_and_replace() -> None:
    text = "#cloud-config\r\norlop: {time: {servers: [n.example]}}\r\n"
    found = change(Operation("merge", text=text), "hostname: ship\n")
    assert found["config"]["hostname"] == "ship"
    assert found["config"]["orlop"]["time"]["servers"] == ["n.example"]
    found = change(Operation("replace", text=text), "hostname: ship\n")
    assert found["texts"]["new"] == text
    assert found["config"]["hostname"] == "below"
    assert not change(Operation("replace", text=text), text)["changed"]
    assert change(Operation("replace", text=f"# note\n{text}"), text)["changed"]
    assert change(Operation("replace", text="hostname: ship\n"), "hostname: [\n")["changed"]
    with pytest.raises(InvalidArgument, match=r"^config.yml:2:1: "):
        change(Operation("merge", text=text), "hostname: [\n")


def test_secrets_are_kept_apart() -> None:
    found = change(Operation("set", "orlop.time.keys", f'["{SECRET_KEY}"]'), "hostname: ship\n")
    texts = found["texts"]
    assert texts["new"] == "hostname: ship\n"
    assert SECRET_KEY in texts["new_secret"]
    assert found["config"]["orlop"]["time"]["keys"] == [SECRET_KEY]
    assert ["orlop", "time", "keys"] in found["secrets"]
    again = change(Operation("replace", text="hostname: b\n"), texts["new"], texts["new_secret"])
    assert again["config"]["orlop"]["time"]["keys"] == [SECRET_KEY]
    assert again["texts"]["new"] == "hostname: b\n"
    none = change(
        Operation("replace", text="hostname: b\n", secret=""), texts["new"], texts["new_secret"]
    )
    assert "keys" not in none["config"]["orlop"]["time"]
    inline = f'hostname: ship # name\norlop: {{time: {{keys: ["{SECRET_KEY}"]}}}}\n'
    moved = change(Operation("replace", text=inline))
    assert moved["texts"]["new"] == "hostname: ship\n"
    assert SECRET_KEY in moved["texts"]["new_secret"]
    adopted = change(Operation("set", "hostname", "b"), inline)["texts"]
    assert adopted["old"] == "hostname: ship\n"
    assert SECRET_KEY in adopted["old_secret"]


def test_a_later_source_has_the_last_word() -> None:
    found = change(Operation("set", "orlop.syslog.remote", "tcp://192.0.2.1"))
    assert found["shadowed"] == [{"key": "orlop.syslog.remote", "by": "above.yml:1"}]


@pytest.mark.parametrize(
    ("operation", "problem"),
    [
        (Operation("set", "hostname", "a_b"), "configuration: hostname: must be a host name"),
        (Operation("set", "hostnam", "a"), "configuration: hostnam: unknown key"),
        (Operation("set", "orlop.time.servers", "[a"), "^value:1:"),
        (Operation("set", "orlop.time.servers", ""), "there is no value"),
        (Operation("set", "orlop.time", "x"), "must be a map"),
        (Operation("set", "hostname+", "x"), "only a list"),
        (Operation("merge", text="a: 1\n", name="f.yml"), "^f.yml:1: configuration: a: unknown"),
        (Operation("merge", text="packages: [a]\n"), "^stdin:1: configuration: packages: there is"),
        (Operation("replace", text="- a\n"), "must be a map"),
        (Operation("sing"), "no operation 'sing'"),
    ],
)
def test_refused(operation: Operation, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        change(operation)


def test_validate() -> None:
    text = "rancher: {network: {dns: {search: [a]}}}\n"
    assert "is called orlop.network.search here" in str(validate(Operation("validate", text=text)))
    with pytest.raises(InvalidArgument, match=r"^x:1: "):
        validate(Operation("validate", text="hostnam: a", name="x"))
