"""Google Compute Engine's metadata server.

Addresses come by DHCP. Keys: those of the instance and, unless the instance forbids them, of the
project; whoever they are for may log in as root, the one user there is.
Source: "About VM metadata" and "Set SSH keys" of Compute Engine's documents.
"""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import LINK_LOCAL, NoAnswer, get
from orlop.wire.cloud.values import lines, mapping, parse_json_map, text

if TYPE_CHECKING:
    from orlop.wire.cloud.conversation import Conversation, Surroundings

HEADERS = {"Metadata-Flavor": "Google"}


def converse(around: Surroundings, base: str = LINK_LOCAL) -> Conversation:
    """Ask the server at *base*."""
    url = f"{base}/computeMetadata/v1/?recursive=true&alt=json"
    return parse((yield from get(url, HEADERS)))


def parse(document: bytes) -> Answer:
    """The answer in the whole tree of metadata."""
    data = parse_json_map("the metadata of GCE", document)
    instance, project = mapping(data, "instance"), mapping(data, "project")
    attributes = mapping(instance, "attributes")
    instance_id = text(instance, "id")
    if not instance_id:
        raise NoAnswer("the metadata of GCE has no instance id")
    keys = _keys(text(attributes, "ssh-keys")) + _keys(text(attributes, "sshKeys"))
    blocked = text(attributes, "block-project-ssh-keys").lower() in ("true", "1", "yes")
    if not blocked and not text(attributes, "sshKeys"):
        keys += _keys(text(project, "attributes", "ssh-keys"))
    user_data = text(attributes, "user-data").encode()
    warnings: list[str] = []
    if text(attributes, "user-data-encoding") == "base64":
        try:
            user_data = base64.b64decode(user_data, validate=True)
        except (binascii.Error, ValueError) as error:
            warnings.append(f"user-data is not base64: {error}, ignoring it")
            user_data = b""
    if text(attributes, "startup-script"):
        warnings.append("startup-script is not run; give #cloud-config as user-data")
    return Answer(
        "gce",
        instance_id,
        text(instance, "hostname"),
        tuple(dict.fromkeys(keys)),
        user_data=user_data,
        warnings=tuple(warnings),
    )


def _keys(value: str) -> list[str]:
    """The keys in lines `USER:KEY`; those whose time is up (`google-ssh {... expireOn ...}`) too:
    the clock may not be right yet when they are read, so they are left out."""
    found = []
    for line in lines(value):
        user, colon, key = line.partition(":")
        if not colon or " " in user:
            key = line
        if "google-ssh" not in key:
            found.append(key.strip())
    return found
