"""The machine's firewall: written at boot before anything listens, and when what it says changes.

PID 1 runs `nft` for it, which replaces the table in one transaction or leaves it as it is. What
others do to the table is undone; the engines' tables are their own. Should the kernel refuse, the
machine goes on with what was in force; at boot, with the rules that no configuration has a part in,
and if not even they can be set, without any: a machine that nobody reaches cannot be mended. A
warning says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from orlop.engine.network.table_guard import Guard
from orlop.engine.settings import DEFAULT_NFT
from orlop.lib.errors import OrlopError
from orlop.system.config.configuration import as_map
from orlop.system.network.firewall_rules import REMOVAL, TABLE, plan

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.config.configuration import Configuration
    from orlop.wire.compose_model import Json

SSH_PORT = 22
"""What services of the image listen on, unless the configuration says another port. It is let in
whether they run at the moment or not: where nothing listens, nothing answers, and who starts one
later does not find it locked."""


_LOOPBACK = ("127.0.0.1", "::1")
"""Where what listens there is, others do not come."""


def tunnel_ports(of: Configuration) -> list[str]:
    """Where WireGuard listens: it is the kernel that does, so no socket has an owner."""
    found = []
    for interface in as_map(of.get("orlop.network.interfaces")).values():
        port = as_map(as_map(interface).get("wireguard")).get("listen_port")
        if isinstance(port, int):
            found.append(f"{port}/udp")
    return found


class Firewall:
    """For the machine of *boot*."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self._lock = asyncio.Lock()
        self.text = ""
        """What is in force, as it was given to nft; empty if that is nothing of ours."""
        self._guard: Guard | None = None

    def ports(self) -> list[str]:
        """What the services there are listen on."""
        services = self._boot.services
        ssh = self._boot.config.current.get("orlop.ssh.port") or SSH_PORT
        found = [f"{ssh}/tcp"] if "ssh" in services.names() else []
        published = (port for name in services.names() for port in services.definition(name).ports)
        found += [f"{p.number}/{p.protocol}" for p in published if p.address not in _LOOPBACK]
        return list(dict.fromkeys(found))

    async def start(self) -> None:
        """Put the rules in force for the first time, when the services are known."""
        boot = self._boot
        self._guard = Guard(TABLE, self._write_again, boot.tasks, boot.children, DEFAULT_NFT)
        await self.follow()

    async def follow(self) -> None:
        """Put in force what the configuration says now; what cannot be is a warning."""
        async with self._lock:
            if self._guard is None:
                return
            for settings in (self._settings(),) if self.text else (self._settings(), {}):
                text = plan(settings, [*self.ports(), *tunnel_ports(self._boot.config.current)])
                try:
                    self._watch(self._guard, wanted=text != REMOVAL)
                    await self._write(self._guard, text)
                except (OrlopError, OSError) as error:
                    self._boot.machine.warn(f"firewall: {error}")
                else:
                    self.text = text
                    return

    def _watch(self, guard: Guard, *, wanted: bool) -> None:
        if not wanted:
            guard.close()
            return
        try:
            guard.watch(0)
        except OSError as error:  # the rules count all the same
            self._boot.machine.warn(f"firewall: the kernel does not tell of changes: {error}")

    async def _write_again(self) -> None:
        async with self._lock:
            if self._guard is not None:
                await self._write(self._guard, self.text)

    def _settings(self) -> dict[str, Json]:
        return as_map(self._boot.config.current.get("orlop.firewall"))

    def report(self) -> dict[str, Json]:
        """What the API says of it."""
        settings = self._settings()
        rules = settings.get("rules")
        return {
            "enabled": settings.get("enabled") is not False,
            "in_force": bool(self.text),
            "policy": settings.get("policy") or "drop",
            "log": settings.get("log") is not False,
            "ports": [*self.ports(), *tunnel_ports(self._boot.config.current)],
            "rules": rules if isinstance(rules, list) else [],
            "ruleset": self.text,
        }

    async def _write(self, guard: Guard, text: str) -> None:
        if said := await guard.put(text):
            raise OrlopError(f"the kernel does not take the rules: {said}")
