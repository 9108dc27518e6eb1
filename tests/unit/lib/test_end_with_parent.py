"""A process that ends with the one that started it."""

import os
import select
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[3] / "src"
CHILD = """
import time
from orlop.lib.linux import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(100)
"""
PARENT = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", {CHILD!r}], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(100)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(SOURCE)}


def test_it_is_killed_with_its_parent() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT], env=ENVIRONMENT, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        descriptor = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    try:
        assert ended.poll(20_000)
    finally:
        os.close(descriptor)


def test_it_ends_where_nobody_reads_its_answer_any_more() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", CHILD], env=ENVIRONMENT, stdout=writing, check=False, timeout=60
        )
    finally:
        os.close(writing)
    assert done.returncode == 1
