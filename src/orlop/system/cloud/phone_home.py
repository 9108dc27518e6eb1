"""`cloud.phone_home`: tells a server, once on an instance, that the machine is up.

As cloud-init has it: a POST of a form, when the commands have run. Unlike there it counts as done
only when the server has taken it: what was tried in vain is tried again at the next boot. What goes
out and comes in is a worker's. Source: cloud-init 25 cc_phone_home.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from orlop.lib.errors import OrlopError
from orlop.system import last_words
from orlop.system.board_facts import HOST_KEY
from orlop.system.config.configuration import as_list, as_map, ask
from orlop.system.network import hostname, online

if TYPE_CHECKING:
    from orlop.lib.children import Children
    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

CALLED = "/var/lib/orlop/config/called.json"
ALL = ("pub_key_rsa", "pub_key_ecdsa", "pub_key_ed25519", "instance_id", "hostname", "fqdn")
TRIES = 10
FIRST_PAUSE_S, LONGEST_PAUSE_S = 3.0, 60.0
TRY_S = 90.0
KEY_S = 30.0
"""How long the SSH server may take to make the machine's key."""


async def call(boot: Boot, called: str = CALLED) -> None:
    """Do it, if it has not been done on this instance."""
    current = boot.config.current
    wanted = as_map(current.get("phone_home"))
    url, path = str(wanted.get("url") or ""), Path(called)
    instance = boot.config.actions.instance(current)
    if not url:
        boot.machine.warn("configuration: phone_home: has no url, ignoring")
        return
    if last_words.was_done(path, instance):
        return
    await last_words.wait_for_commands(boot)
    await online.wait(online.limit_s(current))
    request = await _request(boot, url, as_list(wanted.get("post")), instance)
    tries = wanted.get("tries")
    if await _try(boot, request, tries if isinstance(tries, int) else TRIES):
        try:
            await asyncio.to_thread(last_words.note_done, path, instance)
        except OSError as error:
            boot.machine.warn(f"it cannot be noted that home was called: {error.strerror}")


async def _try(boot: Boot, request: dict[str, Json], tries: int) -> bool:
    """Whether the server has taken it."""
    shown = str(request["url"]).partition("?")[0]
    pause_s, reason = FIRST_PAUSE_S, ""
    for number in range(1, tries + 1):
        if number > 1:
            log.info("phone_home: %s: %s; again in %d s", shown, reason, pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        try:
            status = await send(boot.children, request)
        except (OrlopError, OSError, ValueError) as error:
            reason = str(error)
        else:
            log.info("phone_home: %s has taken it, with status %d", shown, status)
            return True
    boot.machine.warn(f"phone_home: {shown}: {reason}; tried {tries} times")
    return False


async def send(children: Children, request: dict[str, Json]) -> int:
    """One try: the status with which the server has taken it.

    Raises:
        OrlopError, OSError, ValueError: it has not.
    """
    descriptor = os.memfd_create("phone-home", os.MFD_CLOEXEC)
    try:
        os.pwrite(descriptor, json.dumps(request).encode(), 0)
        answer = as_map(json.loads(await ask(children, ["phone-home"], TRY_S, {0: descriptor})))
    finally:
        os.close(descriptor)
    status = answer.get("status")
    if not isinstance(status, int):
        raise OrlopError(str(answer.get("error") or "no answer"))
    return status


async def _request(boot: Boot, url: str, post: list[Json], instance: str) -> dict[str, Json]:
    """What the worker is told."""
    from orlop.engine.registry import job

    current = boot.config.current
    names = [str(name) for name in post] or [*ALL]
    node = os.uname().nodename
    number = str(current.cloud.get("instance_id") or instance)
    known: dict[str, Json] = {
        "instance_id": number,
        "hostname": node.partition(".")[0],
        "fqdn": current.fqdn or node,
    }
    keys = dict(as_map(current.get("orlop.ssh.host_keys")))
    if "pub_key_ed25519" in names and "ed25519" not in keys and "ssh" in boot.services.names():
        known["pub_key_ed25519"] = await _own_key()
    work = job.Job(action="phone-home", registries=boot.images.registries())
    return {
        "url": last_words.message(url, {"instance_id": quote(number, safe="")}),
        "names": [*names],
        "known": known,
        "keys": {f"pub_key_{kind}": text for kind, text in keys.items()},
        "job": job.to_json(work),
    }


async def _own_key(path: str = HOST_KEY) -> str:
    """The machine's own key, which on the first boot is being made; empty if there is none."""
    directory, name = os.path.split(path)
    try:
        async with asyncio.timeout(KEY_S):
            async for _ in hostname.changes(directory, name, at_once=True):
                try:
                    return await asyncio.to_thread(_read_line, path)
                except FileNotFoundError:
                    continue
    except (OSError, TimeoutError) as error:
        log.info("phone_home: %s: %s", path, getattr(error, "strerror", None) or "is not there")
    return ""


def _read_line(path: str) -> str:
    with open(path, "rb") as stream:
        return stream.read(4096).decode("ascii", "replace").strip()
