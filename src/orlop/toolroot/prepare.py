"""The launcher's part in making a tool root: host packages, a log, a sign of life on the terminal.

Runs on the host's Python: keep it to Python 3.11.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

from orlop.lib.errors import OrlopError
from orlop.toolroot import enter, make
from orlop.toolroot.settings import Locations, ToolList, replace_toolroot

LOG_TAIL_LINES = 25


def install_what_is_missing(*, root: bool) -> None:
    """Install the few programs that the host needs; without root, say how.

    Raises:
        OrlopError: the person has to do it, or apt failed.
    """
    programs = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux"}
    if not root:
        programs["newuidmap"] = "uidmap"
    packages = [package for program, package in programs.items() if shutil.which(program) is None]
    if not packages:
        return
    install = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if not root:
        raise OrlopError("programs are missing", hint=f"sudo {shlex.join(install)}")
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update", "--quiet"], install):
        print(f"toolroot: {shlex.join(command)}", file=sys.stderr)
        if subprocess.call(command, env=environment, stdout=subprocess.DEVNULL):
            raise OrlopError(f"{shlex.join(command)} failed")


def make_toolroot(
    tools: ToolList, locations: Locations, temporary: Path, final: Path, *, root: bool
) -> None:
    """Make the tool root *final*, by way of *temporary*, with the output of all commands in a log.

    Raises:
        OrlopError: a command failed.
    """
    log = locations.cache / "logs" / "toolroot.log"
    print(f"toolroot: making the tool root, once; log: {log}", file=sys.stderr)
    log.write_text("")
    started_s = time.monotonic()
    made = make.make(
        tools,
        locations.cache,
        temporary,
        lambda argv: _run_logged(argv, log, started_s, root=root),
        root=root,
    )
    for line in make.drift(tools, made):
        print(f"toolroot: WARNING: differs from its lock: {line}", file=sys.stderr)
    replace_toolroot(made, final)
    print(f"toolroot: done in {time.monotonic() - started_s:.0f}s", file=sys.stderr)


def _run_logged(argv: list[str], log: Path, started_s: float, *, root: bool) -> None:
    # As root in namespaces, so that what mmdebstrap mounts ends with it, however it ends. As a
    # plain user it makes its own.
    contained = []
    if root:
        contained = enter.namespaces(root=True, private_processes=True)
        contained += ["sh", "-c", 'mount -t proc proc /proc && exec "$@"', "sh"]
    with log.open("a") as stream:
        stream.write(f"+ {shlex.join(argv)}\n")
        stream.flush()
        process = subprocess.Popen(
            [*contained, *argv],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
        try:
            status = _wait(process, started_s)
        except BaseException:
            process.kill()
            process.wait()
            raise
    if status != 0:
        lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        tail = "\n".join(f"  | {line}" for line in lines)
        raise OrlopError(f"making the tool root failed:\n{tail}", hint=f"less {log}")


def _wait(process: "subprocess.Popen[bytes]", started_s: float) -> int:
    terminal = sys.stderr.isatty()
    while True:
        try:
            status = process.wait(0.5)
        except subprocess.TimeoutExpired:
            if terminal:
                print(f"\rtoolroot: {time.monotonic() - started_s:.0f}s ", end="", file=sys.stderr)
                sys.stderr.flush()
        else:
            if terminal:
                print("\r\033[K", end="", file=sys.stderr)
            return status
