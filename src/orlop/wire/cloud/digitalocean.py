"""DigitalOcean's metadata service. Source: "Droplet Metadata API", version 1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import LINK_LOCAL, NoAnswer, get
from orlop.wire.cloud.nics import Nic, Nics, cidr, to_network
from orlop.wire.cloud.values import items, mapping, parse_json_map, text, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.cloud.conversation import Conversation, Surroundings

_WITHOUT_ROUTE = ("anchor_ipv4", "anchor_ipv6")


def converse(around: Surroundings, base: str = LINK_LOCAL) -> Conversation:
    """Ask the service at *base*."""
    return parse((yield from get(f"{base}/metadata/v1.json")), around.interfaces)


def parse(document: bytes, interfaces: Mapping[str, str]) -> Answer:
    """The answer in the one document there is."""
    data = parse_json_map("the metadata of DigitalOcean", document)
    droplet = text(data, "droplet_id")
    if not droplet:
        raise NoAnswer("the metadata of DigitalOcean has no droplet_id")
    found = Nics(nameservers=texts(data, "dns", "nameservers"))
    for kind in ("public", "private"):
        found.nics += [
            _nic(entry, kind, found.warnings) for entry in items(data, "interfaces", kind)
        ]
    network, warnings = to_network(found, interfaces)
    return Answer(
        "digitalocean",
        droplet,
        text(data, "hostname"),
        tuple(texts(data, "public_keys")),
        network,
        text(data, "user_data").encode(),
        warnings=warnings,
    )


def _nic(entry: object, kind: str, warnings: list[str]) -> Nic:
    nic = Nic(mac=text(entry, "mac").lower(), dhcp=False)
    for key in ("ipv4", "ipv6", *_WITHOUT_ROUTE):
        part = mapping(entry, key)
        if not part:
            continue
        try:
            length = text(part, "netmask") or text(part, "cidr")
            nic.addresses.append(cidr(text(part, "ip_address"), length))
        except ValueError:
            warnings.append(
                f"{kind} {key}: {text(part, 'ip_address')!r} is no address, ignoring it"
            )
            continue
        if kind == "public" and key not in _WITHOUT_ROUTE and text(part, "gateway"):
            nic.add_gateway(text(part, "gateway"))
    return nic
