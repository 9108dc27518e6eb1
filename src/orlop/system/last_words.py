"""`final_message` and `power_state`: what is said when the machine is ready, and how it may end.

As cloud-init has them: the end is asked for once on an instance, when the commands have run. That
it was asked for is on disk before: a machine that boots again stays up. One that can keep nothing
would boot for ever, so there it is not done. Source: cloud-init 25 cc_final_message,
cc_power_state_change.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from pathlib import Path
from time import gmtime, strftime
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import OrlopError
from orlop.system.boot_channel import uptime_s
from orlop.system.commands import RUNCMD
from orlop.system.config.configuration import as_map
from orlop.system.power import PowerAction

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration
    from orlop.system.machine import Machine

log = logging.getLogger(__name__)

CONSOLE = "/dev/console"
ENDED = "/var/lib/orlop/config/ended.json"


def message(text: str, values: dict[str, str]) -> str:
    """*text* with its variables, in upper or lower case, with or without braces."""
    for name, value in values.items():
        for spelled in (name, name.upper()):
            text = text.replace(f"${{{spelled}}}", value).replace(f"${spelled}", value)
    return text


def say(machine: Machine, current: Configuration, console: str = CONSOLE) -> None:
    """Write the message to the log and to the console."""
    values = {
        "uptime": f"{uptime_s():.2f}",
        "timestamp": strftime("%a, %d %b %Y %H:%M:%S +0000", gmtime()),
        "version": machine.release.get("version", "0"),
        "datasource": str(current.cloud.get("source") or "none"),
    }
    text = message(str(current.get("final_message")), values)
    log.info("%s", text)
    to_console(text, console)


def to_console(text: str, console: str = CONSOLE) -> None:
    """Write *text* to the console, which may be gone or not read."""
    with contextlib.suppress(OSError):
        descriptor = os.open(console, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(descriptor, f"{text}\n".replace("\n", "\r\n").encode())
        finally:
            os.close(descriptor)


async def end_machine(
    boot: Boot, before: asyncio.Task[None] | None = None, ended: str = ENDED
) -> None:
    """Do what `power_state` says, if it has not been done on this instance; after *before*."""
    current = boot.config.current
    wanted = as_map(current.get("power_state"))
    mode = wanted.get("mode")
    if not isinstance(mode, str) or wanted.get("condition") is False:
        return
    place = current.origins.get("power_state.mode")
    instance = boot.config.actions.instance(current)
    path = Path(ended)
    if boot.machine.state is None or not boot.machine.state.uuid:
        boot.machine.warn(f"{place}: configuration: power_state: nothing is kept here, ignoring")
        return
    if was_done(path, instance):
        return
    await wait_for_commands(boot)
    if before is not None:
        await asyncio.wait([before])
    delay = wanted.get("delay")
    await asyncio.sleep(60 * delay if isinstance(delay, int) else 0)
    try:
        await asyncio.to_thread(note_done, path, instance)
    except OSError as error:
        boot.machine.warn(f"{place}: configuration: power_state: {error.strerror}, ignoring")
        return
    boot.power.request(PowerAction(mode), str(wanted.get("message") or "as power_state says"))


async def wait_for_commands(boot: Boot) -> None:
    """Until `runcmd` has run, if it is to in this boot; no longer than `power_state` says."""
    if RUNCMD not in boot.services.names() or boot.conditions.has_run:
        return
    timeout = as_map(boot.config.current.get("power_state")).get("timeout")
    with contextlib.suppress(OrlopError, TimeoutError):
        async with asyncio.timeout(timeout if isinstance(timeout, int) else None):
            await boot.services.wait_up(RUNCMD)
            await boot.engine.wait(RUNCMD)


def was_done(path: Path, instance: str) -> bool:
    """Whether *path* has a note that what it is about was done on *instance*."""
    try:
        return bool(json.loads(path.read_bytes())["instance"] == instance)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def note_done(path: Path, instance: str) -> None:
    """Leave that note.

    Raises:
        OSError: it cannot be left.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    atomic_file.write_text(path, json.dumps({"instance": instance}), mode=0o600)
