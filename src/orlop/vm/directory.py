"""Where a machine lives on the host: one directory with its sockets, logs, keys and state.

    machines/NAME/
        lock            held by the process that looks after the machine, for as long as it lives
        machine.json    what the machine is: firmware, memory, command line
        state.json      what became of it: the keeper's pid, its ports, how it ended
        qemu.pid qemu.log  qmp.sock agent.sock
        console.sock console.log  boot.log
        key key.pub     the SSH key made for this machine
        config.yml uefi-vars.fd docker.sock system.sock

Whether a machine runs is decided by the lock alone: the kernel drops it with the last process
that holds it, however that ended, and no process id can be mistaken for another.
"""

import errno
import fcntl
import json
import os
import re
import shutil
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.lib.atomic_file import write_text
from orlop.lib.errors import Conflict, NotFound
from orlop.vm.boot_log import BootEvent, BootLogReader
from orlop.vm.qemu import BOOT_LOG, CONSOLE_LOG

MACHINES = "machines"
DISKS = "disks"

LOCK = "lock"
MACHINE_FILE = "machine.json"
STATE_FILE = "state.json"
QEMU_LOG = "qemu.log"
KEY = "key"
DOCKER_SOCKET = "docker.sock"
SYSTEM_SOCKET = "system.sock"

SSH_GUEST_PORT = 22
_NAMES_TRIED = 100
_ESCAPE_SEQUENCE = re.compile(r"\x1b(\[[0-9;?]*[ -/]*[@-~]|[()][0-9A-B]|[=>78c])")


@dataclass(frozen=True, slots=True)
class MachineDirectory:
    """The directory of one machine, running or not."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def running(self) -> bool:
        """Whether some process looks after the machine now."""
        try:
            descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _try_lock(descriptor)
        finally:
            os.close(descriptor)

    def acquire(self) -> int:
        """Take the lock and return its descriptor; what an earlier machine left is removed.

        The descriptor is not inherited unless passed on explicitly.

        Raises:
            Conflict: the machine runs.
        """
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _try_lock(descriptor):
            os.close(descriptor)
            raise Conflict(
                f"machine {self.name} is running already",
                hint=f"./orlop run console {self.name}, or another --name",
            )
        for entry in self.path.iterdir():
            if entry.name != LOCK:
                entry.unlink() if not entry.is_dir() else shutil.rmtree(entry)
        return descriptor

    def read_state(self) -> dict[str, object]:
        """`state.json`, empty where there is none yet."""
        return _read_json(self.path / STATE_FILE)

    def read_machine(self) -> dict[str, object]:
        """`machine.json`, empty where there is none yet."""
        return _read_json(self.path / MACHINE_FILE)

    def write_state(self, state: Mapping[str, object]) -> None:
        write_text(self.path / STATE_FILE, json.dumps(state) + "\n", mode=0o600, durable=False)

    def write_machine(self, machine: Mapping[str, object]) -> None:
        text = json.dumps(machine, indent=2)
        write_text(self.path / MACHINE_FILE, text + "\n", mode=0o600, durable=False)

    def boot_events(self) -> list[BootEvent]:
        """Everything the machine said on its boot channel so far."""
        return BootLogReader().feed(read_or_empty(self.path / BOOT_LOG))

    def console_tail(self, lines: int) -> str:
        """The last *lines* of the serial console, printable."""
        return tail(read_or_empty(self.path / CONSOLE_LOG), lines)

    def ssh_port(self) -> int | None:
        """The host port that leads to the guest's SSH, once QEMU has chosen it."""
        port = self.read_state().get("ssh_port")
        return port if isinstance(port, int) else None

    def signal_keeper(self, number: signal.Signals) -> int | None:
        """Signal the process that looks after the machine; its pidfd, or None if there is none."""
        pid = self.read_state().get("pid")
        if not self.running() or not isinstance(pid, int):
            return None
        try:
            descriptor = os.pidfd_open(pid)
            # Only while the lock is held is the pid of the state file known to be the keeper's.
            if not self.running():
                os.close(descriptor)
                return None
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return None
        return descriptor


def machine_directory(cache: Path, name: str) -> MachineDirectory:
    """The directory of *name*, which need not exist."""
    return MachineDirectory(cache / MACHINES / name)


def find_machine(cache: Path, name: str) -> MachineDirectory:
    """The directory of a machine that exists.

    Raises:
        NotFound: there is none of that name.
    """
    directory = machine_directory(cache, name)
    if not directory.path.is_dir():
        known = ", ".join(entry.name for entry in list_machines(cache)) or "there is none"
        raise NotFound(f"no machine is called {name}", hint=f"./orlop run ls: {known}")
    return directory


def list_machines(cache: Path) -> list[MachineDirectory]:
    """All machines, running or ended, by name."""
    try:
        entries = sorted((cache / MACHINES).iterdir())
    except FileNotFoundError:
        return []
    return [MachineDirectory(entry) for entry in entries if entry.is_dir()]


def free_name(cache: Path, wanted: str = "orlop") -> str:
    """*wanted*, or *wanted*-2 and so on: the first that is not running."""
    for number in range(1, _NAMES_TRIED):
        name = wanted if number == 1 else f"{wanted}-{number}"
        if not machine_directory(cache, name).running():
            return name
    raise Conflict(f"{_NAMES_TRIED} machines run already", hint="./orlop run stop --all")


def disk_path(cache: Path, name: str) -> Path:
    """Where the disk *name* is kept between runs."""
    return cache / DISKS / f"{name}.img"


def ensure_disk(path: Path, size_bytes: int) -> None:
    """Make *path* a sparse image of *size_bytes*, unless it exists; never shrinks or clears one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        os.ftruncate(descriptor, size_bytes)
    finally:
        os.close(descriptor)


def tail(data: bytes, lines: int) -> str:
    """The last *lines* of console output that say something, without what moves a cursor."""
    text = _ESCAPE_SEQUENCE.sub("", data.decode(errors="replace").replace("\r", "\n"))
    printable = "".join(c for c in text if c == "\n" or c == "\t" or c.isprintable())
    return "\n".join([line for line in printable.split("\n") if line.strip()][-lines:])


def read_or_empty(path: Path) -> bytes:
    """The content of *path*, empty where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno == errno.EWOULDBLOCK:
            return False
        raise
    return True


def _read_json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
