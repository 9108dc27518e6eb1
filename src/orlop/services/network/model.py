"""What the network of the machine is to be, as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.netlink.route import Route
    from orlop.wire.netlink.rule import Rule
    from orlop.wire.netlink.wireguard import Device

PROTOCOL = 79
"""The mark on addresses, routes and rules of ours; iproute2's rt_protos has no name for it, and the
kernel's own are below. What does not have it is somebody else's."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """A card that is there. *path* is where it is plugged in, such as `0000:00:03.0`."""

    name: str
    mac: str = ""
    driver: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class Automatic:
    """What an interface asks the network for."""

    dhcp: bool = False
    dhcp6: bool = False
    ra: bool = False
    ipv4ll: bool = False

    @property
    def any(self) -> bool:
        return self.dhcp or self.dhcp6 or self.ra or self.ipv4ll


@dataclass(frozen=True, slots=True)
class WantedLink:
    """One interface. *kind* is that of a link to make, empty for one that has to be there.

    *create* are the attributes it is made with, *data* all that it should have (with the
    defaults), *fixed* those of them that only a new link can have. *addresses* have a length.
    """

    name: str
    kind: str = ""
    parent: str = ""
    create: Mapping[int, bytes] = field(default_factory=dict)
    data: Mapping[int, bytes] = field(default_factory=dict)
    fixed: frozenset[int] = frozenset()
    master: str = ""
    primary: str = ""
    mtu: int = 0
    mac: bytes = b""
    addresses: tuple[str, ...] = ()
    automatic: Automatic = Automatic()
    metric: int = 0
    optional: bool = False
    wireguard: Device | None = None
    bridge_vlans: Mapping[int, int] | None = None
    """All VLANs that it has as a port of a bridge, or as that bridge itself, and their flags."""


@dataclass(frozen=True, slots=True)
class WantedRoute:
    """*route* leads out of *interface*, where it is said; its `output` is 0."""

    route: Route
    interface: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """All of it; *problems* says what cannot be."""

    links: Mapping[str, WantedLink] = field(default_factory=dict)
    routes: tuple[WantedRoute, ...] = ()
    rules: tuple[Rule, ...] = ()
    problems: tuple[str, ...] = ()
