"""Reboot locks: the client of the FleetLock protocol, as its servers know it.

Source: coreos/airlock docs/protocol-specs.md. POST /v1/pre-reboot takes a slot or keeps it,
/v1/steady-state gives it back; both may be sent any number of times. What is sent besides `id` and
`group` other servers leave out: how long the machine may be silent before it counts as failed, what
it is about to do, from which build to which, and how that came out.
"""

from __future__ import annotations

import json
import os
from _sha2 import sha256  # type: ignore[import-not-found]
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import OrlopError
from orlop.system.config.configuration import as_map, ask
from orlop.system.machine_id import machine_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.lib.children import Children
    from orlop.system.config.configuration import Configuration
    from orlop.wire.compose_model import Json

ID_FILE = "fleet-id"
PRE_REBOOT, STEADY_STATE = "/v1/pre-reboot", "/v1/steady-state"
TIMEOUT_S = 20.0
SLACK_S = 10.0
LEASE_S = 3600
"""A reboot and the trial after it take less."""


@dataclass(frozen=True, slots=True)
class Server:
    """`orlop.update.lock`; *url* is empty if there is none."""

    url: str = ""
    group: str = "default"
    ca: str = ""
    token: str = ""


def server(configuration: Configuration) -> Server:
    """The server that the configuration names."""
    lock = as_map(configuration.get("orlop.update.lock"))
    return Server(
        str(lock.get("url") or ""),
        str(lock.get("group") or "default"),
        str(lock.get("ca") or ""),
        str(lock.get("token") or ""),
    )


def own_id(directory: Path) -> str:
    """What this machine is called there: the same at each boot, and another on a copy of its disk
    in another machine.

    Raises:
        OSError: nothing can be kept in *directory*.
    """
    path = directory / ID_FILE
    try:
        seed = path.read_text("ascii")
    except FileNotFoundError:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        seed = os.urandom(16).hex()
        atomic_file.write_text(path, seed, mode=0o600)
    digest: str = sha256(f"fleetlock {seed} {machine_id()}".encode()).hexdigest()
    return digest[:32]


class Refused(OrlopError):
    """The server has no slot for this machine now."""


async def send(
    children: Children, where: Server, path: str, own: str, more: Mapping[str, Json]
) -> None:
    """One request: it is done, or it raises.

    Raises:
        Refused: the server says no. OrlopError, OSError: there is no answer.
    """
    body: dict[str, Json] = {"client_params": {"id": own, "group": where.group}, **more}
    request: dict[str, Json] = {
        "action": "lock",
        "url": where.url,
        "path": path,
        "body": body,
        "ca": where.ca,
        "token": where.token,
        "timeout_s": TIMEOUT_S,
    }
    answer = await ask_worker(children, request, TIMEOUT_S)
    status = answer.get("status")
    if isinstance(status, int) and 200 <= status < 300:
        return
    reason = answer.get("value") or answer.get("kind") or f"status {status}"
    raise Refused(f"{where.url}: {reason}")


async def ask_worker(
    children: Children, request: Mapping[str, Json], timeout_s: float
) -> dict[str, Json]:
    """What the gate's worker answers.

    Raises:
        OrlopError, OSError: there is no answer.
    """
    descriptor = os.memfd_create("gate", os.MFD_CLOEXEC)
    try:
        os.pwrite(descriptor, json.dumps(request).encode(), 0)
        answer = await ask(children, ["gate"], timeout_s + SLACK_S, {0: descriptor})
    finally:
        os.close(descriptor)
    found = as_map(json.loads(answer))
    if "error" in found:
        where = request.get("url") or "the user's engine"
        raise OrlopError(f"{where}: {found['error']}")
    return found
