"""EC2's instance metadata, version 2 (with a token), and version 1 where a cloud knows no tokens.

The first interface asks DHCP; further addresses, which EC2's DHCP does not name, become static.
Source: "Instance metadata and user data" of the EC2 user guide.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import LINK_LOCAL, NoAnswer, Request, get, get_optional
from orlop.wire.cloud.nics import Nic, Nics, to_network
from orlop.wire.cloud.values import lines

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from orlop.wire.cloud.conversation import Conversation, Response, Surroundings

BASES = (LINK_LOCAL, "http://[fd00:ec2::254]")
TOKEN_LIFE_S = 21600
_INSTANCE_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NO_TOKENS = (404, 405, 501)


def converse(around: Surroundings, base: str = LINK_LOCAL) -> Conversation:
    """Ask the service at *base*."""
    response = yield Request(
        f"{base}/latest/api/token",
        {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIFE_S)},
        "PUT",
    )
    headers: dict[str, str] = {}
    if response.ok and response.text:
        headers["X-aws-ec2-metadata-token"] = response.text
    elif response.status == 403:
        raise NoAnswer("the metadata service of this instance is switched off (status 403)")
    elif response.status not in _NO_TOKENS:
        raise NoAnswer(f"no token: {response}")
    root = f"{base}/latest/meta-data"
    instance_id = (
        (yield from get(f"{root}/instance-id", headers)).decode("utf-8", "replace").strip()
    )
    if _INSTANCE_ID.fullmatch(instance_id) is None:
        raise NoAnswer(f"no instance id, but {instance_id[:40]!r}")  # a portal that answers all
    hostname = (yield from get_optional(f"{root}/local-hostname", headers)).decode(
        "utf-8", "replace"
    )
    keys = yield from _keys(root, headers)
    found = yield from _interfaces(root, headers)
    user_data = yield from get_optional(f"{base}/latest/user-data", headers)
    network, warnings = to_network(found, around.interfaces)
    return Answer(
        "ec2",
        instance_id,
        # Some have one name per DHCP option set.
        hostname.split()[0] if hostname.split() else "",
        tuple(keys),
        network,
        user_data,
        warnings=warnings,
    )


def _keys(root: str, headers: Mapping[str, str]) -> Generator[Request, Response, list[str]]:
    listing = yield from get_optional(f"{root}/public-keys/", headers)
    found: list[str] = []
    for line in lines(listing.decode("utf-8", "replace")):
        index = line.partition("=")[0]
        if index.isdigit():
            key = yield from get_optional(f"{root}/public-keys/{index}/openssh-key", headers)
            found += lines(key.decode("utf-8", "replace"))
    return found


def _interfaces(root: str, headers: Mapping[str, str]) -> Generator[Request, Response, Nics]:
    """Only what DHCP does not say: the second and further addresses of each interface."""
    base = f"{root}/network/interfaces/macs"
    found = Nics()
    listing = yield from get_optional(f"{base}/", headers)
    for line in lines(listing.decode("utf-8", "replace")):
        mac = line.strip("/").lower()
        nic = Nic(mac=mac, dhcp=True)
        for kind, block in (
            ("local-ipv4s", "subnet-ipv4-cidr-block"),
            ("ipv6s", "subnet-ipv6-cidr-blocks"),
        ):
            addresses = yield from get_optional(f"{base}/{mac}/{kind}", headers)
            more = lines(addresses.decode("utf-8", "replace"))[1:]
            if not more:
                continue
            subnet = yield from get_optional(f"{base}/{mac}/{block}", headers)
            length = subnet.decode("utf-8", "replace").split("\n")[0].partition("/")[2].strip()
            default = "128" if kind == "ipv6s" else "32"
            nic.addresses += [f"{item}/{length or default}" for item in more]
        if nic.addresses:
            found.nics.append(nic)
    return found
