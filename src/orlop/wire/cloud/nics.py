"""Interfaces as data sources describe them, and the same as our `orlop.network`.

Clouds know an interface by its hardware address; the configuration by its name. What our keys
cannot say is a warning that names it: nobody is to believe that a bond is there which is not.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.wire.compose_model import Json


@dataclass(slots=True)
class Nic:
    """One interface: by *mac* (lower case), *match* or *name*. *dhcp* None: nothing is said of it.

    *identity* is what others in the description call it. A bond or bridge (*kind*) has *members*
    and *options*; a VLAN has a *vlan_id* and a *parent*.
    """

    name: str = ""
    mac: str = ""
    dhcp: bool | None = None
    addresses: list[str] = field(default_factory=list)
    gateway: str = ""
    gateway6: str = ""
    mtu: int | None = None
    identity: str = ""
    match: dict[str, Json] = field(default_factory=dict)
    kind: str = ""
    options: dict[str, Json] = field(default_factory=dict)
    members: list[str] = field(default_factory=list)
    parent: str = ""
    vlan_id: int | None = None
    tunnel: dict[str, Json] = field(default_factory=dict)
    """`vxlan` or `wireguard`; what a VXLAN is on is an identity."""
    more: dict[str, Json] = field(default_factory=dict)
    """Keys of ours that it has besides."""
    routes: list[dict[str, Json]] = field(default_factory=list)

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
    routes: list[dict[str, Json]] = field(default_factory=list)
    rules: list[Json] = field(default_factory=list)
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


def route(
    destination: str, netmask: str, gateway: str, more: Mapping[str, Json] | None = None
) -> dict[str, Json]:
    """An entry of `orlop.network.routes`; *more* are further keys of it.

    Raises:
        ValueError: it is none.
    """
    if destination != "default":
        text = cidr(destination, netmask)
        destination = str(ipaddress.ip_interface(text).network)
    found: dict[str, Json] = {"to": destination, **(more or {})}
    if gateway:
        found["via"] = str(ipaddress.ip_address(gateway))
    elif destination == "default":
        raise ValueError("a default route without a gateway")
    return found


def to_network(found: Nics, names: Mapping[str, str]) -> tuple[dict[str, Json], tuple[str, ...]]:
    """What belongs under `orlop.network`, and warnings; *names* has names by hardware address."""
    warnings = list(found.warnings)
    labels = _labels(found.nics, names, warnings)
    interfaces: dict[str, dict[str, Json]] = {}
    for nic in found.nics:
        label = labels.get(nic.identity or nic.name or nic.mac, "")
        if label and (settings := _settings(nic)):
            interfaces[label] = settings
    for nic in found.nics:
        label = labels.get(nic.identity or nic.name or nic.mac, "")
        if label and (nic.members or nic.parent or nic.tunnel):
            _relate(nic, label, labels, interfaces, warnings)
    result: dict[str, Json] = {"interfaces": {**interfaces}} if interfaces else {}
    if servers := _unique(found.nameservers):
        result["nameservers"] = [*servers]
    if domains := _unique(found.search):
        result["search"] = [*domains]
    routes: list[Json] = [*found.routes]
    for nic in found.nics:
        label = labels.get(nic.identity or nic.name or nic.mac, "")
        routes += [{**item, "interface": label} for item in nic.routes if label]
    if routes:
        result["routes"] = routes
    if found.rules:
        result["rules"] = found.rules
    return result, tuple(warnings)


def _labels(nics: Sequence[Nic], names: Mapping[str, str], warnings: list[str]) -> dict[str, str]:
    """What each interface is called in `orlop.network.interfaces`, by its identity."""
    labels: dict[str, str] = {}
    for nic in sorted(nics, key=lambda one: one.vlan_id is not None):
        if nic.vlan_id is not None:
            parent = labels.get(nic.parent, "")
            own = nic.name if _is_name(nic.name) else f"{parent}.{nic.vlan_id}"
            label = own if parent and _is_name(own) else ""
        elif nic.kind or nic.match:
            label = nic.name if _is_name(nic.name) or nic.match else ""
        else:
            label = names.get(nic.mac, "") if nic.mac else nic.name
        if label:
            labels[nic.identity or nic.name or nic.mac] = label
        else:
            what = nic.mac or nic.name or "(without a name)"
            warnings.append(f"network: the machine has no interface {what}")
    return labels


def _is_name(text: str) -> bool:
    return re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}", text) is not None


def _relate(
    nic: Nic,
    label: str,
    labels: Mapping[str, str],
    interfaces: dict[str, dict[str, Json]],
    warnings: list[str],
) -> None:
    """Members say what they belong to, and parents which VLANs they have."""
    for member in nic.members:
        if member not in labels:
            warnings.append(f"network: {label}: there is no member {member}")
            continue
        entry = interfaces.setdefault(labels[member], {})
        entry.pop("dhcp", None)
        entry[nic.kind] = label
    if nic.vlan_id is not None:
        entry = interfaces.setdefault(labels[nic.parent], {"dhcp": False})
        vlans = entry.setdefault("vlans", [])
        assert isinstance(vlans, list)
        vlans.append(f"{nic.vlan_id}:{label}")
    vxlan = nic.tunnel.get("vxlan")
    if isinstance(vxlan, dict) and "interface" in vxlan:
        on = str(vxlan["interface"])
        interfaces[label]["vxlan"] = {**vxlan, "interface": labels.get(on, on)}
    if "primary" in nic.options:
        primary = str(nic.options["primary"])
        interfaces[label]["bond_options"] = {**nic.options, "primary": labels.get(primary, primary)}


def _settings(nic: Nic) -> dict[str, Json]:
    """Only what is said: a card without a word asks DHCP, which needs no configuration."""
    settings: dict[str, Json] = {}
    if nic.match:
        settings["match"] = nic.match
    if nic.kind == "bond":
        settings["bond_options"] = nic.options or {"mode": 0}
    elif nic.kind:
        settings["bridge_options" if nic.options else "bridge"] = nic.options or True
    if nic.addresses:
        settings["addresses"] = [*_unique(nic.addresses)]
        settings["dhcp"] = bool(nic.dhcp)
    elif nic.dhcp is False or (
        nic.dhcp is None and (nic.kind or nic.tunnel or nic.vlan_id is not None)
    ):
        settings["dhcp"] = False
    if nic.gateway:
        settings["gateway"] = nic.gateway
    if nic.gateway6:
        settings["gateway6"] = nic.gateway6
    if nic.mtu is not None:
        settings["mtu"] = nic.mtu
    return settings | nic.tunnel | nic.more


def _unique(items: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(items))
