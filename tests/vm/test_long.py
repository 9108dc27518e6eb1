"""Ten minutes of `kill -9` at random; not in every run."""

import random
import time

import pytest

from tests.vm import guest
from tests.vm.lab import Lab

KILLS = 100
DURATION_S = 600.0
MEMORY_GROWTH_LIMIT_KIB = 4 << 10


@pytest.mark.long
def test_a_hundred_kills_of_any_process_but_pid_1(lab: Lab) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    with lab.machine(lab.kernel(), "chaos", key=True, disks=(lab.state_disk(),)) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        started = guest.init_started(machine)
        begin = time.monotonic()
        sizes_kib = [guest.init_memory_kib(machine)]
        for number in range(1, KILLS + 1):
            guest.wait_for_agent(machine)
            targets = [process for process in guest.processes(machine) if process.pid != 1]
            target = rng.choice(targets)
            # The agent may be the one: no answer is expected then.
            machine.send(["kill", "-9", str(target.pid)])
            print(f"{number}: {target.container}: {target.command}")
            remaining_s = begin + DURATION_S * number / KILLS - time.monotonic()
            time.sleep(max(remaining_s, 0.0))
            if number % 10 == 0:
                guest.wait_for_agent(machine)
                sizes_kib.append(guest.init_memory_kib(machine))
        guest.wait_for_services(machine, timeout_s=300)
        sizes_kib.append(guest.init_memory_kib(machine))
        print(f"PID 1 in KiB: {sizes_kib}")
        assert guest.init_started(machine) == started
        assert sizes_kib[-1] <= sizes_kib[0] + MEMORY_GROWTH_LIMIT_KIB
        machine.stop()
