"""A place for tests of people: namespaces of its own with users, sshd and what makes root of them.

The paths are the machine's, because they are written in programs; what is at them is in memory.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from orlop.system import people
from orlop.system.config.actions import planned_files
from orlop.system.config.configuration import Configuration
from orlop.system.services import files
from orlop.wire.config.document import check_document
from orlop.wire.located_yaml import parse_yaml
from tests.engine.services.namespaces import wait_until

PEOPLE = "/run/orlop/people"
CHECKOUT = Path(__file__).parents[3]
SETUP = """\
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 run /run
mkdir -p /home
mount -t tmpfs -o mode=755 home /home
mkdir -p /run/up /run/work /run/ssh /run/sshd /run/elevate /run/orlop/people
for part in etc usr/lib var; do
	over=/run/up/$part under=/run/work/$part
	mkdir -p "$over" "$under"
	mount -t overlay -o "lowerdir=/$part,upperdir=$over,workdir=$under" part "/$part"
done
mkdir -p /var/lib/orlop/ssh /usr/lib/orlop/python
cp "$CHECKOUT/src/orlop/__main__.py" /usr/lib/orlop/python/
ln -s "$CHECKOUT/src/orlop" /usr/lib/orlop/python/orlop
printf '#!/bin/sh\\nexec /bin/sh "$@"\\n' > /usr/lib/orlop/login
chmod 755 /usr/lib/orlop/login
for file in passwd group shadow; do
	rm -f "/etc/$file"
	ln -s "/run/orlop/people/$file" "/etc/$file"
done
ip link set lo up
exec sleep infinity
"""


class World:
    """The namespaces that process *holder* keeps; *directory* for files of the test."""

    def __init__(self, holder: int, directory: Path) -> None:
        self.holder, self.directory = holder, directory

    def command(self, *argv: str) -> list[str]:
        """*argv* as it is run inside."""
        return ["nsenter", f"--target={self.holder}", "--net", "--mount", *argv]

    def run(
        self, *argv: str, check: bool = True, text: str | None = None
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            self.command(*argv), capture_output=True, text=True, check=False, input=text
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stderr}"
        return done

    def configure(self, document: str) -> None:
        """Put the users of *document* in force, as PID 1 does."""
        data = check_document(parse_yaml("test.yml", document)).data
        planned = people.plan(data, {})
        people.write(planned, str(self.directory / "people"))
        self.run("sh", "-c", f"rm -rf {PEOPLE}/*; cp -a {self.directory}/people/. {PEOPLE}/")
        for user in planned.users:
            if user.makes_home:
                self.run("install", "-d", "-m700", "-o", user.name, "-g", str(user.gid), user.home)
        found = Configuration(data)
        told = files.service_configuration("ssh", found, ())
        self.write("/run/config.json", json.dumps(told))
        for file in planned_files(found)[0]:
            if file.service == "ssh":
                self.run("install", "-D", f"-m{file.mode:o}", "/dev/null", file.path)
                self.write(file.path, file.data.decode())

    def write(self, path: str, text: str) -> None:
        self.run("sh", "-c", f"cat > {path}", text=text)

    def new_key(self, name: str) -> str:
        """Make the key *name*; its public half."""
        path = self.directory / name
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], check=True
        )
        return Path(f"{path}.pub").read_text().strip()


@contextmanager
def world(directory: Path) -> Iterator[World]:
    """A world that ends with the block."""
    environment = {**os.environ, "CHECKOUT": str(CHECKOUT)}
    holder = subprocess.Popen(
        ["unshare", "--net", "--mount", "sh", "-c", SETUP], env=environment, cwd="/"
    )
    try:
        comm = Path(f"/proc/{holder.pid}/comm")
        wait_until(lambda: holder.poll() is not None or comm.read_text() == "sleep\n", "the world")
        assert holder.poll() is None, "the world could not be set up"
        yield World(holder.pid, directory)
    finally:
        holder.kill()
        holder.wait()


def sshd() -> str:
    found = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert found is not None
    return found
