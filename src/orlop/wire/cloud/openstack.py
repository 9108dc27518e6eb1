"""OpenStack: its metadata service, and the same files on a config drive.

Source: "Metadata service" and "Config drives" of OpenStack Nova's documents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import LINK_LOCAL, NoAnswer, get, get_optional
from orlop.wire.cloud.network_data import parse_network_data
from orlop.wire.cloud.nics import Nics, to_network
from orlop.wire.cloud.values import dig, items, lines, mapping, parse_json, parse_json_map, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.cloud.conversation import Conversation, Surroundings

META_DATA, USER_DATA, NETWORK_DATA = "meta_data.json", "user_data", "network_data.json"


def converse(around: Surroundings, base: str = LINK_LOCAL) -> Conversation:
    """Ask the service at *base*."""
    root = f"{base}/openstack/latest"
    meta_data = yield from get(f"{root}/{META_DATA}")
    user_data = yield from get_optional(f"{root}/{USER_DATA}")
    network_data = yield from get_optional(f"{root}/{NETWORK_DATA}")
    return parse("openstack", meta_data, user_data, network_data, around.interfaces)


def parse(
    source: str,
    meta_data: bytes,
    user_data: bytes,
    network_data: bytes,
    interfaces: Mapping[str, str],
) -> Answer:
    """The answer in the three documents, of which all but the first may be empty."""
    data = parse_json_map(META_DATA, meta_data)
    instance_id = text(data, "uuid")
    if not instance_id:
        raise NoAnswer(f"{META_DATA} has no uuid")
    found = parse_network_data(parse_json(NETWORK_DATA, network_data)) if network_data else Nics()
    network, warnings = to_network(found, interfaces)
    if dig(data, "network_config") and not network_data:
        warnings += (f"{META_DATA}: network_config, in Debian's form, is not supported",)
    # `keys` has kinds, `public_keys` is what all versions have.
    keys = [line for value in mapping(data, "public_keys").values() for line in lines(str(value))]
    keys += [text(key, "data") for key in items(data, "keys") if text(key, "type") == "ssh"]
    return Answer(
        source,
        instance_id,
        text(data, "hostname") or text(data, "name"),
        tuple(dict.fromkeys(keys)),
        network,
        user_data,
        warnings=warnings,
    )
