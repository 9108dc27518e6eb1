"""The SSH server's keeper as it is compiled, in a cgroup with little room that a user takes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from orlop.image.source_build import compile_commands, read_builds
from tests.engine.services.namespaces import running, wait_until
from tests.engine.services.people_world import CHECKOUT, World, world
from tests.engine.services.test_ssh_login import ssh

pytestmark = [pytest.mark.engine, pytest.mark.root]

LIMIT = 64
_OTHERS = (("bob", "bob"), ("root", "machine"))
# A cgroup of whichever version has the controller, with the same files.
CGROUP = f"""\
set -e
mkdir -p /run/pids
if grep -qw pids /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
	mount -t cgroup2 none /run/pids
	echo +pids > /run/pids/cgroup.subtree_control
else
	mount -t cgroup -o pids none /run/pids
fi
mkdir /run/pids/$1
echo {LIMIT} > /run/pids/$1/pids.max
mount --bind /run/pids/$1 /sys/fs/cgroup
"""
ENTER = 'echo $$ > /sys/fs/cgroup/cgroup.procs; exec "$0"'
BOMB = "f() { while :; do f & sleep 1000 & done; }; f"


@contextmanager
def limited(place: World) -> Iterator[None]:
    """The world sees a cgroup of its own with room for LIMIT processes."""
    name = f"orlop-crowd-{uuid4().hex}"
    place.run("sh", "-c", CGROUP, "sh", name)
    try:
        yield
    finally:
        for pid in place.run("cat", "/sys/fs/cgroup/cgroup.procs").stdout.split():
            place.run("kill", "-KILL", pid, check=False)
        empty = ("sh", "-c", "! grep -q . /sys/fs/cgroup/cgroup.procs")
        wait_until(lambda: place.run(*empty, check=False).returncode == 0, "an empty cgroup")
        place.run("umount", "/sys/fs/cgroup")
        wait_until(
            lambda: place.run("rmdir", f"/run/pids/{name}", check=False).returncode == 0, "its end"
        )


@pytest.mark.long
def test_one_user_takes_all_the_room(tmp_path: Path) -> None:
    build = read_builds(CHECKOUT / "os/build")["ssh-keeper"]
    for command in compile_commands(build, CHECKOUT, tmp_path):
        subprocess.run(command, cwd=tmp_path, check=True)
    log = tmp_path / "keeper.log"
    with world(tmp_path) as place, limited(place):
        keys = [place.new_key(name) for name in ("alice", "bob", "machine")]
        place.configure(
            f"ssh_authorized_keys: [{keys[2]}]\nusers: [{{name: alice, ssh_authorized_keys: "
            f"[{keys[0]}]}}, {{name: bob, ssh_authorized_keys: [{keys[1]}]}}]\n"
        )
        place.run("chmod", "755", str(tmp_path / "ssh-keeper"))
        with running(place.command("sh", "-c", ENTER, str(tmp_path / "ssh-keeper")), log):
            wait_until(lambda: ":22 " in place.run("ss", "-ltn").stdout, "port 22")
            stays = "sleep 1001 </dev/null >/dev/null 2>&1 & echo $!"
            others = [ssh(place, *who, stays).stdout.strip() for who in _OTHERS]
            assert all(others), log.read_text()
            ssh(place, "alice", "alice", BOMB)  # its session ends with it
            wait_until(lambda: "ssh: alice had " in log.read_text(), "a line in the log")
            left = ("pgrep", "--uid", "alice")
            wait_until(lambda: not place.run(*left, check=False).stdout, "the end of the bomb")
            assert ssh(place, "root", "machine", "id", "-un").stdout == "root\n"
            for pid in others:
                assert place.run("cat", f"/proc/{pid}/comm").stdout == "sleep\n"
