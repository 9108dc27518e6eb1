"""Run a command and wait for it: for the builder, the host's commands and tests.

Not for PID 1, which may not block and reaps in one place (`lib.children`). A command is a list,
there is no shell, stdin is empty unless given, and the environment is small and the same
everywhere, so that what works for one person works for the next.
"""

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from orlop.lib.errors import OrlopError

type Argument = str | os.PathLike[str]

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TAIL_BYTES = 4000
"""How much of a failed command's output its error carries: a screen, not a log."""


class CommandError(OrlopError):
    """A command ended with another status than 0."""

    def __init__(self, argv: Sequence[str], status: int, output: str, cwd: Path | None) -> None:
        self.argv = list(argv)
        self.status = status
        self.output = output
        self.command = pasteable(argv, cwd)
        super().__init__(
            f"{Path(self.argv[0]).name} {describe_status(status)}"
            + (f":\n{output.rstrip()}" if output.strip() else ""),
            hint=self.command,
        )


def describe_status(status: int) -> str:
    """`exited with 1`, or `was killed by signal 9` for the negative statuses of subprocess."""
    return f"was killed by signal {-status}" if status < 0 else f"exited with {status}"


def pasteable(argv: Sequence[str], cwd: Path | None = None) -> str:
    """The command as a line for a shell."""
    line = shlex.join(argv)
    return f"cd {shlex.quote(str(cwd))} && {line}" if cwd else line


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment commands get: fixed but for HOME and TERM, with *extra* over it."""
    fixed = {"LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC", "PATH": SEARCH_PATH}
    inherited = {key: os.environ[key] for key in ("HOME", "TERM") if key in os.environ}
    return inherited | fixed | dict(extra or {})


def run(
    argv: Sequence[Argument],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout_s: float | None = None,
) -> str:
    """Run *argv* to its end and return its standard output.

    Raises:
        CommandError: the status is not 0; carries the end of stderr and the command to paste.
        OrlopError: it could not be started, or took longer than *timeout_s* (it is killed then).
    """
    words = [os.fspath(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            cwd=cwd,
            env=environment(env),
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise OrlopError(f"cannot start {words[0]}: {error.strerror}: {error.filename}") from error
    except subprocess.TimeoutExpired as error:
        raise OrlopError(
            f"{words[0]} took longer than {timeout_s} s", hint=pasteable(words, cwd)
        ) from error
    if done.returncode != 0:
        output = (done.stderr or done.stdout)[-TAIL_BYTES:].decode(errors="replace")
        raise CommandError(words, done.returncode, output, cwd)
    return done.stdout.decode(errors="surrogateescape")
