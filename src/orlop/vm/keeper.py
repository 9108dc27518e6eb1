"""The process that looks after one machine of `./orlop run`, from its start to its end.

QEMU and the tunnel to the engine's API are its children and end with it; it holds the machine's
lock, which is how others know that the machine runs. It is started by `run` in a session of its
own, so that a machine may outlive the terminal.

The leash is a pipe whose other end `run` holds. A byte on it lets the machine go its own way
(`--detach`); its end without one means that `run` is gone, however it went, and so the machine
shuts down. SIGTERM shuts down too, SIGQUIT at once.

    python3 -m orlop.vm.keeper DIRECTORY LEASH_FD < the command line as JSON
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

from orlop.lib.errors import OrlopError
from orlop.lib.process import environment
from orlop.vm import boot_log, ssh
from orlop.vm.directory import DOCKER_SOCKET, SSH_GUEST_PORT, SYSTEM_SOCKET, MachineDirectory
from orlop.vm.process import QemuProcess, parse_forwards
from orlop.vm.qmp import Qmp
from orlop.vm.spec import Protocol

STOP_TIMEOUT_S = 45.0
"""How long a guest may take to shut down before its plug is pulled."""
TUNNEL_RETRY_S = 3.0
_TICK_S = 1.0
RELEASE = b"r"


class Keeper:
    """Runs one machine; every method belongs to the one thread there is."""

    def __init__(self, directory: MachineDirectory, argv: list[str], leash: int) -> None:
        self._directory = directory
        self._leash = leash
        self._stop_deadline: float | None = None
        self._tunnel: subprocess.Popen[bytes] | None = None
        self._tunnel_after = 0.0
        self._state: dict[str, object] = {
            "pid": os.getpid(),
            "status": "running",
            "started_at_s": time.time(),
        }
        directory.write_state(self._state)
        self._qemu = QemuProcess(argv, directory.path)

    def run(self, wake: int) -> int:
        """Look after the machine until QEMU ends; 0 if it ended by the guest's own will.

        *wake* becomes readable when a signal arrives.
        """
        try:
            self._learn_ports()
            self._watch(wake)
        finally:
            self._end_tunnel()
            self._qemu.close()
        status = self._qemu.wait(0)
        self._state |= {"status": "ended", "exit_status": status, "ended_at_s": time.time()}
        self._directory.write_state(self._state)
        return 0 if status == 0 else 1

    def _learn_ports(self) -> None:
        with self._qemu.connect() as qmp:
            forwards = parse_forwards(qmp.human("info usernet"))
        ports = {f"{guest}/{protocol}": host for (protocol, guest), host in forwards.items()}
        self._state["ports"] = ports
        self._state["qemu_pid"] = self._qemu.pid
        self._state["ssh_port"] = forwards.get((Protocol.TCP, SSH_GUEST_PORT))
        self._directory.write_state(self._state)

    def _watch(self, wake: int) -> None:
        poller = select.poll()
        for descriptor in (self._qemu.pidfd, wake, self._leash):
            poller.register(descriptor, select.POLLIN)
        while True:
            for descriptor, _ in poller.poll(_TICK_S * 1000):
                if descriptor == self._qemu.pidfd:
                    return
                if descriptor == wake:
                    self._on_signals(os.read(wake, 64))
                elif descriptor == self._leash:
                    poller.unregister(self._leash)
                    if os.read(self._leash, 1) != RELEASE:
                        self._begin_stop()
            if self._stop_deadline is not None and time.monotonic() > self._stop_deadline:
                self._state["killed"] = True
                self._qemu.kill()
                return
            self._keep_tunnel()

    def _on_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGQUIT:
                self._stop_deadline = time.monotonic() - 1
            elif number != signal.SIGCHLD:
                self._begin_stop()

    def _begin_stop(self) -> None:
        if self._stop_deadline is not None:
            return
        self._stop_deadline = time.monotonic() + STOP_TIMEOUT_S
        with contextlib.suppress(OrlopError), Qmp(self._qemu.directory, "qmp.sock") as qmp:
            # A guest that has not come far enough to hear the button has nothing to lose.
            if boot_log.current_state(self._directory.boot_events()) == "starting":
                self._stop_deadline = time.monotonic() + STOP_TIMEOUT_S / 4
            qmp.execute("system_powerdown")

    def _keep_tunnel(self) -> None:
        """Start the tunnel when the guest is ready, and again when it broke: guests reboot."""
        port = self._directory.ssh_port()
        if self._tunnel is not None and self._tunnel.poll() is not None:
            self._tunnel = None
            self._tunnel_after = time.monotonic() + TUNNEL_RETRY_S
        if self._tunnel is not None or port is None or time.monotonic() < self._tunnel_after:
            return
        if boot_log.current_state(self._directory.boot_events()) != "ready":
            return
        argv = ssh.forward_command(self._directory.path, port)
        with (self._directory.path / "tunnel.log").open("wb") as log:
            self._tunnel = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", *argv],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
            )

    def _end_tunnel(self) -> None:
        if self._tunnel is not None:
            self._tunnel.terminate()
            self._tunnel.wait()
        for name in (DOCKER_SOCKET, SYSTEM_SOCKET):
            (self._directory.path / name).unlink(missing_ok=True)


def wake_on_signals() -> int:
    """A descriptor that yields the number of every signal the keeper heeds."""
    read_end, write_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(write_end)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    return read_end


def main(argv: list[str]) -> int:
    """Run the machine in directory `argv[0]` with leash `argv[1]`."""
    directory = MachineDirectory(Path(argv[0]))
    command = [str(word) for word in json.load(sys.stdin)]
    wake = wake_on_signals()
    try:
        return Keeper(directory, command, int(argv[1])).run(wake)
    except OrlopError as error:
        directory.write_state({"pid": os.getpid(), "status": "failed", "error": str(error)})
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
