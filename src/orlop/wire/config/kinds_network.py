"""What the values of the network's keys may be."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from orlop.wire.compose_values import nearest
from orlop.wire.config.kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

_STRING: Mapping[str, Json] = {"type": "string"}
_STRINGS: Mapping[str, Json] = {"type": ["array", "string"], "items": {"type": "string"}}
_INTERFACE = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}"
_MAC = r"[0-9a-f]{2}(:[0-9a-f]{2}){5}"
MATCHES = ("name", "mac", "driver", "path")
OUTER = "802.1ad"
"""The tag of a provider's VLAN, in which others may be."""
PORT_WORDS = ("pvid", "untagged")
MACVLAN_MODES = ("bridge", "private", "vepa", "passthru")
TABLES = {"main": 254, "default": 253, "local": 255}
_MAX_U32 = (1 << 32) - 1


def is_interface_name(text: str) -> bool:
    """Whether an interface may be called so."""
    return re.fullmatch(_INTERFACE, text) is not None


def _interface(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if not is_interface_name(text):
        fields.fail(key, f"must be the name of an interface, not {text[:40]!r}")
    return text


def _interface_label(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if not text or len(text) > 80 or not text.isprintable() or " " in text:
        fields.fail(key, f"must be a name of orlop.network.interfaces, not {text[:40]!r}")
    return text


def _bridge(fields: Fields, key: str) -> Json:
    value = fields.take(key)
    if isinstance(value, bool):
        return value
    text = fields.check_string(key, value)
    if text in ("true", "false"):
        return text == "true"
    if not is_interface_name(text):
        fields.fail(key, f"must be the name of a bridge, or true, not {text[:40]!r}")
    return text


def _match(fields: Fields, key: str) -> Json:
    """`GLOB`, `mac=GLOB` and so on, or a map; a map in normal form."""
    value = fields.take(key)
    found: dict[str, Json] = {}
    if isinstance(value, str):
        name, equals, glob = value.partition("=")
        value = {name: glob} if equals else {"name": value}
    nested = fields.inner(key, value)
    for name in nested.keys():  # noqa: SIM118 - Fields is no mapping
        if name not in MATCHES:
            guess = nearest(name, MATCHES)
            hint = f"did you mean {guess}?" if guess else None
            nested.fail(name, f"unknown key: {', '.join(MATCHES)} can be matched", hint)
        text = nested.string(name)
        if not text or len(text) > 120 or not text.isprintable() or " " in text:
            nested.fail(name, "must be a name, or a pattern with * and ?")
        if name == "mac" and re.fullmatch(r"[0-9a-fA-F:*?\[\]!-]+", text) is None:
            nested.fail(name, f"must be a hardware address, perhaps with * and ?, not {text!r}")
        found[name] = text.lower() if name == "mac" else text
    if not found:
        fields.fail(key, f"must say one or more of {', '.join(MATCHES)}")
    return found


def _mac(fields: Fields, key: str) -> Json:
    text = fields.string(key).lower().replace("-", ":")
    if re.fullmatch(_MAC, text) is None or int(text[:2], 16) & 1 or not text.strip("0:"):
        fields.fail(key, f"must be a hardware address such as 52:54:00:12:34:56, not {text!r}")
    return text


def _items(fields: Fields, key: str) -> list[str]:
    """A list, or one text with commas."""
    value = fields.take(key)
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    texts = value.split(",") if isinstance(value, str) else fields.check_strings(key, value)
    return [text.strip() for text in texts if text.strip()]


def _vlans(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, text in enumerate(_items(fields, key)):
        number, *words = text.split(":")
        is_outer = words[-1:] == [OUTER]
        if is_outer:
            del words[-1]
        if not _is_vlan(number) or len(words) > 1:
            fields.fail(
                f"{key}[{index}]",
                f"must be ID or ID:NAME, with :{OUTER} behind it or not, ID from 1 to 4094,"
                f" not {text!r}",
            )
        name = "".join(words)
        if words and not is_interface_name(name):
            fields.fail(f"{key}[{index}]", f"must have the name of an interface, not {name[:40]!r}")
        colon = ":" if words or is_outer else ""
        found.append(f"{int(number)}{colon}{name}" + (f":{OUTER}" if is_outer else ""))
    return found


def _is_vlan(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,4}", text) is not None and 1 <= int(text) <= 4094


def _bridge_vlans(fields: Fields, key: str) -> Json:
    """`ID` or `ID-ID`, each with `:pvid`, `:untagged` or both; at most one `pvid`, no ID twice."""
    found: list[Json] = []
    seen: set[int] = set()
    pvids = 0
    for index, text in enumerate(_items(fields, key)):
        numbers, *words = text.split(":")
        first, dash, last = numbers.partition("-")
        ends = [first, last] if dash else [first]
        is_one = all(map(_is_vlan, ends)) and int(ends[0]) <= int(ends[-1])
        if not is_one or len({*words}) != len(words) or not {*words} <= {*PORT_WORDS}:
            fields.fail(
                f"{key}[{index}]",
                f"must be ID or ID-ID, with :pvid, :untagged or both behind it, not {text!r}",
            )
        group = range(int(ends[0]), int(ends[-1]) + 1)
        pvids += len(group) if "pvid" in words else 0
        if pvids > 1:
            fields.fail(f"{key}[{index}]", "is a second pvid: what has no tag is of one VLAN")
        if not seen.isdisjoint(group):
            fields.fail(f"{key}[{index}]", "has a VLAN that is there already")
        seen.update(group)
        found.append(":".join(("-".join(str(int(end)) for end in ends), *sorted(words))))
    return found


def _macvlans(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, text in enumerate(_items(fields, key)):
        name, _, mode = text.partition(":")
        mode = mode or MACVLAN_MODES[0]
        if not is_interface_name(name) or mode not in MACVLAN_MODES:
            modes = ", ".join(MACVLAN_MODES)
            fields.fail(f"{key}[{index}]", f"must be NAME or NAME:MODE ({modes}), not {text!r}")
        found.append(f"{name}:{mode}")
    return found


def _options(names: Callable[[], Mapping[str, Callable[[object], Json]]]) -> Callable[..., Json]:
    """For a map of options, each with its own parser, which raises ValueError."""

    def check(fields: Fields, key: str) -> Json:
        known = names()
        nested = fields.inner(key, fields.take(key))
        found: dict[str, Json] = {}
        for name in nested.keys():  # noqa: SIM118 - Fields is no mapping
            if name not in known:
                guess = nearest(name, list(known))
                nested.fail(name, "unknown option", f"did you mean {guess}?" if guess else None)
            value = nested.take(name)
            try:
                found[name] = known[name](value)
            except ValueError as error:
                nested.fail(name, f"must be {error}, not {value!r}")
        return found

    return check


# Few documents speak of bonds: what knows their options is not loaded before.
def _bond_options() -> Mapping[str, Callable[[object], Json]]:
    from orlop.wire.netlink import link_options

    known: dict[str, Callable[[object], Json]] = {
        name: option.parse for name, option in link_options.BOND.items()
    }
    known["arp_ip_target"] = lambda value: [*link_options.parse_arp_targets(value)]
    known["primary"] = _primary
    return known


def _bridge_options() -> Mapping[str, Callable[[object], Json]]:
    from orlop.wire.netlink import link_options

    return {name: option.parse for name, option in link_options.BRIDGE.items()}


def _primary(value: object) -> Json:
    if not isinstance(value, str) or not 0 < len(value) <= 80 or not value.isprintable():
        raise ValueError("a name of orlop.network.interfaces")
    return value


def _destination(fields: Fields, key: str) -> Json:
    """A network, an address, or `default`: what is known of it says which version that is."""
    text = fields.string(key)
    if text == "default":
        return text
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        fields.fail(key, f"must be a network such as 10.0.0.0/8, or default, not {text!r}")


def _any_address(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        fields.fail(key, f"must be an address, not {text!r}")


def _table(fields: Fields, key: str) -> Json:
    value = fields.take(key)
    if isinstance(value, str) and value in TABLES:
        return TABLES[value]
    number = fields.check_integer(key, value)
    if not 0 < number <= _MAX_U32:
        fields.fail(key, f"must be main or 1 to {_MAX_U32}, not {number}")
    return number


def _mark(fields: Fields, key: str) -> Json:
    """`MARK` or `MARK/MASK`, decimal or hexadecimal; in normal form always with the mask."""
    text = fields.string(key)
    parts = text.split("/")
    try:
        numbers = [int(part, 0) for part in parts]
    except ValueError:
        numbers = []
    if not 1 <= len(numbers) <= 2 or not all(0 < number <= _MAX_U32 for number in numbers):
        fields.fail(key, f"must be a number such as 0x10 or 0x10/0xff, not {text!r}")
    return f"{numbers[0]:#x}/{(numbers[1:] or [_MAX_U32])[0]:#x}"


def is_wireguard_key(text: str) -> bool:
    """Whether *text* is 32 bytes in Base64."""
    # 43 digits and one `=`; the last digit has two bits to spare, which are 0.
    return re.fullmatch(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=", text) is not None


def _wireguard_key(fields: Fields, key: str) -> Json:
    text = fields.string(key).strip()
    if not is_wireguard_key(text):
        fields.fail(key, "must be a key of WireGuard: 32 bytes in base64, as `wg genkey` makes")
    return text


def _endpoint(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):(\d{1,5})", text)
    if match is None or not 0 < int(match[2]) < 65536:
        fields.fail(key, f"must be HOST:PORT or [V6]:PORT, not {text!r}")
    return text


def _allowed(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        try:
            found.append(str(ipaddress.ip_network(text, strict=False)))
        except ValueError:
            fields.fail(f"{key}[{index}]", f"must be a network such as 10.0.0.0/8, not {text!r}")
    return found


INTERFACE = Kind("name of an interface", _STRING, _interface)
LABEL = Kind("name in orlop.network.interfaces", _STRING, _interface_label)
BRIDGE = Kind("name of a bridge, or true", {"type": ["string", "boolean"]}, _bridge)
MATCH = Kind(
    "GLOB, mac=GLOB, driver=GLOB, path=GLOB, or a map of these",
    {"type": ["string", "object"], "additionalProperties": {"type": "string"}},
    _match,
)
MAC = Kind("hardware address", _STRING, _mac)
VLANS = Kind(
    "list of ID[:NAME][:802.1ad]",
    {"type": ["array", "string", "integer"], "items": {"type": ["string", "integer"]}},
    _vlans,
)
BRIDGE_VLANS = Kind(
    "list of ID[-ID][:pvid][:untagged]",
    {"type": ["array", "string", "integer"], "items": {"type": ["string", "integer"]}},
    _bridge_vlans,
)
MACVLANS = Kind("list of NAME[:MODE]", _STRINGS, _macvlans)
_OPTION_SCHEMA: Mapping[str, Json] = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean", "array"]},
}
BOND_OPTIONS = Kind("map of OPTION: VALUE", _OPTION_SCHEMA, _options(_bond_options))
BRIDGE_OPTIONS = Kind("map of OPTION: VALUE", _OPTION_SCHEMA, _options(_bridge_options))
DESTINATION = Kind("network, or default", _STRING, _destination)
ANY_ADDRESS = Kind("address", _STRING, _any_address)
TABLE = Kind("number of a table, or main", {"type": ["string", "integer"]}, _table)
MARK = Kind("MARK[/MASK]", {"type": ["string", "integer"]}, _mark)
WIREGUARD_KEY = Kind("key in base64", _STRING, _wireguard_key)
ENDPOINT = Kind("HOST:PORT", _STRING, _endpoint)
ALLOWED = Kind("list of networks", _STRINGS, _allowed)


def finish_route(fields: Fields, item: dict[str, Json]) -> dict[str, Json]:
    """A whole entry of `routes`: it leads somewhere, and all of it is of one version."""
    if "to" not in item:
        fields.fail("to", "is missing: a network, or default")
    if item.get("type", "unicast") == "unicast" and not ("via" in item or "interface" in item):
        fields.fail("via", "is missing: the gateway, or interface")
    _one_version(fields, item, ("to", "via", "source"))
    if item["to"] == "default" and "via" not in item and "source" not in item:
        fields.fail("to", "must be 0.0.0.0/0 or ::/0 where no gateway says which is meant")
    return item


def finish_rule(fields: Fields, item: dict[str, Json]) -> dict[str, Json]:
    """A whole entry of `rules`: it says which packets, and what becomes of them."""
    if not {"from", "to", "iif", "oif", "mark"} & set(item):
        fields.fail("from", "is missing: one of from, to, iif, oif, mark says which packets")
    if ("table" in item) == (item.get("type", "lookup") != "lookup"):
        fields.fail("table", "is needed, or another type than lookup, and not both")
    _one_version(fields, item, ("from", "to"))
    return item


def _one_version(fields: Fields, item: dict[str, Json], keys: tuple[str, ...]) -> None:
    given = [(key, ":" in str(item[key])) for key in keys if item.get(key, "default") != "default"]
    for key, is_v6 in given[1:]:
        if is_v6 != given[0][1]:
            fields.fail(key, f"is not of the same version as {given[0][0]}")


def finish_peer(fields: Fields, item: dict[str, Json]) -> dict[str, Json]:
    """A whole peer of WireGuard."""
    if "public_key" not in item:
        fields.fail("public_key", "is missing")
    return item
