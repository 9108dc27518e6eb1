"""VMware's guestinfo: values that the host keeps for its guest, read over the backdoor.

The metadata is YAML or JSON in the form of cloud-init's source VMware, which RancherOS's own keys
(`guestinfo.cloud-init.config.*`, `guestinfo.hostname`, `guestinfo.dns.*`, `guestinfo.interface.*`)
stand beside. A request for `guestinfo:KEY` is answered by who can speak to the host.
Source: cloud-init's document "VMware"; RancherOS's document "VMware guestinfo".
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.cloud.answer import MAX_USER_DATA_BYTES, Answer
from orlop.wire.cloud.conversation import NoAnswer, Request
from orlop.wire.cloud.netplan import parse_network_config
from orlop.wire.cloud.nics import Nic, Nics, cidr, to_network
from orlop.wire.cloud.nocloud import yaml_document
from orlop.wire.cloud.values import dig, items, lines, mapping, text

if TYPE_CHECKING:
    from collections.abc import Generator

    from orlop.wire.cloud.conversation import Conversation, Response, Surroundings

SCHEME = "guestinfo:"
_EMPTY = (b"", b"---", b"null")
_MAX_INTERFACES = 16


def converse(around: Surroundings) -> Conversation:
    """Ask the host."""
    meta_data = yield from _decoded("metadata", "metadata.encoding")
    user_data = yield from _decoded("userdata", "userdata.encoding")
    if not user_data:
        name = "cloud-init.config.data"
        user_data = yield from _decoded(name, "cloud-init.data.encoding")
    hostname = (yield from _value("hostname")).decode("utf-8", "replace").strip()
    old = yield from _plain_interfaces()
    url = (yield from _value("cloud-init.config.url")).decode("utf-8", "replace").strip()
    if not (meta_data or user_data or hostname or old.nics or url):
        raise NoAnswer("the host has no guestinfo for this machine")
    data = yaml_document("guestinfo.metadata", meta_data)
    network, warnings = to_network(
        _described(data) if dig(data, "network") else old, around.interfaces
    )
    if url and not user_data:
        user_data = f"#include\n{url}\n".encode()
    keys = [line for key in _keys(data) for line in lines(key)]
    return Answer(
        "vmware",
        text(data, "instance-id") or around.machine or "vmware",
        text(data, "local-hostname") or text(data, "hostname") or hostname,
        tuple(keys),
        network,
        user_data,
        warnings=warnings,
    )


def _keys(data: object) -> list[str]:
    for name in ("public-keys", "public-keys-data", "public_keys"):
        found = items(data, name) or list(mapping(data, name).values())
        if found:
            return [str(key) for key in found]
    return []


def _described(data: object) -> Nics:
    """`network`: a map, or a text in base64, perhaps compressed, as `network.encoding` says."""
    network = dig(data, "network")
    if isinstance(network, str):
        encoding = text(data, "network.encoding")
        plain = decode("guestinfo.metadata: network", network.encode(), encoding)
        network = yaml_document("guestinfo.metadata: network", plain)
    return parse_network_config(network)


def _plain_interfaces() -> Generator[Request, Response, Nics]:
    """RancherOS's `guestinfo.interface.N.*` and `guestinfo.dns.*`."""
    found = Nics()
    for kind, into in (("server", found.nameservers), ("domain", found.search)):
        for index in range(_MAX_INTERFACES):
            value = yield from _text(f"dns.{kind}.{index}")
            if not value:
                break
            into.append(value)
    for index in range(_MAX_INTERFACES):
        prefix = f"interface.{index}"
        nic = Nic(
            name=(yield from _text(f"{prefix}.name")) or f"eth{index}",
            mac=(yield from _text(f"{prefix}.mac")).lower(),
        )
        dhcp = yield from _text(f"{prefix}.dhcp")
        address = yield from _text(f"{prefix}.ip.0.address")
        if not (dhcp or address):
            break
        nic.dhcp = dhcp in ("yes", "true")
        if address:
            try:
                nic.addresses.append(cidr(address, (yield from _text(f"{prefix}.ip.0.netmask"))))
            except ValueError:
                found.warnings.append(f"guestinfo.{prefix}: {address!r} is no address, ignoring it")
        gateway = yield from _text(f"{prefix}.route.0.gateway")
        if gateway:
            nic.add_gateway(gateway)
        found.nics.append(nic)
    return found


def _value(key: str) -> Generator[Request, Response, bytes]:
    response = yield Request(f"{SCHEME}{key}")
    if not response.status:
        raise NoAnswer(f"the host does not answer: {response.error}")
    body = response.body.strip() if response.ok else b""
    return b"" if body in _EMPTY else body


def _text(key: str) -> Generator[Request, Response, str]:
    value = yield from _value(key)
    return value.decode("utf-8", "replace")


def _decoded(key: str, encoding_key: str) -> Generator[Request, Response, bytes]:
    value = yield from _value(key)
    encoding = (yield from _text(encoding_key)) if value else ""
    return decode(f"guestinfo.{key}", value, encoding)


def decode(what: str, value: bytes, encoding: str) -> bytes:
    """*value* without its `base64`, or `gzip+base64`.

    Raises:
        InvalidArgument: it is not so encoded, or the encoding is unknown.
    """
    words = encoding.lower().replace("gz+", "gzip+").replace("b64", "base64")
    if words == "":
        return value
    if words not in ("base64", "gzip+base64"):
        raise InvalidArgument(f"{what}: the encoding {encoding!r} is not known")
    try:
        plain = base64.b64decode(b"".join(value.split()), validate=True)
        if words == "base64":
            return plain
        return zlib.decompressobj(31).decompress(plain, MAX_USER_DATA_BYTES)
    except (binascii.Error, ValueError, zlib.error) as error:
        raise InvalidArgument(f"{what} is not {encoding}: {error}") from error
