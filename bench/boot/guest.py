"""A virtual machine whose every sign of life gets a time stamp.

QEMU is started the same way for each side: kernel and initrd loaded directly, so that no boot
loader's menu counts. Three streams come out, each through a socket that this process listens on:
what the firmware logs (its last line is the hand-over to the kernel), the serial console, and the
JSON lines of the guest's report port.
"""

import json
import os
import selectors
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from orlop.vm.qemu import BOOT_PORT, PROGRAM, Accelerator

FIRMWARE_PORT = "0x402"
"""SeaBIOS logs there, and QEMU shows it when asked."""
HAND_OVER = b"Booting from"
READ_BYTES = 65536
CONSOLE_TAIL_BYTES = 4000


class GuestFailed(Exception):
    """The machine ended, or did not say what was waited for in time."""


@dataclass(frozen=True, slots=True)
class Side:
    """One machine of the comparison, as QEMU needs it."""

    name: str
    kernel: Path
    initrd: Path
    arguments: str
    memory_mib: int
    cpus: int
    disk: Path | None = None
    keep: bool = False
    """Let it change its disk."""
    count: bool = False
    """Let its clock count instructions, a nanosecond each; a wait is over at once and counts."""


@dataclass
class Guest:
    """A running machine. Times are seconds of this host's monotonic clock since its hand-over."""

    side: Side
    started: float
    handed_over: float | None = None
    console: bytearray = field(default_factory=bytearray)
    console_at: float = 0.0
    """When the console last showed something."""
    console_input: socket.socket | None = None
    events: list[tuple[float, dict[str, object]]] = field(default_factory=list)
    _port_buffer: bytearray = field(default_factory=bytearray)
    _firmware: bytearray = field(default_factory=bytearray)

    def feed(self, stream: str, data: bytes) -> None:
        """Take in what came from a stream just now."""
        now = time.monotonic()
        match stream:
            case "firmware":
                self._firmware += data
                # It says so once for each medium it tries; the last one is the one that worked.
                if HAND_OVER in data or (self.handed_over is None and HAND_OVER in self._firmware):
                    self.handed_over = now
            case "console":
                self.console += data
                self.console_at = now
            case _:
                self._port_buffer += data
                *lines, rest = self._port_buffer.split(b"\n")
                self._port_buffer = bytearray(rest)
                self.events += [(self.since_hand_over(now), _object(line)) for line in lines]

    def since_hand_over(self, moment: float) -> float:
        """Seconds from the hand-over (or QEMU's start, if the firmware is silent) to *moment*."""
        return moment - (self.handed_over or self.started)

    def find(self, **wanted: object) -> tuple[float, dict[str, object]] | None:
        """The first event that has all the members *wanted*, with its time."""
        for when, event in self.events:
            if all(event.get(key) == value for key, value in wanted.items()):
                return when, event
        return None


@contextmanager
def running(side: Side, accelerator: Accelerator) -> Iterator[tuple[Guest, "Streams"]]:
    """Start *side*; it is killed at the end."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="orlop-bench-")))
        streams = stack.enter_context(Streams(folder))
        process = subprocess.Popen(
            command_line(side, accelerator),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        stack.callback(_end, process)
        guest = Guest(side, time.monotonic())
        streams.attach(guest, process)
        yield guest, streams


def command_line(side: Side, accelerator: Accelerator) -> list[str]:
    """The words that start QEMU; its streams are sockets in its working directory."""
    words = [PROGRAM, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]
    words += ["-machine", "q35", "-accel", accelerator.argument, "-cpu", accelerator.cpu]
    words += ["-smp", str(side.cpus), "-m", f"{side.memory_mib}M"]
    if side.count:
        words += ["-icount", "shift=0,sleep=off"]
    words += ["-object", "rng-random,id=entropy,filename=/dev/urandom"]
    words += ["-device", "virtio-rng-pci,rng=entropy"]
    for name in Streams.NAMES:
        words += ["-chardev", f"socket,id={name},path={name}.sock"]
    words += ["-device", f"isa-debugcon,iobase={FIRMWARE_PORT},chardev=firmware"]
    words += ["-serial", "chardev:console", "-device", "virtio-serial-pci,max_ports=4"]
    words += ["-device", f"virtserialport,chardev=port,name={BOOT_PORT}"]
    if side.disk:
        snapshot = "off" if side.keep else "on"
        drive = f"if=none,id=disk,format=raw,snapshot={snapshot},file={os.fspath(side.disk)}"
        words += ["-drive", drive, "-device", "virtio-blk-pci,drive=disk"]
    words += ["-netdev", "user,id=net,restrict=on"]
    words += ["-device", "virtio-net-pci,netdev=net,romfile="]
    words += ["-kernel", os.fspath(side.kernel), "-initrd", os.fspath(side.initrd)]
    return [*words, "-append", side.arguments]


class Streams:
    """The sockets that QEMU connects to, and reading what comes through them."""

    NAMES = ("firmware", "console", "port")

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._selector = selectors.DefaultSelector()
        self._stack = ExitStack()

    def __enter__(self) -> "Streams":
        self._listeners = {}
        for name in self.NAMES:
            listener = self._stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(os.fspath(self._folder / f"{name}.sock"))
            listener.listen(1)
            listener.settimeout(30)
            self._listeners[name] = listener
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._stack.close()

    def attach(self, guest: Guest, process: subprocess.Popen[bytes]) -> None:
        """Take QEMU's connections; it makes them before it starts the machine."""
        self._guest, self._process = guest, process
        for name, listener in self._listeners.items():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                raise GuestFailed(f"QEMU did not start: {_error_of(process)}") from None
            self._stack.enter_context(connection)
            self._selector.register(connection, selectors.EVENT_READ, name)
            if name == "console":
                guest.console_input = connection

    def wait_event(self, timeout_s: float, **wanted: object) -> tuple[float, dict[str, object]]:
        """Wait until the guest reported an event with the members *wanted*.

        Raises:
            GuestFailed: it ended or stayed silent.
        """
        deadline = time.monotonic() + timeout_s
        while (found := self._guest.find(**wanted)) is None:
            self._read(deadline, f"no report of {wanted}")
        return found

    def wait_console(self, text: bytes, timeout_s: float) -> bytes:
        """Wait until the console showed *text*; everything it showed so far."""
        deadline = time.monotonic() + timeout_s
        while text not in self._guest.console:
            self._read(deadline, f"no {text!r} on the console")
        return bytes(self._guest.console)

    def wait_end(self, timeout_s: float) -> None:
        """Wait until the machine has switched itself off."""
        deadline = time.monotonic() + timeout_s
        while self._feed(max(deadline - time.monotonic(), 0)):
            if time.monotonic() >= deadline:
                raise GuestFailed(f"{self._guest.side.name} did not switch itself off")

    def pause(self, duration_s: float) -> None:
        """Let the guest go on for a while."""
        deadline = time.monotonic() + duration_s
        while (left_s := deadline - time.monotonic()) > 0:
            self._feed(left_s)

    def _read(self, deadline: float, complaint: str) -> None:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not self._feed(left_s):
            tail = bytes(self._guest.console[-CONSOLE_TAIL_BYTES:]).decode(errors="replace")
            raise GuestFailed(f"{self._guest.side.name}: {complaint}; the console:\n{tail}")

    def _feed(self, timeout_s: float) -> bool:
        """Read what is there within *timeout_s*; False when the machine has ended."""
        for key, _ in self._selector.select(timeout_s):
            assert isinstance(key.fileobj, socket.socket)
            try:
                data = key.fileobj.recv(READ_BYTES)
            except ConnectionResetError:
                data = b""
            if data:
                self._guest.feed(key.data, data)
            else:
                self._selector.unregister(key.fileobj)
        return bool(self._selector.get_map())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def _error_of(process: subprocess.Popen[bytes]) -> str:
    process.kill()
    return process.communicate()[1].decode(errors="replace").strip()


def _object(line: bytes) -> dict[str, object]:
    try:
        value = json.loads(line)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def have_qemu() -> bool:
    """Is QEMU installed here?"""
    return shutil.which(PROGRAM) is not None
