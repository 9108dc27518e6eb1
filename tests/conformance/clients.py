"""Other people's clients, run against one engine."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE_S = 90


class Clients:
    """Docker's and Compose's command lines, with a configuration directory of their own."""

    def __init__(self, socket_path: Path, directory: Path) -> None:
        self.host = f"unix://{socket_path}"
        self.directory = directory
        self.environment = {
            **os.environ,
            "DOCKER_HOST": self.host,
            "DOCKER_CONFIG": str(directory / "client"),
            "DOCKER_BUILDKIT": "0",
        }

    def run(self, *argv: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def ok(self, *argv: str, stdin: str = "") -> str:
        done = self.run(*argv, stdin=stdin)
        assert done.returncode == 0, f"{' '.join(argv)}: {done.stdout}{done.stderr}"
        return done.stdout

    def docker(self, *words: str, stdin: str = "") -> str:
        """`docker WORDS`, which must succeed; what it writes to stdout."""
        return self.ok("docker", *words, stdin=stdin)
