"""What can be done to the kernel's network: each a value, that says how it is asked for.

Interfaces are named, not numbered: one may not be there yet when the list is made.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.services.network.model import PROTOCOL
from orlop.wire.netlink import address, bridge_vlan, link, route, rule
from orlop.wire.netlink.address import InterfaceAddress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.lib.netlink_message import Request
    from orlop.wire.netlink.wireguard import Device

    type Index = Callable[[str], int]
    """Number of an interface, by name; fails with OSError if there is none."""

MARK = "orlop"
"""The alias of links of ours."""

_BOND_PRIMARY = 11
_BOND_DOWN = frozenset((21, 22, 24, 25))
"""lacp_rate and other options that the kernel takes only while the bond is off."""


@dataclass(frozen=True, slots=True)
class MakeLink:
    name: str
    kind: str
    parent: str = ""
    data: Mapping[int, bytes] = field(default_factory=dict)

    def requests(self, index: Index) -> list[Request]:
        parent = index(self.parent) if self.parent else 0
        made = link.new(self.name, self.kind, self.data, parent=parent)
        return [made, link.set_alias(self.name, MARK)]  # the kernel takes no alias at first


@dataclass(frozen=True, slots=True)
class DeleteLink:
    name: str

    def requests(self, _index: Index) -> list[Request]:
        return [link.delete(self.name)]


@dataclass(frozen=True, slots=True)
class Adopt:
    """The link is ours from now on. Loading the driver of bonds makes one that nobody uses."""

    name: str

    def requests(self, _index: Index) -> list[Request]:
        return [link.set_alias(self.name, MARK)]


@dataclass(frozen=True, slots=True)
class ChangeLink:
    name: str
    kind: str
    data: Mapping[int, bytes]

    def requests(self, _index: Index) -> list[Request]:
        change = link.change(self.name, self.kind, self.data)
        if self.kind == "bond" and _BOND_DOWN & set(self.data):
            return [link.set_down(self.name), change, link.configure(self.name, up=True)]
        return [change]


@dataclass(frozen=True, slots=True)
class SetPrimary:
    """The member of bond *name* that is used while it works; empty: any."""

    name: str
    member: str

    def requests(self, index: Index) -> list[Request]:
        number = index(self.member) if self.member else 0
        return [link.change(self.name, "bond", {_BOND_PRIMARY: number.to_bytes(4, "little")})]


@dataclass(frozen=True, slots=True)
class SetMaster:
    """Make *name* a member of *master*, or of nothing. A bond takes what is switched off."""

    name: str
    master: str = ""
    down: bool = False

    def requests(self, index: Index) -> list[Request]:
        master = link.set_master(self.name, index(self.master) if self.master else 0)
        return [link.set_down(self.name), master] if self.down else [master]


@dataclass(frozen=True, slots=True)
class SetVlans:
    """Change the VLANs of a bridge's port; *own*: of the bridge itself."""

    name: str
    add: Mapping[int, int]
    remove: tuple[int, ...]
    own: bool

    def requests(self, index: Index) -> list[Request]:
        number = index(self.name)
        found = [bridge_vlan.delete(number, self.remove, own=self.own)] if self.remove else []
        return found + ([bridge_vlan.add(number, self.add, own=self.own)] if self.add else [])


@dataclass(frozen=True, slots=True)
class SetMtu:
    name: str
    mtu: int

    def requests(self, _index: Index) -> list[Request]:
        return [link.configure(self.name, mtu=self.mtu)]


@dataclass(frozen=True, slots=True)
class SetMac:
    """Not every driver takes another address while the interface is up."""

    name: str
    mac: bytes

    def requests(self, _index: Index) -> list[Request]:
        return [link.set_down(self.name), link.configure(self.name, mac=self.mac)]


@dataclass(frozen=True, slots=True)
class SetUp:
    name: str

    def requests(self, _index: Index) -> list[Request]:
        return [link.configure(self.name, up=True)]


@dataclass(frozen=True, slots=True)
class AddAddress:
    name: str
    address: str

    def requests(self, index: Index) -> list[Request]:
        wanted = _address(index(self.name), self.address)
        return [address.new(wanted, protocol=PROTOCOL, check=True)]


@dataclass(frozen=True, slots=True)
class DeleteAddress:
    name: str
    address: str

    def requests(self, index: Index) -> list[Request]:
        return [address.delete(_address(index(self.name), self.address))]


@dataclass(frozen=True, slots=True)
class AddRoute:
    route: route.Route
    name: str = ""

    def requests(self, index: Index) -> list[Request]:
        output = index(self.name) if self.name else 0
        return [route.new(replace(self.route, output=output))]


@dataclass(frozen=True, slots=True)
class DeleteRoute:
    """*route* as the kernel has it."""

    route: route.Route

    def requests(self, _index: Index) -> list[Request]:
        return [route.delete(self.route)]


@dataclass(frozen=True, slots=True)
class AddRule:
    rule: rule.Rule

    def requests(self, _index: Index) -> list[Request]:
        return [rule.new(self.rule)]


@dataclass(frozen=True, slots=True)
class DeleteRule:
    rule: rule.Rule

    def requests(self, _index: Index) -> list[Request]:
        return [rule.delete(self.rule)]


@dataclass(frozen=True, slots=True)
class SetWireguard:
    """Over a socket of its own: see `act`."""

    name: str
    device: Device
    gone: frozenset[bytes] = frozenset()
    """Peers that are no more."""

    def requests(self, _index: Index) -> list[Request]:
        return []


type Operation = (
    MakeLink
    | DeleteLink
    | Adopt
    | ChangeLink
    | SetPrimary
    | SetMaster
    | SetVlans
    | SetMtu
    | SetMac
    | SetUp
    | AddAddress
    | DeleteAddress
    | AddRoute
    | DeleteRoute
    | AddRule
    | DeleteRule
    | SetWireguard
)


def _address(index: int, text: str) -> InterfaceAddress:
    interface = ipaddress.ip_interface(text)
    return InterfaceAddress(index, interface.packed, interface.network.prefixlen)
