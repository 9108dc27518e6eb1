"""Vultr's metadata service. The first interface asks DHCP, the others are static.

Source: "Vultr Metadata" of Vultr's documents, and what their service answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import LINK_LOCAL, NoAnswer, get
from orlop.wire.cloud.nics import Nic, Nics, cidr, to_network
from orlop.wire.cloud.values import items, mapping, number, parse_json_map, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.cloud.conversation import Conversation, Surroundings

# The service writes user data for whom this header names.
HEADERS = {"Metadata-Token": "cloudinit"}


def converse(around: Surroundings, base: str = LINK_LOCAL) -> Conversation:
    """Ask the service at *base*."""
    return parse((yield from get(f"{base}/v1.json", HEADERS)), around.interfaces)


def parse(document: bytes, interfaces: Mapping[str, str]) -> Answer:
    """The answer in the one document there is."""
    data = parse_json_map("the metadata of Vultr", document)
    instance_id = text(data, "instance-v2-id") or text(data, "instanceid")
    if not instance_id:
        raise NoAnswer("the metadata of Vultr has no instance id")
    found = Nics()
    for index, entry in enumerate(items(data, "interfaces")):
        found.nics.append(_nic(entry, index == 0, found.warnings))
    network, warnings = to_network(found, interfaces)
    keys = [line.strip() for key in items(data, "public-keys") for line in str(key).splitlines()]
    return Answer(
        "vultr",
        instance_id,
        text(data, "hostname"),
        tuple(filter(None, keys)),
        network,
        text(data, "user-data").encode(),
        warnings=warnings,
    )


def _nic(entry: object, is_first: bool, warnings: list[str]) -> Nic:
    nic = Nic(mac=text(entry, "mac").lower(), dhcp=is_first, mtu=number(entry, "mtu"))
    own = [] if is_first else [mapping(entry, "ipv4")]
    for part in (*own, *items(entry, "ipv4", "additional")):
        _add(nic, text(part, "address"), text(part, "netmask"), warnings)
    for part in items(entry, "ipv6", "additional"):
        _add(nic, text(part, "address") or text(part, "network"), text(part, "prefix"), warnings)
    return nic


def _add(nic: Nic, address: str, netmask: str, warnings: list[str]) -> None:
    if not address:
        return
    try:
        nic.addresses.append(cidr(address, netmask))
    except ValueError:
        warnings.append(f"{nic.mac}: {address!r} is no address, ignoring it")
