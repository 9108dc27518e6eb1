"""What a machine is once it has booted: its stages, its processes, what it does not have."""

import re
import zlib

from orlop.vm.machine import Machine
from tests.vm import guest
from tests.vm.lab import Lab

STAGES = [
    "kernel",
    "python",
    "filesystems",
    "cgroups",
    "devices",
    "state",
    "engine",
    "services",
    "ready",
]
IDLE_MEMORY_LIMIT_BYTES = 100_000_000
WITH_ENGINE_LIMIT_BYTES = 128_000_000
IDLE_PROCESSES_LIMIT = 10


def test_stages_come_in_order(machine: Machine) -> None:
    stages = [event for event in machine.boot_events if event.event == "stage"]
    names = [event.name for event in stages if event.name in STAGES]
    assert [name for name in STAGES if name in names] == names
    assert set(STAGES) - {"ready"} <= set(names)
    # The configuration is read while the engine starts: either may be done first.
    order = [event.name for event in stages]
    assert order.index("state") < order.index("config") < order.index("services")
    times = [event.uptime_s for event in stages]
    assert times == sorted(times)


def test_every_service_runs(machine: Machine) -> None:
    states = guest.services(machine)
    assert {name: states.get(name) for name in guest.ALWAYS | {"ssh"}} == dict.fromkeys(
        guest.ALWAYS | {"ssh"}, guest.RUNNING
    )
    assert states.pop("cloud") == "skipped"  # the emulator is no cloud
    assert set(states.values()) <= {guest.RUNNING, "done"}


def test_nothing_is_complained_about(machine: Machine) -> None:
    assert guest.warnings(machine) == []


def test_pid_1_is_the_engine(machine: Machine) -> None:
    words = machine.succeed("tr '\\0' ' ' < /proc/1/cmdline").split()
    assert re.fullmatch(r"(.*/)?python3\.\d+", words[0])
    assert words[-2:] == ["/usr/lib/orlop/python", "init"]


def test_every_user_process_is_in_a_container(machine: Machine) -> None:
    known = guest.services(machine).keys()
    for process in guest.processes(machine):
        expected = {"init"} if process.pid == 1 else known
        assert process.container in expected, process


def test_no_process_nobody_promised(machine: Machine) -> None:
    # The agent is there only where a host asks for one; its others are those of this very question.
    found = [process for process in guest.processes(machine) if process.container != guest.AGENT]
    assert len(found) <= IDLE_PROCESSES_LIMIT, "\n".join(map(str, found))


def test_memory_in_use_when_idle(machine: Machine) -> None:
    """What the system takes; the engine for the user's containers is counted by itself."""
    wait_for_memory(machine, WITH_ENGINE_LIMIT_BYTES)
    machine.succeed("orlop service stop engine", timeout_s=90)
    try:
        wait_for_memory(machine, IDLE_MEMORY_LIMIT_BYTES)
        print(machine.succeed("cat /proc/meminfo"))
    finally:
        machine.succeed("orlop service start engine", timeout_s=90)
    guest.wait_for_services(machine)
    print(f"PID 1: {guest.init_memory_kib(machine)} KiB")


def wait_for_memory(machine: Machine, limit_bytes: int) -> None:
    """Idle is when the last process of the start has ended and the kernel has what it had."""

    def is_idle() -> bool:
        in_use_bytes = memory_in_use_bytes(machine)
        print(f"in use: {in_use_bytes / 1e6:.1f} MB")
        return in_use_bytes <= limit_bytes

    machine.wait_until(is_idle, f"at most {limit_bytes / 1e6:.0f} MB in use", timeout_s=60)


def memory_in_use_bytes(machine: Machine) -> int:
    """All that is not available to a new program.

    The kernel keeps free pages on lists of each processor, up to some MB here, and leaves them out
    of MemFree and MemAvailable.
    """
    text = machine.succeed("cat /proc/meminfo")
    kib = {
        key: int(rest.split()[0])
        for key, _, rest in (row.partition(":") for row in text.splitlines())
    }
    zones = machine.succeed("cat /proc/zoneinfo")
    on_lists = sum(int(pages) for pages in re.findall(r"^ +count: +(\d+)", zones, re.MULTILINE))
    return ((kib["MemTotal"] - kib["MemAvailable"]) << 10) - on_lists * 4096


def test_only_ssh_listens(machine: Machine) -> None:
    assert listening_ports(machine) == {22}


def test_greeting_and_shell_on_the_serial_console(machine: Machine) -> None:
    """The one test that looks at the console, because the console is what it tests."""
    with machine.serial_console() as console:
        # What is typed before the shell is there is not kept.
        console.send(b"\r")
        assert console.wait_for(b"# ", timeout_s=60)
        console.send(b"echo mark$((40+2))\r")
        assert console.wait_for(b"mark42", timeout_s=30)
        console.send(b"exit\r")
    assert "orlop" in machine.console().lower()


def test_screen_shows_something(machine: Machine, lab: Lab) -> None:
    path = lab.scratch / "screen.png"
    machine.screenshot(path)
    assert len(set(png_bytes(path.read_bytes()))) > 2, "the screen has one colour only"


def listening_ports(machine: Machine) -> set[int]:
    """TCP ports that anything on the machine listens on, IPv4 and IPv6, loopback included."""
    table = machine.succeed("cat /proc/net/tcp /proc/net/tcp6")
    rows = [line.split() for line in table.splitlines() if ":" in line.split()[0]]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}


def png_bytes(data: bytes) -> bytes:
    """The raw rows of a PNG."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position, packed = 8, b""
    while position < len(data):
        length = int.from_bytes(data[position : position + 4])
        if data[position + 4 : position + 8] == b"IDAT":
            packed += data[position + 8 : position + 8 + length]
        position += 12 + length
    return zlib.decompress(packed)
