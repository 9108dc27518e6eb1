"""Host keys in a document: which are taken, and what is said of others."""

import subprocess
from pathlib import Path

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.document import check_document
from orlop.wire.config.kinds_ssh import TYPES
from orlop.wire.located_yaml import parse_yaml


def make(directory: Path, kind: str, *words: str) -> str:
    path = directory / f"{kind}{len(words)}"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, *words, "-f", str(path)], check=True)
    return path.read_text()


def check(key: str, text: str, place: str = "orlop: {ssh: {host_keys: {%s: %s}}}") -> object:
    quoted = '"' + text.replace("\n", "\\n") + '"'
    return check_document(parse_yaml("a.yml", place % (key, quoted))).data


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
def test_keys_of_ssh_keygen(tmp_path: Path, kind: str, form: str) -> None:
    text = make(tmp_path, kind, "-N", "", "-m", form)
    assert check(kind, text) == {"orlop": {"ssh": {"host_keys": {kind: text}}}}
    other = "rsa" if kind != "rsa" else "ecdsa"
    if "BEGIN PRIVATE" not in text:
        with pytest.raises(InvalidArgument, match=f"is no key of type {other}"):
            check(other, text)


@pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
def test_a_passphrase_that_nobody_would_type(tmp_path: Path, form: str) -> None:
    text = make(tmp_path, "rsa", "-N", "secret-words", "-m", form)
    with pytest.raises(InvalidArgument, match=r"a\.yml:1: .*passphrase") as caught:
        check("rsa", text)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "x", "-----BEGIN PRIVATE KEY-----\nAAAA\n", "ssh-ed25519 AAAA me"]
)
def test_no_keys(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"orlop\.ssh\.host_keys\.ed25519: "):
        check("ed25519", text)


def test_a_whole_key_and_nothing_less(tmp_path: Path) -> None:
    text = make(tmp_path, "ed25519", "-N", "")
    with pytest.raises(InvalidArgument, match="not whole"):
        check("ed25519", "\n".join(text.splitlines()[:-1]))


def test_as_rancheros_has_them(tmp_path: Path) -> None:
    text = make(tmp_path, "rsa", "-N", "", "-m", "PEM")
    quoted = '"' + text.replace("\n", "\\n") + '"'
    document = f"rancher: {{ssh: {{keys: {{rsa: {quoted}, rsa-pub: ssh-rsa A, dsa: x}}}}}}"
    found = check_document(parse_yaml("a.yml", document))
    assert found.data == {"orlop": {"ssh": {"host_keys": {"rsa": text}}}}
    told = [notice.text for notice in found.notices]
    assert [("ignoring" in text, "keys.dsa" in text) for text in told] == [
        (False, False),
        (False, False),
        (True, True),
    ]
