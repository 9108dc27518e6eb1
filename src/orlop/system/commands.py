"""`bootcmd`, `runcmd` and `rc-local`: services made of the console's image and commands.

So they run with what a person at the console has, their output is in `orlop logs runcmd`, and
`orlop service why runcmd` says how they ended. As in cloud-init all commands are one script: what
one sets the next one has, and the failure of one does not keep the next from running.

`rc-local` runs the files that RancherOS ran at each boot, where there is one of them.

When `runcmd` has run is noted after it has ended: a power cut while it runs has it run again.
"""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.system.config.files import File
from orlop.wire.compose_model import Dependency, DependencyCondition, RestartPolicy, Stage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.system.config.configuration import Configuration
    from orlop.wire.compose_model import Json, ServiceDefinition

BOOTCMD, RUNCMD, RC_LOCAL = "bootcmd", "runcmd", "rc-local"
NAMES = (BOOTCMD, RUNCMD, RC_LOCAL)
RC_FILES = ("/opt/rancher/bin/start.sh", "/etc/rc.local")
RC_KEPT = "/var/lib/orlop/persist/opt/rancher/bin/start.sh"
"""/opt is kept, if nothing else is said: a person may have put it there."""
SCRIPT = "/run/commands.sh"
RAN = "/var/lib/orlop/config/ran.json"
ENGINE_WAIT_S = 60

_CHECK = """\
for file in /etc/profile.d/*.sh; do
	[ -r "$file" ] && . "$file"
done
failed=0
check() {
	[ "$2" = 0 ] && return
	echo "command $1 ended with status $2" >&2
	failed=1
}
"""
_WAIT = f"""\
seconds=0
while [ -d /run/orlop/docker ] && [ ! -S /run/orlop/docker/docker.sock ] &&
	[ "$seconds" -lt {ENGINE_WAIT_S} ]; do
	sleep 1
	seconds=$((seconds + 1))
done
"""


_RC_SCRIPT = f"""\
{_CHECK}for file in {" ".join(RC_FILES)}; do
	[ -x "$file" ] || continue
	"$file"
	check "$file" $?
done
exit "$failed"
"""


def wanted(of: Configuration) -> tuple[str, ...]:
    """The services of `NAMES` that a machine with the configuration *of* has."""
    files = of.get("write_files")
    paths = {
        entry.get("path")
        for entry in (files if isinstance(files, list) else [])
        if isinstance(entry, dict) and entry.get("container", "console") == "console"
    }
    rc = bool(paths & {*RC_FILES}) or is_program(RC_KEPT)
    return tuple(name for name in (BOOTCMD, RUNCMD) if of.is_configured(name)) + (
        (RC_LOCAL,) if rc else ()
    )


def is_program(path: str) -> bool:
    """Whether *path* is a file that can be executed, or a link, which means something in the
    console alone. No link is followed: it could lead PID 1 to a server that does not answer."""
    try:
        for parent in reversed(Path(path).parents):
            if not stat.S_ISDIR(os.lstat(parent).st_mode):
                return False
        mode = os.lstat(path).st_mode
    except OSError:
        return False
    return stat.S_ISLNK(mode) or (stat.S_ISREG(mode) and bool(mode & 0o111))


def scripts(of: Configuration) -> dict[str, str]:
    """What each of them runs."""
    return {
        name: _RC_SCRIPT if name == RC_LOCAL else script(name, of.get(name)) for name in wanted(of)
    }


def script(name: str, commands: Json) -> str:
    """The script that runs *commands* one after the other; empty without any."""
    if not isinstance(commands, list) or not commands:
        return ""
    parts = [_CHECK, _WAIT if name == RUNCMD else ""]
    for number, command in enumerate(commands, start=1):
        line = " ".join(map(_quote, command)) if isinstance(command, list) else str(command)
        parts.append(f"{line}\ncheck {number} $?\n")
    return "".join([*parts, 'exit "$failed"\n'])


def _quote(word: object) -> str:
    return "'" + str(word).replace("'", "'\\''") + "'"


def files(scripts: Mapping[str, str]) -> list[File]:
    """The scripts where the services find them."""
    return [
        File(name, SCRIPT, text.encode(), 0o700, 0, 0) for name, text in scripts.items() if text
    ]


def define(name: str, console: ServiceDefinition) -> ServiceDefinition:
    """The service that runs the script *name*."""
    dependencies: tuple[Dependency, ...] = ()
    if name != BOOTCMD:
        dependencies = (Dependency("engine", DependencyCondition.STARTED, required=False),)
    return replace(
        console,
        name=name,
        command=("/bin/sh", SCRIPT),
        restart=RestartPolicy(),
        depends_on=dependencies,
        stage=Stage.EARLY if name == BOOTCMD else Stage.NORMAL,
    )


def wait_for_bootcmd(engine: ServiceDefinition) -> ServiceDefinition:
    """The user's *engine*, which starts when the commands have ended, however they did."""
    wanted = Dependency(BOOTCMD, DependencyCondition.COMPLETED, required=False)
    return replace(engine, depends_on=(*engine.depends_on, wanted))


def has_run(when: str, instance: str, path: str = RAN) -> str:
    """Why `runcmd` is not to be run now, empty if it is."""
    ran = _read(path)
    if when == "once" and ran:
        return "has run once"
    if when == "instance" and ran.get("instance") == instance:
        return "has run on this instance"
    return ""


def note_run(instance: str, path: str = RAN) -> None:
    """`runcmd` has run.

    Raises:
        OSError: that cannot be noted.
    """
    Path(path).parent.mkdir(mode=0o700, exist_ok=True)
    atomic_file.write_text(Path(path), json.dumps({"instance": instance}), mode=0o600)


def _read(path: str) -> dict[str, Json]:
    try:
        data = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
