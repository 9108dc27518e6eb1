"""Sessions of SSH that are recorded: OpenSSH's sshd, our command and root's process behind it."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.services.namespaces import running, wait_until
from tests.engine.services.people_world import CHECKOUT, World, world
from tests.engine.services.test_elevation import LISTENER
from tests.engine.services.test_ssh_login import serving, ssh

pytestmark = [pytest.mark.engine, pytest.mark.root]

SESSION = "/usr/lib/orlop/session"
SESSIONS = "/var/log/sessions"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "main.c").write_text(LISTENER)
    program = str(tmp_path / "listener")
    subprocess.run(
        ["gcc", "-Wall", f"-I{CHECKOUT}/os/people", "-o", program, f"{tmp_path}/main.c",
         f"{CHECKOUT}/os/people/elevate.c"], check=True,
    )  # fmt: skip
    script = (CHECKOUT / f"os/services/ssh/rootfs{SESSION}").read_text()
    with world(tmp_path) as found:
        found.write(SESSION, script.replace("/usr/bin/python3.13", "/usr/bin/python3"))
        found.run("chmod", "755", SESSION, program)
        with running(found.command(program), tmp_path / "elevate.log"):
            socket = ("test", "-S", "/run/elevate/socket")
            wait_until(lambda: found.run(*socket, check=False).returncode == 0, "the socket")
            yield found


def recordings(place: World) -> list[str]:
    return place.run("sh", "-c", f"ls {SESSIONS} 2>/dev/null || true").stdout.split()


def shown(place: World, name: str) -> tuple[dict[str, object], str]:
    """The header of a recording, and all that it shows."""
    head, *events = place.run("cat", f"{SESSIONS}/{name}").stdout.splitlines()
    parsed = [json.loads(line) for line in events]
    times = [event[0] for event in parsed]
    assert times == sorted(times)
    return json.loads(head), "".join(event[2] for event in parsed if event[1] == "o")


def shell(place: World, typed: str, *command: str) -> "subprocess.CompletedProcess[str]":
    """A session with a terminal, at which *typed* is typed."""
    return place.run(
        *("ssh", "-F", "/dev/null", "-tt", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
        *("-o", f"UserKnownHostsFile={place.directory}/known"),
        *("-i", str(place.directory / "alice"), "alice@127.0.0.1", *command),
        check=False,
        text=typed,
    )


def test_a_session_with_a_terminal(place: World) -> None:
    place.configure(
        f"users: [{{name: alice, ssh_authorized_keys: [{place.new_key('alice')}]}}]\n"
        "orlop: {ssh: {record: true}}\n"
    )
    with serving(place) as log:
        command = "stty size; tty; printf 'sh\\303\\266wn\\n'; exit 7"
        done = ssh(place, "alice", "alice", command, options=("-tt",))
        assert done.returncode == 7, done.stderr + log.read_text()
        assert "shöwn" in done.stdout
        [name] = recordings(place)
        modes = place.run("stat", "-c", "%a %u", SESSIONS, f"{SESSIONS}/{name}").stdout
        assert modes == "700 0\n600 0\n"
        head, text = shown(place, name)
        assert head["version"] == 2
        assert str(head["title"]).startswith("alice from 127.0.0.1 port ")
        assert text.replace("\r\n", "\n") == done.stdout
        said = (place.directory / "elevate.log").read_text()
        assert f"is recorded in {SESSIONS}/{name}" in said

        # A shell: what is typed is there as far as it is shown.
        typed = "echo $((40+2)); stty -echo; echo ready\n"
        done = shell(place, f"{typed}true secret; exit 3\n")
        assert done.returncode == 3, done.stderr
        _, text = shown(place, recordings(place)[-1])
        assert "42\r\nready\r\n" in text

        # Without a terminal nothing is recorded, and no other way is open.
        before = recordings(place)
        assert ssh(place, "alice", "alice", "id", "-un").stdout == "alice\n"
        assert ssh(place, "alice", "alice", f"cat {SESSIONS}/*").returncode != 0
        assert recordings(place) == before
        sftp = ssh(place, "alice", "alice", "-s", "sftp")
        assert sftp.returncode != 0


def test_nothing_is_recorded_unless_it_is_said(place: World) -> None:
    place.configure(f"users: [{{name: alice, ssh_authorized_keys: [{place.new_key('alice')}]}}]\n")
    with serving(place):
        assert ssh(place, "alice", "alice", "tty", options=("-tt",)).returncode == 0
        # Who asks for a file all the same gets none.
        done = shell(place, "exit 5\n", SESSION)
        assert done.returncode == 5
        assert recordings(place) == []
        assert "refused: sessions are not" in (place.directory / "elevate.log").read_text()
