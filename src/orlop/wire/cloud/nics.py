"""Interfaces as data sources describe them, and the same as our `orlop.network`.

Clouds know an interface by its hardware address; the configuration by its name. What our keys
cannot say is a warning that names it: nobody is to believe that a bond is there which is not.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.wire.compose_model import Json


@dataclass(slots=True)
class Nic:
    """One interface: by *mac* (lower case) or *name*. *dhcp* None: nothing is said about it."""

    name: str = ""
    mac: str = ""
    dhcp: bool | None = None
    addresses: list[str] = field(default_factory=list)
    gateway: str = ""
    gateway6: str = ""
    mtu: int | None = None

    def add_gateway(self, address: str) -> None:
        """Take *address* as the default route of its version, the first one wins."""
        if ":" in address:
            self.gateway6 = self.gateway6 or address
        else:
            self.gateway = self.gateway or address


@dataclass(slots=True)
class Nics:
    """All interfaces of a description, the name servers, and what was not understood."""

    nics: list[Nic] = field(default_factory=list)
    nameservers: list[str] = field(default_factory=list)
    search: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def cidr(address: str, netmask: str = "") -> str:
    """`ADDRESS/LENGTH` of *address*, which may have one, and *netmask* (`255.255.0.0` or `16`).

    Raises:
        ValueError: it is no address, or the mask none.
    """
    if "/" not in address and netmask:
        address = f"{address}/{_length(netmask)}"
    return str(ipaddress.ip_interface(address))


def _length(netmask: str) -> int:
    if ":" in netmask:  # `ffff:ffff::`
        bits = int(ipaddress.IPv6Address(netmask))
        length = bits.bit_count()
        if bits != ((1 << length) - 1) << (128 - length):
            raise ValueError(f"{netmask} is no netmask")
        return length
    return ipaddress.ip_network(f"0.0.0.0/{netmask}").prefixlen if "." in netmask else int(netmask)


def is_default(destination: str, netmask: str = "") -> bool:
    """Whether a route to *destination* is the default route."""
    if destination in ("default", "0.0.0.0/0", "::/0"):
        return True
    return destination in ("0.0.0.0", "::") and netmask in ("0.0.0.0", "0", "::", "")


def to_network(found: Nics, names: Mapping[str, str]) -> tuple[dict[str, Json], tuple[str, ...]]:
    """What belongs under `orlop.network`, and warnings; *names* has names by hardware address."""
    warnings = list(found.warnings)
    interfaces: dict[str, Json] = {}
    for nic in found.nics:
        name = names.get(nic.mac, "") if nic.mac else nic.name
        if not name:
            warnings.append(
                f"network: the machine has no interface {nic.mac or '(without a name)'}"
            )
            continue
        settings = _settings(nic)
        if settings:
            interfaces[name] = settings
    result: dict[str, Json] = {"interfaces": interfaces} if interfaces else {}
    if servers := _unique(found.nameservers):
        result["nameservers"] = [*servers]
    if domains := _unique(found.search):
        result["search"] = [*domains]
    return result, tuple(warnings)


def _settings(nic: Nic) -> dict[str, Json]:
    """Only what is said: an interface without a word asks DHCP, which needs no configuration."""
    settings: dict[str, Json] = {}
    if nic.addresses:
        settings["addresses"] = [*_unique(nic.addresses)]
        settings["dhcp"] = bool(nic.dhcp)
    elif nic.dhcp is False:
        settings["dhcp"] = False
    if nic.gateway:
        settings["gateway"] = nic.gateway
    if nic.gateway6:
        settings["gateway6"] = nic.gateway6
    if nic.mtu is not None:
        settings["mtu"] = nic.mtu
    return settings


def _unique(items: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(items))
