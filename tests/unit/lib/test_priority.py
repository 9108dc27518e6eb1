"""The engine's priority: for itself, not for what it starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import os, subprocess, sys
from orlop.lib.priority import go_first
if not go_first():
    sys.exit(77)
nice = [sys.executable, "-c", "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"]
child = subprocess.run(nice, stdout=subprocess.PIPE, check=True).stdout
print(os.getpriority(os.PRIO_PROCESS, 0), child.decode().strip())
"""
SOURCE = Path(__file__).parents[3] / "src"


def test_children_have_the_usual_priority() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 77:
        pytest.skip("this user may not raise a priority")
    assert done.stdout == "-10 0\n", done.stderr
