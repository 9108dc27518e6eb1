"""QEMU as a child process: started in its directory, ended with its parent, found out about.

The parent is a test or a machine's keeper. `setpriv --pdeathsig` makes the kernel kill QEMU when
the parent's thread ends in whatever way; Python's `preexec_fn` is not safe for that.
"""

import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from orlop.lib.errors import OrlopError, Unavailable
from orlop.lib.process import environment, pasteable
from orlop.vm.directory import QEMU_LOG, read_or_empty, tail
from orlop.vm.qemu import OVMF_VARIABLES, QMP_SOCKET, UEFI_VARIABLES
from orlop.vm.qmp import Qmp
from orlop.vm.spec import Firmware, MachineSpec, Protocol

START_TIMEOUT_S = 20.0
_POLL_S = 0.02
_USERNET_ROW = re.compile(
    r"\s*(?P<protocol>TCP|UDP)\[HOST_FORWARD\]\s+\d+\s+\S+\s+(?P<host>\d+)\s+\S+\s+(?P<guest>\d+)"
)


class QemuProcess:
    """A running QEMU, from its start to its reaping."""

    def __init__(self, argv: Sequence[str], directory: Path) -> None:
        """Start *argv* in *directory*; stderr goes to `qemu.log` there."""
        self.argv = list(argv)
        self.directory = directory
        (directory / QMP_SOCKET).unlink(missing_ok=True)
        with (directory / QEMU_LOG).open("ab") as log:
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *self.argv],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                start_new_session=True,
            )
        self.pidfd = os.pidfd_open(self._child.pid)

    @property
    def pid(self) -> int:
        return self._child.pid

    def running(self) -> bool:
        return self._child.poll() is None

    def wait(self, timeout_s: float) -> int | None:
        """QEMU's exit status, or None if it still runs after *timeout_s*."""
        if self._child.returncode is not None:
            return self._child.returncode
        poller = select.poll()
        poller.register(self.pidfd, select.POLLIN)
        if not poller.poll(max(timeout_s, 0.0) * 1000):
            return None
        return self._child.wait()

    def kill(self) -> None:
        """The power cut: no warning to the guest, nothing flushed. Reaps; may run twice."""
        if self.running():
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        self._child.wait()

    def close(self) -> None:
        """Kill if needed and release the descriptor."""
        self.kill()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1

    def connect(self) -> Qmp:
        """The QMP connection, as soon as QEMU offers it.

        Raises:
            OrlopError: QEMU ended instead, or was not up within START_TIMEOUT_S.
        """
        waited_s = 0.0
        while True:
            try:
                return Qmp(self.directory, QMP_SOCKET)
            except Unavailable:
                # No socket yet, or QEMU has bound it and does not listen yet.
                pass
            if self.wait(_POLL_S) is not None or waited_s > START_TIMEOUT_S:
                output = tail(read_or_empty(self.directory / QEMU_LOG), 20)
                raise OrlopError(
                    f"QEMU did not start: {output}", hint=pasteable(self.argv, self.directory)
                )
            waited_s += _POLL_S


def prepare(spec: MachineSpec, directory: Path) -> None:
    """Put the files beside the machine that its command line names."""
    if spec.firmware is Firmware.UEFI and not (directory / UEFI_VARIABLES).exists():
        shutil.copyfile(spec.secure_boot or OVMF_VARIABLES, directory / UEFI_VARIABLES)


def parse_forwards(usernet: str) -> dict[tuple[Protocol, int], int]:
    """The host ports by protocol and guest port, from the monitor's `info usernet`.

    There is no QMP command for it, and asking QEMU is the only way to a free port without a race.
    """
    found: dict[tuple[Protocol, int], int] = {}
    for line in usernet.splitlines():
        match = _USERNET_ROW.match(line)
        if match is not None:
            protocol = Protocol(match["protocol"].lower())
            found[protocol, int(match["guest"])] = int(match["host"])
    return found
