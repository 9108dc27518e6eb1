"""Installing without a person: when the configuration, or a kernel parameter, says so."""

from __future__ import annotations

import base64
import json
import logging
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.system.cloud.control import POINTERS
from orlop.system.config.configuration import as_list, as_map
from orlop.system.install.disks import ONLY

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration
    from orlop.system.install.install import Request

log = logging.getLogger(__name__)

KEY = "orlop.install"


def wanted_disks(
    configuration: Configuration, parameter: bool | None, command_line: str, *, has_state: bool
) -> tuple[str, ...]:
    """The disks of which the first that is there is to be installed on; none: nothing is; pure.

    A machine that has a state is installed, or its data would not be seen any more. *parameter* is
    the kernel's `orlop.install`: by itself it means the only disk, but not before a configuration
    that the command line points at has come, which may say more.
    """
    if parameter is False or has_state:
        return ()
    disks = tuple(str(name) for name in as_list(configuration.get(f"{KEY}.disk")))
    if disks or not parameter:
        return disks
    waits = any(word in command_line for word in POINTERS) and not configuration.cloud
    return () if waits else (ONLY,)


def request_of(configuration: Configuration, disks: tuple[str, ...]) -> Request:
    """What the configuration asks for; pure."""
    from orlop.system.install.install import Request

    said = as_map(configuration.get(KEY))
    own = said.get("config")
    passphrase = str(said.get("passphrase") or "")
    return Request(
        disks,
        config=None if own is None else json.dumps(own, indent=2) + "\n",
        config_name=str(configuration.origins.get(f"{KEY}.config") or f"{KEY}.config"),
        image=str(said.get("image") or ""),
        image_sha256=str(said.get("image_sha256") or ""),
        append=str(said.get("append") or ""),
        then=str(said.get("then") or "reboot"),
        wipe=said.get("wipe") is True,
        keep_state=said.get("keep_state") is True,
        encrypt=str(said.get("encrypt") or ""),
        key=base64.b64encode(passphrase.encode()).decode(),
        key_file=str(said.get("key_file") or ""),
        mirror=tuple(str(name) for name in as_list(said.get("mirror"))),
        unattended=True,
    )


async def run(boot: Boot, disks: tuple[str, ...]) -> None:
    """Install on the first of *disks* that is there, and say on the console how far it is."""
    from orlop.system.install.install import check
    from orlop.system.last_words import to_console
    from orlop.system.network import online

    request = request_of(boot.config.current, disks)
    if request.image:  # it is tried once in a boot, and the machine may be faster than its network
        await online.wait(online.limit_s(boot.config.current))
    boot.machine.warn(f"installing on {', '.join(disks)}, as {KEY} says")
    try:
        check(request)
        job = await boot.config.actions.installer.begin(request)
    except (OrlopError, OSError) as error:
        boot.machine.warn(f"{KEY}: {error}")
        return
    said = ""
    async for event in job.follow():
        if "error" in event:
            hint = f" ({event['hint']})" if event.get("hint") else ""
            boot.machine.warn(f"{KEY}: {event['error']}{hint}")
        elif (text := str(event.get("text") or event.get("notice") or "")) and text != said:
            said = text
            to_console(f"orlop: {text}")
