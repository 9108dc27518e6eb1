"""`ports` of a service, which has the machine's network, and `x-orlop.schedule`.

A port is not translated: it says where the service listens, so that two that want the same are
found before either starts, and a firewall knows what is to be reached.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import Port

if TYPE_CHECKING:
    from orlop.wire.compose_values import Fields

_SHORT = (
    r"(?:(?P<address>\[[0-9A-Fa-f:.]+\]|[0-9]+(?:\.[0-9]+){3}):)?(?:(?P<outside>[0-9]{1,5})(?:-[0-9]{1,5})?:)?"
    r"(?P<inside>[0-9]{1,5})(?P<range>-[0-9]{1,5})?(?:/(?P<protocol>[a-z]+))?"
)
MAX_PORT = 65535
PROTOCOLS = ("tcp", "udp")


def parse_ports(fields: Fields) -> tuple[Port, ...]:
    """`ports`, in the short or the long syntax."""
    value = fields.take("ports")
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        fields.fail("ports", "must be a list")
    found: list[Port] = []
    for index, item in enumerate(value):
        key = f"ports[{index}]"
        if isinstance(item, dict):
            found.append(_long(fields.inner(key, item)))
        else:
            found += _short(fields, key, fields.check_string(key, item))
    return tuple(dict.fromkeys(found))


def _short(fields: Fields, key: str, text: str) -> list[Port]:
    match = re.fullmatch(_SHORT, text)
    if match is None:
        fields.fail(key, f"must be PORT[/PROTOCOL] or [ADDRESS:]PORT:PORT, not {text!r}")
    inside = int(match["inside"])
    _check_same(fields, key, inside, int(match["outside"] or inside))
    last = int((match["range"] or f"-{inside}")[1:])
    if not inside <= last <= inside + 255:
        fields.fail(key, f"must be a range of at most 256 ports, not {text!r}")
    protocol = match["protocol"] or "tcp"
    address = (match["address"] or "").strip("[]")
    return [_port(fields, key, number, protocol, address) for number in range(inside, last + 1)]


def _long(fields: Fields) -> Port:
    inside = fields.integer("target", 1, MAX_PORT)
    if inside is None:
        fields.fail("target", "is missing")
    outside = fields.integer("published", 1, MAX_PORT)
    _check_same(fields, "published", inside, outside or inside)
    protocol, address = fields.string("protocol", "tcp"), fields.string("host_ip")
    for ignored in ("name", "mode", "app_protocol"):
        fields.string(ignored)
    port = _port(fields, "target", inside, protocol, address)
    fields.finish()
    return port


def _check_same(fields: Fields, key: str, inside: int, outside: int) -> None:
    if inside != outside:
        fields.fail(
            key,
            f"a system service listens on the machine's own ports: {outside} does not lead to "
            f"{inside}",
            f"{inside}:{inside}, or have the program listen on {outside}",
        )


def _port(fields: Fields, key: str, number: int, protocol: str, address: str) -> Port:
    if not 1 <= number <= MAX_PORT:
        fields.fail(key, f"must be from 1 to {MAX_PORT}, not {number}")
    if protocol not in PROTOCOLS:
        fields.fail(key, f"must be of {' or '.join(PROTOCOLS)}, not {protocol!r}")
    return Port(number, protocol, _address(fields, key, address) if address else "")


def _address(fields: Fields, key: str, address: str) -> str:
    import ipaddress  # PID 1, which reads this too, does without

    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        fields.fail(key, f"must have an address before the port, not {address!r}")
    return "" if found.is_unspecified else str(found)


def schedule_text(extension: Fields) -> str:
    """`schedule`, checked."""
    text = extension.string("schedule").strip()
    if text:
        from orlop.wire.schedule import parse_schedule  # few services have one

        try:
            parse_schedule(text)
        except InvalidArgument as error:
            extension.fail("schedule", str(error))
    return text
