"""Requests that come right after a start, while the container's first program has hardly begun.

dockerd's start takes a tenth of a second by itself, so programs that were written against it expect
to find there what a short command has written, and the command itself among the processes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

from orlop.engine.container.state import WaitCondition

if TYPE_CHECKING:
    from orlop.engine.container.container import Container

SETTLING_S = 0.1
_LOOK_AGAIN_S = 0.002


def _left_s(container: Container) -> float:
    age_s = (time.time_ns() - container.record.started_ns) / 1e9
    return SETTLING_S - age_s if container.record.state.is_up and age_s >= 0 else 0.0


async def await_first_output(container: Container) -> None:
    """Wait a little for a container that has only just been started, unless it ends before."""
    left_s = _left_s(container)
    if left_s > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(left_s):
                await container.wait(WaitCondition.NOT_RUNNING)


async def await_first_program(container: Container) -> None:
    """Wait a little until the runtime's process has become the container's own."""
    runtime = os.fsencode(container.host.settings.runtime)
    while _left_s(container) > 0 and _command(container.record.pid).startswith(runtime):
        await asyncio.sleep(_LOOK_AGAIN_S)


def _command(pid: int) -> bytes:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as stream:
            return stream.read(4096)
    except OSError:
        return b""
