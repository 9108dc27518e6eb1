"""Users of the configuration: SSH with keys and certificates, the console, sudo, the Docker API."""

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orlop.vm.machine import Machine
from tests.vm import guest
from tests.vm.lab import SSH_PUBLISHED, Lab

PASSWORD = "correct-horse"
CONF = "/var/lib/orlop/conf.d/broken.yml"


@dataclass
class Place:
    """A machine with users, and a directory with their keys."""

    machine: Machine
    directory: Path

    def ssh(self, user: str, key: str, *command: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*self.client(user, key), *command],
            capture_output=True,
            text=True,
            check=False,
        )

    def client(self, user: str, key: str) -> list[str]:
        """The command line of a client that logs in as *user* with *key*."""
        return [
            *("ssh", "-F", "/dev/null", "-o", "BatchMode=yes", "-o", "ConnectTimeout=120"),
            *("-o", "StrictHostKeyChecking=no", "-o", "IdentitiesOnly=yes"),
            *("-o", f"UserKnownHostsFile={self.directory}/known", "-i", str(self.directory / key)),
            *("-p", str(self.machine.ssh_port()), f"{user}@127.0.0.1"),
        ]

    def log(self) -> str:
        return self.machine.succeed("orlop logs --tail 400")


def new_key(directory: Path, name: str) -> str:
    path = directory / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True
    )
    return path.with_suffix(".pub").read_text().strip()


@pytest.fixture(scope="module")
def place(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("people")
    keys = {name: new_key(directory, name) for name in ("alice", "carol", "authority", "lost")}
    new_key(directory, "certified")
    for name in ("certified", "lost"):
        subprocess.run(
            ["ssh-keygen", "-q", "-s", "authority", "-I", name, "-n", "bob", f"{name}.pub"],
            cwd=directory,
            check=True,
        )
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    config: dict[str, object] = {
        "ssh_authorized_keys": [keys["carol"]],
        "users": [
            "default",
            {
                "name": "alice",
                "groups": ["docker"],
                "ssh_authorized_keys": [keys["alice"]],
                "hashed_passwd": hashed,
            },
            {"name": "bob", "sudo": "ALL=(ALL) NOPASSWD:ALL"},
        ],
        "orlop": {
            "ssh": {"trusted_user_ca_keys": [keys["authority"]], "revoked_keys": [keys["lost"]]}
        },
    }
    with lab.machine(
        lab.kernel(),
        "people",
        config=config,
        disks=(lab.state_disk(128),),
        nics=(SSH_PUBLISHED,),
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        machine.wait_until(
            lambda: machine.run(["docker", "version"]).status == 0, "the user's engine answers"
        )
        yield Place(machine, directory)


def test_each_user_has_what_the_configuration_gives(place: Place) -> None:
    done = place.ssh(
        "alice",
        "alice",
        "id -un; id -Gn; pwd; echo kept > mark; docker ps -q && echo docker; orlop ps; sudo id;"
        "cat /run/orlop/people/shadow /root; kill -0 1",
    )
    assert done.stdout == "alice\nalice docker\n/home/alice\ndocker\n", done.stderr
    assert done.stderr.count("ermission denied") == 3
    assert "(try: sudo orlop ...)" in done.stderr
    assert "alice may not run this as root" in done.stderr
    done = place.ssh(
        "bob", "certified", "docker ps || sudo orlop ps -q; sudo sh -c 'exit 5'; echo $?"
    )
    assert len(done.stdout.splitlines()) > 5, done.stderr
    assert done.stdout.splitlines()[-1] == "5"
    assert place.ssh("bob", "lost", "true").returncode == 255
    assert place.ssh("rancher", "carol", "sudo", "id", "-u").stdout == "0\n"
    log = place.log()
    for text in (
        "Accepted publickey for alice",
        "ED25519 SHA256:",
        "Command of alice from",
        "alice may not run this as root",
        "bob from 10.0.2.2 port",
        "runs as root: /usr/bin/orlop ps -q",
        "ended with status 5",
    ):
        assert text in log, log


def test_a_password_on_the_console(place: Place) -> None:
    with place.machine.serial_console() as console:
        console.send(b"\r")
        assert console.wait_for(b"login: ", timeout_s=120)
        console.send(b"alice\r")
        assert console.wait_for(b"Password for alice: ", timeout_s=120)
        console.send(b"wrong\r")
        assert console.wait_for(b"incorrect\r\n\r\nlogin: ", timeout_s=120)
    with place.machine.serial_console() as console:
        console.send(b"alice\r")
        assert console.wait_for(b"Password for alice: ", timeout_s=120)
        console.send(PASSWORD.encode() + b"\r")
        assert console.wait_for(b":~$ ", timeout_s=120)
        console.send(b"echo $(id -un)-$((40+2))\r")
        assert console.wait_for(b"alice-42", timeout_s=120)
        console.send(b"exit\r")
    log = place.log()
    assert "failed login as alice at ttyS0" in log
    assert "login of alice at ttyS0" in log


def test_a_change_counts_and_ends_no_session(place: Place) -> None:
    argv = [*place.client("alice", "alice"), "cat"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as session:
        assert session.stdin is not None
        assert session.stdout is not None
        session.stdin.write(b"before\n")
        session.stdin.flush()
        assert session.stdout.readline() == b"before\n"
        place.machine.succeed("orlop config set disable_root true")
        place.machine.wait_until(
            lambda: place.ssh("root", "carol", "true").returncode == 255, "root is kept out"
        )
        session.stdin.write(b"after\n")
        session.stdin.close()
        assert session.stdout.readline() == b"after\n"


def test_sessions_are_recorded_for_root_alone(place: Place) -> None:
    """Also with the given certificate of the host's key, which a client asks nobody about."""
    machine = place.machine
    key = machine.succeed("orlop exec ssh cat /var/lib/orlop/ssh/ssh_host_ed25519_key.pub")
    (place.directory / "host.pub").write_text(key)
    subprocess.run(
        ["ssh-keygen", "-q", "-s", "authority", "-I", "host", "-h", "-n", "ship", "host.pub"],
        cwd=place.directory,
        check=True,
    )
    certificate = (place.directory / "host-cert.pub").read_text().strip()
    document = {"ssh": {"record": True, "host_certificates": [certificate]}}
    text = json.dumps({"orlop": document}).encode()
    assert machine.run(["orlop", "config", "merge"], stdin=text).status == 0
    known = place.directory / "by-authority"
    known.write_text(f"@cert-authority ship {(place.directory / 'authority.pub').read_text()}")
    strict = ("-o", f"UserKnownHostsFile={known}", "-o", "HostKeyAlias=ship")

    def session() -> int:
        # The first of two values counts.
        program, *rest = place.client("alice", "alice")
        words = (program, "-tt", "-o", "StrictHostKeyChecking=yes", *strict, *rest)
        return subprocess.run(
            [*words, "echo shown; exit 7"], stdin=subprocess.DEVNULL, check=False
        ).returncode

    machine.wait_until(lambda: session() == 7, "the certificate is shown, and the session ends")
    read = "cat /var/log/sessions/*.alice.cast"
    assert place.ssh("alice", "alice", read).returncode != 0
    found = place.ssh("rancher", "carol", "sudo", "sh", "-c", f"'{read}'").stdout
    # In as many pieces as the terminal was read in.
    events = [json.loads(line) for line in found.splitlines()[1:]]
    assert "".join(text for _, kind, text in events if kind == "o") == "shown\r\n"
    assert place.ssh("bob", "certified", "id", "-un").stdout == "bob\n"
    machine.wait_until(
        lambda: (
            re.search(r"session of alice from [0-9.]+ port [0-9]+ on pts/", place.log()) is not None
        ),
        "the log says where it is recorded, and whose it is",
    )
    machine.succeed("orlop config unset orlop.ssh.record")


def test_a_bad_document_shuts_nobody_out_and_numbers_stay(place: Place) -> None:
    machine = place.machine
    host_key = "cat /var/lib/orlop/ssh/ssh_host_ed25519_key.pub"
    before = place.ssh("alice", "alice", "id -u; cat mark").stdout, machine.succeed(host_key)
    machine.succeed(f"printf 'users: [{{name: alice, grups: docker}}]\\n' > {CONF}; sync")
    guest.end(machine, "orlop", "reboot")
    machine.wait_for_ready()
    guest.wait_for_services(machine)
    assert any("broken.yml:1" in text and "groups" in text for text in guest.warnings(machine))
    after = place.ssh("alice", "alice", "id -u; cat mark").stdout, machine.succeed(host_key)
    assert after == before == ("1001\nkept\n", before[1])
