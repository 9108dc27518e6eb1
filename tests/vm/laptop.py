"""A person's laptop: Docker's own clients, which reach a machine's engine by `ssh://` only."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

from orlop.lib.process import environment
from orlop.vm.machine import Machine
from tests.engine.store.archives import LayerBuilder, config_of, docker_archive
from tests.vm.lab import host_ssh

DEADLINE_S = 300
DATABASE_IMAGE = "debian-mariadb"
_DATABASE_PROGRAMS = (
    "/usr/sbin/mariadbd",
    "/usr/bin/mariadb",
    "/usr/bin/mariadb-install-db",
    "/usr/bin/my_print_defaults",
)
_DATABASE_DATA = Path("/usr/share/mariadb")
_BUSYBOX = Path("/usr/bin/busybox")


class Laptop:
    """Runs `docker` and `docker-compose` against the user's engine of *machine*."""

    def __init__(self, machine: Machine, directory: Path, variables: Mapping[str, str]) -> None:
        """In *directory*, which is made; *variables* of the environment are for its clients."""
        self.machine = machine
        self._variables = dict(variables)
        self.directory = directory
        directory.mkdir()
        # The clients call `ssh`; this one has the machine's key, as ~/.ssh/config would tell it.
        self._ssh = directory / "bin/ssh"
        self._ssh.parent.mkdir()

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a client; its outputs are bytes."""
        [program, *options, _] = host_ssh(self.machine, ())
        command = shlex.join([str(shutil.which(program)), *options])
        self._ssh.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        self._ssh.chmod(0o755)
        variables = {
            "PATH": f"{self._ssh.parent}:{os.environ['PATH']}",
            "HOME": str(self.directory),
            # The engine has the classic builder; Compose does not ask before it tries the other.
            "DOCKER_BUILDKIT": "0",
            "DOCKER_HOST": f"ssh://root@127.0.0.1:{self.machine.ssh_port()}",
            **self._variables,
        }
        return subprocess.run(
            words,
            env=environment(variables),
            input=stdin,
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def succeed(self, *words: str, stdin: bytes = b"") -> str:
        """Run a client, which must end with status 0; what it wrote to its standard output."""
        done = self.run(*words, stdin=stdin)
        told = done.stdout.decode() + done.stderr.decode()
        assert done.returncode == 0, f"{shlex.join(words)}: {done.returncode}\n{told}"
        return done.stdout.decode()

    def docker(self, *words: str, stdin: bytes = b"") -> str:
        return self.succeed("docker", *words, stdin=stdin)


def database_archive() -> bytes:
    """What `docker save` would have made of an image with Debian's MariaDB and busybox."""
    layer = LayerBuilder()
    for name in ("bin", "etc", "lib64", "usr", "usr/bin", "usr/sbin", "usr/share", "var"):
        layer.directory(name)
    layer.directory("tmp", 0o1777).directory("root", 0o700)
    layer.add("bin/busybox", _BUSYBOX.read_bytes(), mode=0o755)
    listed = subprocess.run([_BUSYBOX, "--list"], stdout=subprocess.PIPE, text=True, check=True)
    for applet in set(listed.stdout.split()) - {"busybox"}:
        layer.link(f"bin/{applet}", "busybox")
    layer.add("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n")
    layer.add("etc/group", b"root:x:0:\n")
    for path in (*_DATABASE_PROGRAMS, *_libraries(_DATABASE_PROGRAMS)):
        layer.add(path.lstrip("/"), Path(path).read_bytes(), mode=0o755)
    files = (*_DATABASE_DATA.glob("*.sql"), *(_DATABASE_DATA / "english").iterdir())
    for file in (*files, *(_DATABASE_DATA / "charsets").iterdir()):
        layer.add(str(file).lstrip("/"), file.read_bytes())
    content = layer.finish()
    config = config_of([content], Env=["PATH=/usr/sbin:/usr/bin:/bin"])
    return docker_archive([content], [f"{DATABASE_IMAGE}:latest"], config)


def _libraries(programs: Iterable[str]) -> set[str]:
    """The shared libraries that *programs* are loaded with, and their loader."""
    found = set()
    for program in programs:
        done = subprocess.run(["ldd", program], stdout=subprocess.PIPE, text=True, check=False)
        words = done.stdout.split()
        found |= {word for word in words if word.startswith("/")}
    return found
