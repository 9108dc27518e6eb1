"""The three machines: how each is started, and how its figures are read off it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from bench.boot import debian, floor
from bench.boot.guest import Guest, Side, Streams, running
from orlop.vm.qemu import Accelerator

TIMEOUT_S = 900
"""For one step of a boot: an emulator on a busy machine is slow, and that is no failure here."""
IDLE_AFTER_S = debian.IDLE_AFTER_S

KERNEL_THREAD_FLAG = 0x00200000
"""PF_KTHREAD in Linux' include/linux/sched.h; the ninth field of /proc/PID/stat."""
FLOOR_END = b" s (floor)"
END_MARK = b"bench-end"
PROMPT = b"# "
PROMPT_PAUSE_S = 1.0
"""The shell first asks the terminal for its size; what is typed meanwhile counts as the answer."""
READ_OFF = (
    "grep -E '^Mem(Total|Available)' /proc/meminfo; cat /proc/[0-9]*/stat; echo bench-''end\n"
)
_STAT = re.compile(rb"^(\d+) \((.*)\) \S (\d+) (?:-?\d+ ){4}(\d+) ", re.MULTILINE)
_MEMORY = re.compile(rb"^(Mem\w+):\s+(\d+) kB", re.MULTILINE)

type Figures = dict[str, float]


@dataclass(frozen=True, slots=True)
class Contestant:
    """A machine, the function that lets it run and reads its figures, and what needs no run."""

    side: Side
    measure: Callable[[Guest, Streams], Figures]
    constants: Mapping[str, float]


def orlop_side(out: Path, arguments: str, memory_mib: int, cpus: int) -> Contestant:
    """Orlop as the builder left it in *out*."""
    side = Side("orlop", out / "vmlinuz", out / "initrd", arguments, memory_mib, cpus)
    return Contestant(side, measure_orlop, {"image_bytes": (out / "orlop.iso").stat().st_size})


def debian_side(image: debian.DebianImage, memory_mib: int, cpus: int) -> Contestant:
    """Debian from the cache."""
    arguments = debian.KERNEL_ARGUMENTS
    side = Side("debian", image.kernel, image.initrd, arguments, memory_mib, cpus, image.disk)
    constants = {
        "image_bytes": image.compressed_bytes,
        "installed_bytes": image.installed_bytes,
        "packages": image.packages,
    }
    return Contestant(side, measure_debian, constants)


def floor_side(out: Path, work: Path, arguments: str, memory_mib: int, cpus: int) -> Contestant:
    """Orlop's kernel with Orlop's arguments, and nothing above it."""
    side = Side("floor", out / "vmlinuz", floor.make_initrd(work), arguments, memory_mib, cpus)
    kernel_bytes = (out / "vmlinuz").stat().st_size
    return Contestant(side, measure_floor, {"image_bytes": kernel_bytes})


def counting(contestant: Contestant) -> Contestant:
    """The same on one processor whose clock counts instructions; of Orlop the stages only."""
    measure = contestant.measure if contestant.measure is not measure_orlop else measure_stages
    side = replace(contestant.side, cpus=1, count=True)
    return replace(contestant, side=side, measure=measure)


def prime_debian(
    accelerator: Accelerator, memory_mib: int, cpus: int, image: debian.DebianImage
) -> None:
    """Let *image* do what it does only once: one boot whose changes stay."""
    arguments = f"{debian.KERNEL_ARGUMENTS} {debian.PRIME}"
    side = Side(
        "debian", image.kernel, image.initrd, arguments, memory_mib, cpus, image.disk, keep=True
    )
    with running(side, accelerator) as (_, streams):
        streams.wait_end(2 * TIMEOUT_S)


def measure_stages(_: Guest, streams: Streams) -> Figures:
    """PID 1 reports its stages itself."""
    wall_s, engine = streams.wait_event(TIMEOUT_S, event="stage", name="engine")
    ready_s, ready = streams.wait_event(TIMEOUT_S, event="ready")
    return {
        "engine_uptime_s": _number(engine, "uptime_s"),
        "engine_wall_s": wall_s,
        "ready_uptime_s": _number(ready, "uptime_s"),
        "ready_wall_s": ready_s,
    }


def measure_orlop(guest: Guest, streams: Streams) -> Figures:
    """The stages; then memory and processes are read on the serial console."""
    stages = measure_stages(guest, streams)
    streams.pause(IDLE_AFTER_S)
    assert guest.console_input is not None
    guest.console_input.sendall(b"\n")  # opens a shell
    streams.wait_console(PROMPT, TIMEOUT_S)
    streams.pause(PROMPT_PAUSE_S)
    guest.console_input.sendall(READ_OFF.encode())
    shown = streams.wait_console(END_MARK, TIMEOUT_S).replace(b"\r\n", b"\n")
    memory = {key.decode(): int(value) for key, value in _MEMORY.findall(shown)}
    return {
        **stages,
        "memory_used_mib": (memory["MemTotal"] - memory["MemAvailable"]) / 1024,
        "processes": user_processes(shown),
    }


def user_processes(shown: bytes) -> int:
    """How many user processes are in lines of /proc/PID/stat, without those that read them."""
    lines = _STAT.findall(shown)
    own = {ids for pid, name, parent, _ in lines if name == b"cat" for ids in (pid, parent)}
    return sum(pid not in own and not int(flags) & KERNEL_THREAD_FLAG for pid, _, _, flags in lines)


def measure_debian(_: Guest, streams: Streams) -> Figures:
    """Two small units report: see `debian.UNITS`."""
    wall_s, engine = streams.wait_event(TIMEOUT_S, event="stage", name="engine")
    idle_wall_s, idle = streams.wait_event(TIMEOUT_S, event="idle")
    return {
        "engine_uptime_s": _number(engine, "uptime_s"),
        "engine_wall_s": wall_s,
        "ready_uptime_s": _number(idle, "uptime_s"),
        "ready_wall_s": idle_wall_s - IDLE_AFTER_S,
        "memory_used_mib": (_number(idle, "total_kib") - _number(idle, "available_kib")) / 1024,
        "processes": _number(idle, "processes"),
    }


def measure_floor(guest: Guest, streams: Streams) -> Figures:
    """One line on the console."""
    shown = streams.wait_console(FLOOR_END, TIMEOUT_S)
    wall_s = guest.since_hand_over(guest.console_at)
    found = re.search(rb"floor reached after ([\d.]+) s", shown)
    return {
        "engine_uptime_s": float(found[1]) if found else float("nan"),
        "engine_wall_s": wall_s,
    }


def _number(event: Mapping[str, object], key: str) -> float:
    value = event.get(key)
    return float(value) if isinstance(value, int | float) else float("nan")
