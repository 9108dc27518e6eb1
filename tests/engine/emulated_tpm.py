"""A TPM 2.0 without a machine: swtpm, and tpm2-tools to look at it."""

import hashlib
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START_S = 120.0
FIRMWARE = b"keys of the firmware"


@dataclass(frozen=True, slots=True)
class Chip:
    """An emulated TPM: its socket, and a directory for tpm2-tools."""

    path: str
    work: Path

    def tool(self, name: str, words: str, data: bytes = b"") -> bytes:
        command = [f"tpm2_{name}", f"--tcti=swtpm:path={self.path}", *words.split()]
        done = subprocess.run(command, input=data, cwd=self.work, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    def reset(self) -> None:
        """As when the machine starts again."""
        self.tool("shutdown", "--clear")
        command = ["swtpm_ioctl", "--unix", f"{self.path}.ctrl", "-i"]
        subprocess.run(command, check=True)
        self.tool("startup", "--clear")
        self.extend(7, FIRMWARE)

    def extend(self, pcr: int, what: bytes) -> None:
        """As a firmware measures."""
        self.tool("pcrextend", f"{pcr}:sha256={hashlib.sha256(what).hexdigest()}")


@contextmanager
def emulated(directory: Path) -> Iterator[Chip]:
    """One that keeps what it has in *directory*, for a block."""
    state, path = directory / "tpm", directory / "tpm.socket"
    state.mkdir()
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={state}"]
    command += ["--server", f"type=unixio,path={path}"]
    command += ["--ctrl", f"type=unixio,path={path}.ctrl"]
    command += ["--flags", "not-need-init,startup-clear"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_S
        while not path.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        found = Chip(str(path), directory)
        found.extend(7, FIRMWARE)
        yield found
    finally:
        process.terminate()
        process.wait()
