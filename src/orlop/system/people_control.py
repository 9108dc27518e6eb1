"""Puts the users of the configuration in force: `people`, with what needs an event loop."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.errors import OrlopError
from orlop.system import people
from orlop.system.config import configuration

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration
    from orlop.wire.compose_model import Json

KEYS = ("users", "groups", "ssh_authorized_keys", "password")
HASH_TIMEOUT_S = 60.0
READ_TIMEOUT_S = 20.0


async def apply(boot: Boot, new: Configuration) -> None:
    """Write passwd and its like; a machine without users has no more to do than that.

    Raises:
        OSError: they cannot be written.
    """
    is_told = any(new.is_configured(key) for key in KEYS)
    before, problem = await _numbers() if is_told else ({}, "")
    data: dict[str, Json] = {key: new.get(key) for key in KEYS}
    password = data["password"]
    if isinstance(password, str) and not password.startswith("$"):
        data["password"] = await _hash(boot, new, password)
    planned = people.plan(data, before)
    people.write(planned)
    problems = [*planned.problems, problem] if problem else planned.problems
    if is_told and not problem:
        problems += await asyncio.to_thread(people.keep, planned, before)
    for text in problems:
        origin = new.origins.get("users") or new.origins.get("groups") or ""
        boot.machine.warn(f"{origin}: configuration: {text}")


async def _numbers() -> tuple[dict[str, dict[str, int]], str]:
    """Those of before, or why they cannot be had: nothing is written over them then."""
    try:
        return await run_bounded(people.read_numbers, READ_TIMEOUT_S), ""
    except OSError as error:
        reason = error.strerror or "no answer"
        return {}, f"the users' numbers cannot be read ({reason}): they may be others until it can"


async def _hash(boot: Boot, new: Configuration, password: str) -> str:
    """A password in plain text is what RancherOS had; it is not kept as that anywhere."""
    boot.machine.warn(
        f"{new.origins.get('password')}: configuration: password: is in plain text: "
        "give its hash, as `orlop passwd` makes it"
    )
    text = os.memfd_create("password", os.MFD_CLOEXEC)
    try:
        os.pwrite(text, password.encode(), 0)
        found = await configuration.ask(boot.children, ["password"], HASH_TIMEOUT_S, {0: text})
    except (OrlopError, OSError) as error:
        boot.machine.warn(f"configuration: password: cannot be hashed: {error}")
        return "*"
    finally:
        os.close(text)
    return found.decode().strip()
