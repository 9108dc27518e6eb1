"""Documents about people, ours and cloud-init's."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.document import Checked, check_document
from orlop.wire.located_yaml import parse_yaml

HASH = "$y$j9T$saltsaltsalt$abcdefghijk"


def check(text: str) -> Checked:
    return check_document(parse_yaml("c.yml", text))


def test_what_cloud_init_has_and_we_have_not_is_left_out_and_said() -> None:
    text = (
        "users:\n"
        "- name: alice\n"
        "  ssh_import_id: [gh:alice]\n"
        "  plain_text_passwd: secret\n"
        "  selinux_user: ''\n"
        f"  hashed_passwd: {HASH}\n"
    )
    found = check(text)
    assert found.data == {"users": [{"name": "alice", "hashed_passwd": HASH}]}
    ignored = {notice.text.partition(" configuration: ")[2] for notice in found.notices}
    assert {text.partition(": ")[0] for text in ignored} == {
        "users[0].ssh_import_id",
        "users[0].plain_text_passwd",
    }
    assert any("see orlop.ssh.authorized_keys_url" in text for text in ignored)
    assert found.notices[0].text.startswith(("c.yml:3:", "c.yml:4:"))
    assert all(notice.ignored for notice in found.notices)


def test_the_normal_form_is_a_document_again() -> None:
    text = "users: [default, {name: b, groups: 'x, y', sudo: 'ALL=(ALL) ALL'}]\ngroups: [g]\n"
    data = check(text).data
    assert data == {
        "users": [
            {"name": "default"},
            {"name": "b", "groups": ["x", "y"], "sudo": ["ALL=(ALL) ALL"]},
        ],
        "groups": [{"g": []}],
    }
    import yaml

    assert check(yaml.safe_dump(data)).data == data


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("users: [{name: Alice}]", "c.yml:1: configuration: users[0].name: must be a name"),
        ("users: [{name: sshd}]", "sshd is the system's own"),
        ("users: [{gecos: x}]", "needs a name"),
        ("users: [{name: a, uid: 10}]", "uid: must be from 200"),
        ("users: [{name: a, shell: /bin/zsh}]", "shell: must be one of /bin/sh"),
        ("users: [{name: a, homedir: /srv/a}]", "homedir: must be a directory right below /home"),
        ("users: [{name: a, homedir: /home/../etc}]", "right below /home"),
        ("users: [{name: a, hashed_passwd: secret}]", "must be a hash"),
        ("users: [{name: a, sudo: 'ALL=(ALL) !ALL'}]", "sudo: commands must be ALL"),
        ("users: [{name: a, gecos: 'a:b'}]", "one line without colons"),
        ("users: [{name: a, grups: x}]", "grups: unknown key"),
        (f"users: [{{name: a, passwd: {HASH}, hashed_passwd: '*'}}]", "is the same as"),
        ("users: {a: b}", "users: must be a list of maps"),
        ("groups: [{a: [B]}]", "must be a name"),
        ("groups: 7", "must be a list of names"),
        ("orlop: {ssh: {port: 0}}", "must be from 1 to 65535"),
        ("orlop: {ssh: {authorized_keys_url: 'ftp://x'}}", "must be an http or https address"),
        ("orlop: {ssh: {authorized_keys_command: keys}}", "must be the absolute path"),
        ("orlop: {ssh: {authorized_keys_command: [/a, 'b\"c']}}", "sshd does not take"),
        ("orlop: {ssh: {trusted_user_ca_keys: [x]}}", "is no public key"),
        ("orlop: {ssh: {revoked_keys: [ssh-ed25519 AAAAAAAAAAAAAAAAAAAAAAAA]}}", "no public key"),
        (
            "orlop: {ssh: {revoked_keys: ['from=\"*\" ssh-rsa AAAAB3NzaC1yc2EAAAABIw==']}}",
            "no public",
        ),
        ("users: [{name: a, hashed_passwd: $7$CU..../....abcdefgh}]", "must be a hash"),
        ("password: $1$salt$qJH7.N4xYta3aEG/dfqo/0", "must be a hash"),
        ("orlop: {ssh: {authorized_principals: {alice: ['a,b']}}}", "without commas"),
    ],
)
def test_what_is_wrong_is_said(text: str, what: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(text)
    assert what in str(caught.value)


def test_what_rancheros_said() -> None:
    found = check("rancher: {password: p4ss, ssh: {port: 2222, listen_address: 192.0.2.7}}")
    assert found.data == {
        "password": "p4ss",
        "orlop": {"ssh": {"port": 2222, "listen_address": ["192.0.2.7"]}},
    }
    assert check("ssh_pwauth: true").data == {"orlop": {"ssh": {"password_authentication": True}}}
