"""Which VLANs the ports of a bridge have, and the bridge itself. Pure.

A bridge filters VLANs if its options say so, or if something is said of a port's VLANs. Of what
nothing is said, that has VLAN 1 without a tag, as with any new bridge, and a bridge also those that
are made on it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.services.settings import list_setting
from orlop.wire.netlink import link_options
from orlop.wire.netlink.bridge_vlan import PVID, UNTAGGED

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.services.network.model import WantedLink

_FILTERING = link_options.BRIDGE["vlan_filtering"].attribute
_ON = b"\1"
_WORDS = {"pvid": PVID, "untagged": UNTAGGED}
_DEFAULT = {1: PVID | UNTAGGED}


def set_vlans(
    entries: Mapping[str, Mapping[str, object]], found: dict[str, WantedLink], problems: list[str]
) -> None:
    """Add to the links *found* what the *entries* say of their VLANs as ports of a bridge."""
    for name, entry in entries.items():
        if not list_setting(entry, "bridge_vlans"):
            continue
        bridge = name if found[name].kind == "bridge" else found[name].master
        if bridge not in found or found[bridge].kind != "bridge":
            problems.append(f"{name}: bridge_vlans: it is no port of a bridge")
        elif found[bridge].create.get(_FILTERING, _ON) != _ON:
            problems.append(f"{name}: bridge_vlans: {bridge} is not to filter VLANs")
        else:
            link, more = found[bridge], {_FILTERING: _ON}
            found[bridge] = replace(
                link, create={**link.create, **more}, data={**link.data, **more}
            )
    filtering = {
        name
        for name, link in found.items()
        if link.kind == "bridge" and link.create.get(_FILTERING) == _ON
    }
    for name, link in [*found.items()]:
        if name in filtering or link.master in filtering:
            vlans = _vlans(entries.get(name, {}), own=name in filtering)
            found[name] = replace(link, bridge_vlans=vlans)


def _vlans(entry: Mapping[str, object], *, own: bool) -> dict[int, int]:
    said = list_setting(entry, "bridge_vlans")
    if not said:
        above = (item.partition(":")[0] for item in list_setting(entry, "vlans") if own)
        return {**{int(number): 0 for number in above}, **_DEFAULT}
    found: dict[int, int] = {}
    for item in said:
        numbers, *words = item.split(":")
        first, _, last = numbers.partition("-")
        flags = sum(_WORDS[word] for word in words)
        found |= dict.fromkeys(range(int(first), int(last or first) + 1), flags)
    return found
