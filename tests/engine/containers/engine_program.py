"""An engine by itself, as a program for tests: `engine_program.py DIRECTORY CGROUP IMAGES`.

Serves on DIRECTORY/sock. SIGUSR1: re-execute in place, as PID 1 does. SIGTERM: end, leaving the
containers running. SIGKILL: whatever the test wants to know.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from pathlib import Path

from orlop.engine.engine import Engine
from orlop.engine.settings import EngineSettings
from orlop.wire.compose_model import LogLimits

HANDOVER = "ORLOP_TEST_HANDOVER"
GENERATION = "ORLOP_TEST_GENERATION"
"""Counts the executions, for the test to see."""


async def main() -> None:
    directory, cgroup_root, images = map(Path, sys.argv[1:4])
    settings = EngineSettings(
        run_dir=directory / "run",
        data_dir=directory / "data",
        images_dir=images,
        cgroup_root=cgroup_root,
        init_program=images / ".init",
        log_limits=LogLimits(size_bytes=256 << 10, files=3),
        version="28.0.0",
    )
    engine = Engine(settings)
    await engine.start(json.loads(os.environ.pop(HANDOVER, "{}")))
    await engine.serve(directory / "sock")
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()

    def reexec() -> None:
        changed = {
            HANDOVER: json.dumps(engine.prepare_reexec()),
            GENERATION: str(int(os.environ.get(GENERATION, "0")) + 1),
        }
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | changed)

    loop.add_signal_handler(signal.SIGUSR1, reexec)
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    await ending.wait()
    await engine.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    asyncio.run(main(), debug="ORLOP_TEST_DEBUG" in os.environ)
