"""Azure: the instance metadata service, and the report to the host that the machine has started.

Without that report Azure takes the machine's provisioning for failed after twenty minutes.
User data is in the metadata, custom data on a disk: see `azure_disk`.
Source: "Azure Instance Metadata Service" and "Create generalized images without a provisioning
agent" of Azure's documents.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING

from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import LINK_LOCAL, NoAnswer, Request, get
from orlop.wire.cloud.nics import Nic, Nics, cidr, to_network
from orlop.wire.cloud.values import dig, items, parse_json_map, text

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from orlop.wire.cloud.conversation import Conversation, Response, Surroundings

WIRE_SERVER = "http://168.63.129.16"
NO_CUSTOM_DATA = "there is custom data, but no disk with it; give the same as user data"
_WIRE_HEADERS = {"x-ms-agent-name": "WALinuxAgent", "x-ms-version": "2012-11-30"}
_NAME = re.compile(r"[A-Za-z0-9_.{}-]{1,128}")


def converse(around: Surroundings, base: str = LINK_LOCAL) -> Conversation:
    """Ask the service at *base*."""
    url = f"{base}/metadata/instance?api-version=2021-08-01&extended=true"
    return parse((yield from get(url, {"Metadata": "true"})), around.interfaces)


def parse(document: bytes, interfaces: Mapping[str, str]) -> Answer:
    """The answer in the instance document."""
    data = parse_json_map("the metadata of Azure", document)
    instance_id = text(data, "compute", "vmId").lower()
    if not instance_id:
        raise NoAnswer("the metadata of Azure has no vmId")
    found = Nics()
    for entry in items(data, "network", "interface"):
        if nic := _nic(entry, found.warnings):
            found.nics.append(nic)
    network, warnings = to_network(found, interfaces)
    keys = [text(key, "keyData") for key in items(data, "compute", "publicKeys")]
    try:
        user_data = base64.b64decode(text(data, "compute", "userData"), validate=True)
    except (binascii.Error, ValueError) as error:
        warnings += (f"user data is not base64: {error}, ignoring it",)
        user_data = b""
    if dig(data, "extended", "compute", "hasCustomData") is True and not user_data:
        warnings += (NO_CUSTOM_DATA,)
    return Answer(
        "azure",
        instance_id,
        text(data, "compute", "osProfile", "computerName") or text(data, "compute", "name"),
        # A key may have been pasted with its line ends.
        tuple(" ".join(key.split()) for key in keys if key),
        network,
        user_data,
        warnings=warnings,
    )


def _nic(entry: object, warnings: list[str]) -> Nic | None:
    """Only what DHCP does not say: the second and further addresses."""
    mac = text(entry, "macAddress").lower()
    if len(mac) == 12:
        mac = ":".join(mac[index : index + 2] for index in range(0, 12, 2))
    nic = Nic(mac=mac, dhcp=True)
    addresses = [text(item, "privateIpAddress") for item in items(entry, "ipv4", "ipAddress")]
    length = next((text(s, "prefix") for s in items(entry, "ipv4", "subnet")), "") or "32"
    for address in addresses[1:]:
        try:
            nic.addresses.append(cidr(address, length))
        except ValueError:
            warnings.append(f"{mac}: {address!r} is no address, ignoring it")
    return nic if nic.addresses else None


def report_ready(base: str = WIRE_SERVER) -> Generator[Request, Response]:
    """Tell the host that the machine has started.

    Raises:
        NoAnswer: it could not be told.
    """
    state = yield from get(f"{base}/machine/?comp=goalstate", _WIRE_HEADERS)
    names = [_element(state, tag) for tag in ("Incarnation", "ContainerId", "InstanceId")]
    body = health_report(*names)
    response = yield Request(
        f"{base}/machine?comp=health",
        {**_WIRE_HEADERS, "Content-Type": "text/xml;charset=utf-8"},
        "POST",
        body,
    )
    if not response.ok:
        raise NoAnswer(f"the report that the machine has started: {response}")


def health_report(incarnation: str, container: str, instance: str) -> bytes:
    """The document that says `Ready`."""
    return (
        '<?xml version="1.0" encoding="utf-8"?>'
        '<Health xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'
        ' xmlns:xsd="http://www.w3.org/2001/XMLSchema">'
        f"<GoalStateIncarnation>{incarnation}</GoalStateIncarnation>"
        f"<Container><ContainerId>{container}</ContainerId><RoleInstanceList><Role>"
        f"<InstanceId>{instance}</InstanceId><Health><State>Ready</State></Health>"
        "</Role></RoleInstanceList></Container></Health>"
    ).encode()


def _element(document: bytes, tag: str) -> str:
    """The text of the first element *tag*: three plain names are no reason for an XML parser."""
    match = re.search(rf"<{tag}>\s*([^<>&]*?)\s*</{tag}>", document.decode("utf-8", "replace"))
    if match is None or _NAME.fullmatch(match[1]) is None:
        raise NoAnswer(f"the host's goal state has no {tag}")
    return match[1]
