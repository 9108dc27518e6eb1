"""A TPM for one machine."""

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

START_S = 120.0


@contextlib.contextmanager
def tpm(folder: Path) -> Iterator[tuple[str, ...]]:
    """One that keeps what it knows in *folder*, which may be there: the arguments for QEMU.

    It ends with the machine.
    """
    folder.mkdir(exist_ok=True)
    socket = folder / "socket"
    socket.unlink(missing_ok=True)
    command = ["swtpm", "socket", "--tpm2", "--tpmstate", f"dir={folder}"]
    command += ["--flags", "startup-clear", "--ctrl", f"type=unixio,path={socket}"]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + START_S
        while not socket.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield (
            *("-chardev", f"socket,id=tpm,path={socket}", "-tpmdev", "emulator,id=tpm,chardev=tpm"),
            *("-device", "tpm-tis,tpmdev=tpm"),
        )
    finally:
        process.terminate()
        process.wait()
