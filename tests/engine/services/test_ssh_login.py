"""Logins by SSH: our configuration with OpenSSH's sshd, in namespaces of their own."""

import subprocess
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orlop.services.ssh.host_key import public_blob, public_key
from tests.engine.services.namespaces import running, wait_until
from tests.engine.services.people_world import World, sshd, world

pytestmark = [pytest.mark.engine, pytest.mark.root]

PASSWORD = "correct-horse"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


def prepare(place: World) -> None:
    """What os/ssh/keeper.c runs before sshd and whenever something has changed."""
    place.run("python3", "-I", "-S", "/usr/lib/orlop/python", "service", "ssh")


@contextmanager
def serving(place: World) -> Iterator[Path]:
    prepare(place)
    log = place.directory / "sshd.log"
    argv = place.command(sshd(), "-D", "-e", "-f", "/run/ssh/sshd_config")
    with running(argv, log):
        wait_until(lambda: ":22 " in place.run("ss", "-ltn").stdout, "port 22")
        yield log


def ssh(
    place: World, user: str, key: str, *command: str, options: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    return place.run(
        *("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
        *("-o", f"UserKnownHostsFile={place.directory}/known", "-o", "IdentitiesOnly=yes"),
        *("-o", "ConnectTimeout=60", *options, "-i", str(place.directory / key)),
        *(f"{user}@127.0.0.1", *command),
        check=False,
    )


def test_each_user_logs_in_with_the_own_key(place: World) -> None:
    alice, machine = place.new_key("alice"), place.new_key("machine")
    place.configure(
        f"ssh_authorized_keys: [{machine}]\n"
        f"users: [default, {{name: alice, groups: [docker], ssh_authorized_keys: [{alice}]}}]\n"
    )
    with serving(place) as log:
        done = ssh(place, "alice", "alice", "id -un; id -Gn; pwd; grep Cap /proc/self/status")
        assert done.returncode == 0, done.stderr + log.read_text()
        name, groups, home, *capabilities = done.stdout.splitlines()
        assert (name, groups.split(), home) == ("alice", ["alice", "docker"], "/home/alice")
        assert [c for c in capabilities if c.startswith("CapEff:")] == ["CapEff:\t" + "0" * 16]
        for user in ("root", "rancher"):
            assert ssh(place, user, "machine", "id", "-un").stdout == f"{user}\n"
        assert ssh(place, "root", "alice", "true").returncode == 255
        assert ssh(place, "alice", "machine", "true").returncode == 255
        # Who is taken out of the configuration is out at once.
        place.configure(f"ssh_authorized_keys: [{machine}]\nusers: [alice]\n")
        assert ssh(place, "alice", "alice", "true").returncode == 255


def test_certificates_and_what_is_revoked(place: World) -> None:
    authority, lost = place.new_key("authority"), place.new_key("lost")
    for name in ("good", "other"):
        place.new_key(name)
    for name, principal in (("good", "alice"), ("lost", "alice"), ("other", "bob")):
        subprocess.run(
            ["ssh-keygen", "-q", "-s", "authority", "-I", name, "-n", principal, f"{name}.pub"],
            cwd=place.directory,
            check=True,
        )
    place.configure(
        "users: [alice, bob]\n"
        "orlop:\n  ssh:\n"
        f"    trusted_user_ca_keys: [{authority}]\n"
        f"    revoked_keys: [{lost}]\n"
        "    authorized_principals: {root: [bob]}\n"
    )
    with serving(place) as log:
        done = ssh(place, "alice", "good", "id", "-un")
        assert done.stdout == "alice\n", done.stderr + log.read_text()
        assert ssh(place, "alice", "lost", "true").returncode == 255
        assert ssh(place, "alice", "other", "true").returncode == 255
        assert ssh(place, "bob", "good", "true").returncode == 255
        assert ssh(place, "root", "other", "id", "-un").stdout == "root\n"
        assert ssh(place, "root", "good", "true").returncode == 255


def test_passwords_only_if_they_are_permitted(place: World) -> None:
    place.new_key("none")
    ask = place.directory / "ask"
    ask.write_text(f"#!/bin/sh\necho {PASSWORD}\n")
    ask.chmod(0o755)
    options = ("-o", "BatchMode=no", "-o", "NumberOfPasswordPrompts=1")

    def log_in() -> int:
        return place.run(
            *("env", f"SSH_ASKPASS={ask}", "SSH_ASKPASS_REQUIRE=force", "setsid", "ssh"),
            *("-F", "/dev/null", "-o", "StrictHostKeyChecking=no", *options),
            *("-o", f"UserKnownHostsFile={place.directory}/known", "alice@127.0.0.1", "true"),
            check=False,
        ).returncode

    users = f"users: [{{name: alice, hashed_passwd: '{hash_of(PASSWORD)}'}}]\n"
    place.configure(users)
    with serving(place):
        assert log_in() == 255
    place.configure(f"{users}orlop: {{ssh: {{password_authentication: true}}}}\n")
    with serving(place) as log:
        assert log_in() == 0, log.read_text()


def hash_of(password: str) -> str:
    done = subprocess.run(
        ["openssl", "passwd", "-6", password], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_keys_from_a_url_and_from_the_cache(place: World) -> None:
    key = place.new_key("alice")
    (place.directory / "www").mkdir()
    (place.directory / "www/alice").write_text(f"# people\n{key}\n")
    place.write(
        "/usr/lib/orlop/ssh-keys",
        'exec /usr/bin/python3 -I -S /usr/lib/orlop/python service ssh_keys "$@"\n',
    )
    place.run(
        "sh",
        "-c",
        "sed -i '1i#!/bin/sh' /usr/lib/orlop/ssh-keys; chmod 755 /usr/lib/orlop/ssh-keys",
    )
    place.configure(
        "users: [alice, bob]\norlop: {ssh: {authorized_keys_url: 'http://127.0.0.1:8000/{user}'}}\n"
    )
    www = place.command(
        *("python3", "-m", "http.server", "--bind", "127.0.0.1", "-d", f"{place.directory}/www")
    )
    with serving(place) as log:
        with running(www, place.directory / "www.log"):
            wait_until(lambda: ":8000 " in place.run("ss", "-ltn").stdout, "port 8000")
            done = ssh(place, "alice", "alice", "id", "-un")
            assert done.stdout == "alice\n", done.stderr + log.read_text()
            assert ssh(place, "bob", "alice", "true").returncode == 255
        assert ssh(place, "alice", "alice", "true").returncode == 0
        place.run("touch", "-d", "2 days ago", "/var/lib/orlop/ssh/cache/alice")
        assert ssh(place, "alice", "alice", "true").returncode == 255


def test_standard_streams_pass_through(place: World) -> None:
    """As `docker -H ssh://` uses it: a command whose stdin and stdout are a connection."""
    place.configure(f"ssh_authorized_keys: [{place.new_key('machine')}]\n")
    data = "".join(map(chr, range(32, 127))) * 10000
    with serving(place):
        done = place.run(
            *("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
            *("-o", f"UserKnownHostsFile={place.directory}/known"),
            *("-i", str(place.directory / "machine"), "root@127.0.0.1", "cat"),
            text=data,
        )
        assert done.stdout == data


def test_the_key_of_dropbear_is_the_machines_key(place: World) -> None:
    seed = bytes(range(32))
    public = public_key(seed)
    old = place.directory / "old"
    old.write_bytes(b"\0\0\0\x0bssh-ed25519\0\0\0\x40" + seed + public)
    place.configure(f"ssh_authorized_keys: [{place.new_key('machine')}]\n")
    place.run("cp", str(old), "/var/lib/orlop/ssh/host_key_ed25519")
    with serving(place):
        found = place.run("ssh-keyscan", "-t", "ed25519", "127.0.0.1").stdout.split()
    assert b64encode(public_blob(public)).decode() in found
