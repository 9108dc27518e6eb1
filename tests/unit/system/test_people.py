"""passwd, group, shadow and the rest, from the configuration."""

import asyncio
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from orlop.system import people, people_control
from orlop.system.config.configuration import Configuration
from orlop.wire.compose_model import Json
from orlop.wire.config.document import check_document
from orlop.wire.located_yaml import parse_yaml

HASH = "$6$saltsalt$abcdefghijklmnop"


def plan(text: str, numbers: dict[str, dict[str, int]] | None = None) -> people.People:
    data: dict[str, Json] = check_document(parse_yaml("file.yml", text)).data
    return people.plan(data, numbers or {})


def user(found: people.People, name: str) -> people.User:
    return next(user for user in found.users if user.name == name)


def test_without_a_word_there_are_root_and_the_default_user_without_passwords() -> None:
    found = plan("hostname: x")
    assert [(u.name, u.uid, u.password) for u in found.users] == [
        ("root", 0, "*"),
        ("rancher", 1100, "*"),
    ]
    assert user(found, "rancher").rules == ["ALL=(ALL) NOPASSWD:ALL"]
    assert found.members["docker"] == ["rancher"]
    assert not people.has_passwords(found)


def test_users_of_cloud_init() -> None:
    found = plan(
        "ssh_authorized_keys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysr me]\n"
        "users:\n- default\n- bob\n"
        "- name: alice\n  gecos: Alice L\n  uid: 1500\n  groups: docker, sudo\n"
        f"  passwd: {HASH}\n  sudo: 'ALL=(ALL) NOPASSWD: /usr/bin/orlop logs'\n"
        "- {name: daemon1, system: true}\n"
        "groups: [{staff: [bob, alice]}, empty]\n"
    )
    assert [u.name for u in found.users] == ["root", "rancher", "bob", "alice", "daemon1"]
    alice = user(found, "alice")
    assert (alice.uid, alice.gid, alice.home, alice.password) == (1500, 1500, "/home/alice", HASH)
    assert alice.rules == ["ALL=(ALL) ALL", "ALL=(ALL) NOPASSWD: /usr/bin/orlop logs"]
    assert user(found, "rancher").keys == user(found, "root").keys != []
    assert user(found, "bob").keys == []
    assert user(found, "bob").uid == 1001
    assert user(found, "daemon1").uid < 1000
    assert not user(found, "daemon1").makes_home
    assert found.members["staff"] == ["bob", "alice"]
    texts = people.texts(found)
    assert "alice:x:1500:1500:Alice L:/home/alice:/bin/sh\n" in texts["passwd"][0]
    assert f"alice:{HASH}:" in texts["shadow"][0]
    assert texts["shadow"][1] == texts["sudo.json"][1] == 0o600
    assert HASH not in "".join(text for text, mode in texts.values() if mode != 0o600)


def test_without_default_there_is_no_default_user() -> None:
    assert [u.name for u in plan("users: [bob]").users] == ["root", "bob"]
    assert [u.name for u in plan("users: []").users] == ["root"]


def test_a_lock_counts() -> None:
    text = f"users: [{{name: a, hashed_passwd: '{HASH}', lock_passwd: %s}}]"
    assert user(plan(text % "true"), "a").password == "*"
    assert user(plan(text % "false"), "a").password == HASH


def test_root_may_be_given_a_password_and_keys_but_no_number() -> None:
    found = plan(f"users: [{{name: root, hashed_passwd: '{HASH}'}}]")
    assert user(found, "root").password == HASH
    with pytest.raises(Exception, match=r"file.yml:1: .*uid: cannot be changed for root"):
        plan("users: [{name: root, uid: 1000}]")


def test_numbers_stay_and_are_given_once() -> None:
    first = plan("users: [a, b]")
    second = plan("users: [c, b]", first.numbers)
    assert user(second, "b").uid == user(first, "b").uid
    assert user(second, "c").uid not in {user.uid for user in first.users}
    third = plan("users: [a, c]", second.numbers)
    assert user(third, "a").uid == user(first, "a").uid


def test_numbers_that_were_all_given_are_none_for_a_new_name() -> None:
    given = {f"old{number}": number for number in range(200, 981)}
    found = plan("users: [{name: a, system: true}, b]", {"users": given})
    assert [u.name for u in found.users] == ["root", "b"]
    assert found.problems == ["user a: no number is left, leaving out"]


def test_two_users_of_one_number() -> None:
    found = plan("users: [{name: a, uid: 1200}, {name: b, uid: 1200}]")
    assert [u.name for u in found.users] == ["root", "a"]
    assert found.problems == ["user b: 1200 is the number of a, leaving out"]


def test_a_group_names_nobody_who_is_not_there() -> None:
    found = plan("groups: [{staff: [ghost]}]")
    assert found.problems == ["group staff: there is no user ghost, leaving out"]


def test_files_follow_the_configuration(tmp_path: Path) -> None:
    directory = str(tmp_path / "people")
    people.write(plan(f"users: [{{name: a, hashed_passwd: '{HASH}'}}]"), directory)
    assert (tmp_path / "people/passwords").exists()
    assert (tmp_path / "people/keys/a").exists()
    assert (tmp_path / "people/shadow").stat().st_mode & 0o777 == 0o600
    people.write(plan("users: [b]"), directory)
    assert not (tmp_path / "people/passwords").exists()
    assert not (tmp_path / "people/keys/a").exists()
    assert "a:" not in [line[:2] for line in (tmp_path / "people/passwd").read_text().split()]


def test_numbers_that_cannot_be_read_are_none(tmp_path: Path) -> None:
    (tmp_path / "numbers").write_text("[1]")
    assert people.read_numbers(str(tmp_path / "numbers")) == {}
    assert people.read_numbers(str(tmp_path / "none")) == {}
    with pytest.raises(IsADirectoryError):
        people.read_numbers(str(tmp_path))


def test_numbers_that_the_disk_does_not_give_are_not_written_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail() -> dict[str, dict[str, int]]:
        raise OSError(5, "Input/output error")

    written: list[people.People] = []
    warnings: list[str] = []
    monkeypatch.setattr(people, "read_numbers", fail)
    monkeypatch.setattr(people, "write", written.append)
    monkeypatch.setattr(people, "keep", lambda *_: pytest.fail("numbers are written over"))
    boot = SimpleNamespace(machine=SimpleNamespace(warn=warnings.append))
    configuration = Configuration({"users": [{"name": "a"}]})
    asyncio.run(people_control.apply(boot, configuration))  # type: ignore[arg-type]
    assert [user.name for user in written[0].users] == ["root", "a"]
    assert "Input/output error" in warnings[0]


def test_a_home_is_the_users_from_its_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owners: list[tuple[str, int, int]] = []

    def chown(path: str, uid: int, gid: int) -> None:
        assert not (tmp_path / "a").exists()
        owners.append((path, uid, gid))

    monkeypatch.setattr(people, "HOMES", str(tmp_path))
    monkeypatch.setattr(people, "NUMBERS", str(tmp_path / "numbers"))
    monkeypatch.setattr(os, "chown", chown)
    (tmp_path / ".orlop-a").mkdir()  # a power cut came between
    for _ in range(2):
        assert people.keep(plan("users: [a]"), {}) == []
    assert (tmp_path / "a").is_dir()
    assert not (tmp_path / ".orlop-a").exists()
    assert [owner[1:] for owner in owners] == [(1001, 1001)]
