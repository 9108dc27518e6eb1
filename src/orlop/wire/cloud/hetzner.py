"""Hetzner Cloud's metadata service; its private networks get their addresses by DHCP.

Source: "Server metadata" of Hetzner Cloud's API documents.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import LINK_LOCAL, NoAnswer, get, get_optional
from orlop.wire.cloud.netplan import parse_network_config
from orlop.wire.cloud.nics import to_network
from orlop.wire.cloud.nocloud import yaml_document
from orlop.wire.cloud.values import dig, text, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.cloud.conversation import Conversation, Surroundings


def converse(around: Surroundings, base: str = LINK_LOCAL) -> Conversation:
    """Ask the service at *base*."""
    meta_data = yield from get(f"{base}/hetzner/v1/metadata")
    user_data = yield from get_optional(f"{base}/hetzner/v1/userdata")
    return parse(meta_data, user_data, around.interfaces, around.serial)


def parse(
    meta_data: bytes, user_data: bytes, interfaces: Mapping[str, str], serial: str = ""
) -> Answer:
    """The answer in the two documents; *serial*, if known, must be the instance's id."""
    data = yaml_document("the metadata of Hetzner", meta_data)
    instance_id = text(data, "instance-id")
    if not instance_id:
        raise NoAnswer("the metadata of Hetzner has no instance-id")
    if serial and serial != instance_id:
        raise NoAnswer(f"the metadata is of instance {instance_id}, this machine is {serial}")
    found = parse_network_config(dig(data, "network-config") or {})
    network, warnings = to_network(found, interfaces)
    return Answer(
        "hetzner",
        instance_id,
        text(data, "hostname"),
        tuple(texts(data, "public-keys")),
        network,
        _decoded(user_data),
        warnings=warnings,
    )


def _decoded(user_data: bytes) -> bytes:
    """Their service takes text only, so that people give it compressed data in base64."""
    try:
        return base64.b64decode(b"".join(user_data.split()), validate=True)
    except (binascii.Error, ValueError):
        return user_data
