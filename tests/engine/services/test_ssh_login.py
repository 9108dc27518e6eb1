"""Logins by SSH: our configuration with OpenSSH's sshd, in namespaces of their own."""

import json
import os
import subprocess
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from orlop.services.ssh.host_key import public_blob, public_key
from tests.engine.registry.forward_proxy import ForwardProxy
from tests.engine.registry.token_server import Authority
from tests.engine.services.namespaces import running, wait_until
from tests.engine.services.people_world import World, sshd, world

pytestmark = [pytest.mark.engine, pytest.mark.root]

PASSWORD = "correct-horse"
ELSEWHERE = "203.0.113.5"
"""An address of the documentation's: nothing leads there but a proxy."""


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
    make_asker(place)
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


def make_asker(place: World) -> None:
    """/usr/lib/orlop/ssh-keys, as os/services/ssh/rootfs has it."""
    place.write(
        "/usr/lib/orlop/ssh-keys",
        '#!/bin/sh\nexec /usr/bin/python3 -I -S /usr/lib/orlop/python service ssh_keys "$@"\n',
    )
    place.run("chmod", "755", "/usr/lib/orlop/ssh-keys")


WEB = """\
import functools, http.server, ssl
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("web.cert", "web.key")
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory="www")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def test_keys_from_a_url_of_an_own_authority_behind_a_proxy(place: World) -> None:
    key = place.new_key("alice")
    make_asker(place)
    (place.directory / "www").mkdir()
    (place.directory / "www/alice").write_text(f"{key}\n")
    authority = Authority(place.directory)
    authority.issue("web", ELSEWHERE)
    trusted = json.dumps([authority.path.read_text()])
    proxies: list[ForwardProxy] = []

    def begin() -> None:
        os.setns(os.open(f"/proc/{place.holder}/ns/net", os.O_CLOEXEC), os.CLONE_NEWNET)
        proxies.append(ForwardProxy("127.0.0.1:8443", f"Basic {b64encode(b'me:my:self').decode()}"))

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    [proxy] = proxies
    document = (
        f"users: [alice]\nca_certs: {{trusted: {trusted}}}\norlop:\n"
        f"  ssh:\n    authorized_keys_url: 'https://{ELSEWHERE}/{{user}}'\n"
        "    authorized_keys_cache: 0\n"
        f"  engine: {{https_proxy: 'http://me:my%3Aself@{proxy.host}'}}\n"
    )
    place.configure(document)
    web = place.command("env", "-C", str(place.directory), "python3", "-c", WEB)
    try:
        with serving(place) as log:
            with running(web, place.directory / "www.log"):
                wait_until(lambda: ":8443 " in place.run("ss", "-ltn").stdout, "port 8443")
                done = ssh(place, "alice", "alice", "id", "-un")
                assert done.stdout == "alice\n", done.stderr + log.read_text()
                assert {*proxy.asked} == {f"CONNECT {ELSEWHERE}:443"}
                place.run("rm", "/etc/ssl/certs/ca-certificates.crt")
                assert ssh(place, "alice", "alice", "true").returncode == 255
                assert "certificate verify failed" in log.read_text()
            # Nothing is kept when it shall count for no second.
            place.configure(document)
            assert ssh(place, "alice", "alice", "true").returncode == 255
    finally:
        proxy.stop()


def test_keys_of_a_program_and_where_sshd_listens(place: World) -> None:
    key = place.new_key("alice")
    program = '#!/bin/sh\n[ "$1" = alice ] && [ $(id -u) = 105 ] && cat /etc/alice.pub\n'
    place.write("/etc/alice.pub", f"{key}\n")
    place.write("/usr/lib/orlop/ask", program)
    place.run("chmod", "755", "/usr/lib/orlop/ask")
    place.run("ip", "address", "add", "192.0.2.7/32", "dev", "lo")
    place.configure(
        "users: [alice]\norlop: {ssh: {authorized_keys_command: [/usr/lib/orlop/ask, '%u'],"
        " port: 2222, listen_address: [192.0.2.7]}}\n"
    )
    prepare(place)
    argv = place.command(sshd(), "-D", "-e", "-f", "/run/ssh/sshd_config")
    with running(argv, place.directory / "sshd.log"):
        wait_until(lambda: ":2222 " in place.run("ss", "-ltn").stdout, "port 2222")
        listening = [line.split()[3] for line in place.run("ss", "-ltnH").stdout.splitlines()]
        assert listening == ["192.0.2.7:2222"]
        options = ("-p", "2222", "-o", "HostName=192.0.2.7")
        assert ssh(place, "alice", "alice", "id", "-un", options=options).stdout == "alice\n"


def test_host_keys_and_certificates_of_the_configuration(place: World) -> None:
    login = place.new_key("machine")
    keys = {}
    for kind in ("ed25519", "ecdsa", "rsa"):
        path = place.directory / f"host_{kind}"
        make = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)]
        subprocess.run([*make, *(("-m", "PEM") if kind == "rsa" else ())], check=True)
        keys[kind] = path.read_text()
    place.new_key("authority")
    subprocess.run(
        ["ssh-keygen", "-q", "-s", "authority", "-I", "host", "-h", "-n", "ship", "host_rsa.pub"],
        cwd=place.directory,
        check=True,
    )
    document = {
        "ssh_authorized_keys": [login],
        "ssh_keys": {f"{kind}_private": text for kind, text in keys.items()}
        | {"rsa_public": "ssh-rsa AAAA x"}
        | {"rsa_certificate": (place.directory / "host_rsa-cert.pub").read_text().strip()},
    }
    place.configure(json.dumps(document))
    told = place.run("cat", "/run/config.json").stdout
    assert "PRIVATE KEY" not in told
    shown = place.run("stat", "-c", "%a %u", *(f"/etc/ssh/host_key_{kind}" for kind in keys))
    assert {*shown.stdout.splitlines()} == {"600 0"}
    with serving(place) as log:
        found = place.run("ssh-keyscan", "127.0.0.1").stdout
        for kind in keys:
            assert (place.directory / f"host_{kind}.pub").read_text().split()[1] in found, kind
        known = place.directory / "by-authority"
        known.write_text(f"@cert-authority ship {(place.directory / 'authority.pub').read_text()}")
        strict = ("-o", f"UserKnownHostsFile={known}", "-o", "HostKeyAlias=ship")
        argv = ("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes")
        identity = ("-i", str(place.directory / "machine"), "root@127.0.0.1", "true")
        done = place.run(*argv, *strict, *identity, check=False)
        assert done.returncode == 0, done.stderr + log.read_text()


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
