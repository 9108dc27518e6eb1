"""Two docker commands, theirs and ours, given the same words against the same engine.

What they print is compared after ids, times and the names that each side has for itself are made
the same: `{me}` in the words is a prefix of the side's own, so that both can create things. The
tables of words are the text files beside this one.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"
START = (
    f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from orlop.cli.main import main;"
    " sys.exit(main(['docker', *sys.argv[1:]]))"
)
COMMANDS = {
    "theirs": ["docker"],
    "ours": [sys.executable, "-I", "-S", "-W", "error", "-c", START],
}
PREFIXES = {"theirs": "zzt", "ours": "zzo"}
LIMIT_S = 60

_DEPRECATED = re.compile(r"DEPRECATED: The legacy builder.*?\n\n", re.DOTALL)
_SPAN = r"(?:Less than a second|About an? \w+|\d+ (?:seconds?|minutes?|hours?|days?|weeks?))"
_REPLACED = (
    (re.compile(r"\b(?:sha256:)?[0-9a-f]{64}\b"), "<ID>"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "<id>"),
    (re.compile(rf"\b{_SPAN}( ago)?\b"), r"<span>\1"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?"), "<time>"),
    (re.compile(r'"(?:Pid|timeNano|time)":\s*\d+'), "<number>"),
    # Of what images share, the layers and parents go with the last: those of the other side.
    (re.compile(r"(?:Deleted: <ID>\n)+"), "Deleted: <ID>\n"),
)


def invocations(table: str) -> list[str]:
    """The command lines in *table*.txt, one a line."""
    return Path(__file__).with_name(f"{table}.txt").read_text().splitlines()


@dataclass(frozen=True, slots=True)
class Said:
    """What a command said, and its exit status."""

    status: int
    stdout: str
    stderr: str


class Pair:
    """Runs both against the engine at *socket*; *directory* is for their configurations."""

    def __init__(self, socket: Path, directory: Path) -> None:
        self._socket = socket
        self.directory = directory

    def environment(self, side: str) -> dict[str, str]:
        configuration = self.directory / f"config-{side}"
        configuration.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.directory),
            "DOCKER_HOST": f"unix://{self._socket}",
            "DOCKER_CONFIG": str(configuration),
            "FROM_HERE": "here",
        }

    def raw(self, side: str, words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run one of them; *words* as a shell splits them."""
        text = words.replace("{me}", PREFIXES[side]).replace("{dir}", str(self.directory))
        return subprocess.run(
            [*COMMANDS[side], *shlex.split(text)],
            env=self.environment(side),
            cwd=self.directory,
            input=stdin.replace(b"{me}", PREFIXES[side].encode()),
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )

    def run(self, side: str, words: str, stdin: str | bytes = "") -> Said:
        """The same, and what it said in neutral words."""
        done = self.raw(side, words, stdin.encode() if isinstance(stdin, str) else stdin)
        return Said(
            done.returncode,
            self._neutral(side, done.stdout.decode(errors="replace")),
            self._neutral(side, done.stderr.decode(errors="replace")),
        )

    def _neutral(self, side: str, text: str) -> str:
        text = _DEPRECATED.sub("", text)
        for prefix in PREFIXES.values():
            text = text.replace(prefix, "{me}")
        text = text.replace(f"config-{side}", "config")
        for pattern, replacement in _REPLACED:
            text = pattern.sub(replacement, text)
        return text

    def assert_same(self, words: str, stdin: str | bytes = "", hide: str = "\0") -> None:
        """Both say the same, but for what *hide* fits, and end the same."""
        theirs, ours = (self.run(side, words, stdin) for side in COMMANDS)
        wanted, found = comparable(theirs, hide), comparable(ours, hide)
        assert found == wanted, f"docker {words}\n{shown(wanted)}\nbut ours\n{shown(found)}"


def comparable(said: Said, hide: str = "\0") -> Said:
    """*said* without what may differ: widths that follow times, our help's own sentences."""
    stdout, stderr = re.sub(hide, "", said.stdout), said.stderr
    if "<span>" in stdout or "<time>" in stdout:
        stdout = re.sub(r" {2,}", "  ", stdout)
    if "\nUsage:  docker" in stderr:
        # What a command does is said in words of our own.
        stderr = stderr.partition("\nUsage:  docker")[0] + usage_of(stderr)
    return Said(said.status, stdout, stderr)


def usage_of(text: str) -> str:
    """The lines of usage in *text*."""
    return "\n".join(line for line in text.splitlines() if re.match(r"(Usage:  |\t)docker ", line))


def shown(said: Said) -> str:
    """*said* for people."""
    return f"  {said.status}\n--- stdout\n{said.stdout}--- stderr\n{said.stderr}---"
