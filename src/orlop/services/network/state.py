"""What the kernel's network is, and what it was before it was changed: values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orlop.wire.netlink.address import InterfaceAddress, Origin
    from orlop.wire.netlink.link import Link
    from orlop.wire.netlink.route import Route
    from orlop.wire.netlink.rule import Rule
    from orlop.wire.netlink.wireguard import Device


@dataclass(frozen=True, slots=True)
class State:
    """What the kernel has."""

    links: Mapping[str, Link] = field(default_factory=dict)
    addresses: tuple[tuple[InterfaceAddress, Origin], ...] = ()
    routes: tuple[Route, ...] = ()
    rules: tuple[Rule, ...] = ()
    tunnels: Mapping[str, Device] = field(default_factory=dict)

    def name(self, index: int) -> str:
        return next((link.name for link in self.links.values() if link.index == index), "")


@dataclass(frozen=True, slots=True)
class Before:
    """What an interface, which is not ours, had before we changed it; *master*: what we made it a
    member of."""

    mtu: int = 0
    mac: str = ""
    master: str = ""


type Record = Mapping[str, Before]
