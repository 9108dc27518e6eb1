"""What a filtered process can and cannot do, tried in one."""

import subprocess
import sys
from pathlib import Path

import pytest

from orlop.lib.syscall_filter import plan_filter

SOURCE = Path(__file__).parents[3] / "src"
PROGRAM = """
import os, socket, sys, threading
from orlop.lib.linux import LIBC, check
from orlop.lib.syscall_filter import apply_filter
started = threading.Event()
threading.Thread(target=started.wait, daemon=True).start()
check(LIBC.prctl(38, 1, 0, 0, 0))
apply_filter(network=NETWORK)
def refused(act):
    try:
        act()
    except PermissionError:
        return True
    return False
print(refused(lambda: os.kill(os.getppid(), 0)), refused(lambda: os.execv("/bin/true", ["true"])),
      refused(lambda: socket.socket(socket.AF_UNIX)), open("/proc/self/status").read(4))
"""


@pytest.mark.parametrize("network", [False, True])
def test_a_filtered_process(network: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("NETWORK", str(network))],
        env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout == f"True True {not network} Name\n"


def test_a_machine_that_is_not_known_has_none() -> None:
    assert plan_filter("pdp11", network=False) == b""


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_jump_lands_inside(machine: str) -> None:
    code = plan_filter(machine, network=False)
    count = len(code) // 8

    for place in range(count):
        is_return = code[place * 8] == 6
        jumps = code[place * 8 + 2 : place * 8 + 4]
        assert is_return or all(place + 1 + jump < count for jump in jumps)
