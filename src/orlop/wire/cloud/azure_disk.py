"""The disk that Azure attaches for provisioning: `ovf-env.xml` with a name and the custom data.

It is there at the first boot only, and has no keys: they are in the metadata.
Source: what Azure attaches, as cloud-init's source Azure and Azure's own agent read it.
"""

from __future__ import annotations

import base64
import binascii
import re

from orlop.lib.errors import InvalidArgument
from orlop.wire.cloud import udf
from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import NoAnswer

FILE = "ovf-env.xml"
MAX_DISK_BYTES = 8 << 20


def parse(image: bytes, machine: str) -> Answer:
    """The answer on the disk with the content *image*.

    Raises:
        NoAnswer: it is another disk.
        InvalidArgument: it is damaged.
    """
    content = udf.read_file(image, FILE)
    if content is None:
        raise NoAnswer(f"there is no {FILE}")
    document = content.decode("utf-8", "replace")
    try:
        custom_data = base64.b64decode("".join(_element(document, "CustomData").split()))
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"{FILE}: CustomData is not base64: {error}") from error
    return Answer("azure", machine, _element(document, "HostName"), user_data=custom_data)


def _element(document: str, tag: str) -> str:
    """The text of the first element *tag*, whatever its name space is called."""
    match = re.search(rf"<(?:\w+:)?{tag}(?:\s[^<>]*)?>([^<>&]*)</", document)
    return "" if match is None else match[1].strip()
