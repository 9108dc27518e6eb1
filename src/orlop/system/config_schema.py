"""The machine configuration: its keys, their checks, and how documents are put together.

One table of keys, from which docs/configuration.md is checked. A document is checked alone and
as a whole: one with an error counts for nothing, so that no file is ever half in force. Later
documents win; maps merge, lists and values replace.

Runs in the configuration worker, on input that may be hostile. Pure.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.wire.compose_values import Fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.wire.compose_model import Json
    from orlop.wire.located_yaml import LocatedYaml

MAX_KEYS = 1000
MAX_KEY_LENGTH = 16 * 1024

_HOSTNAME = re.compile(r"(?=.{1,64}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                       r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")  # fmt: skip
_INTERFACE = re.compile(r"[^\s/:%]{1,15}")
_SERVICE = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_REMOTE = re.compile(r"(udp|tcp)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")
_TIME_SERVER = re.compile(
    r"(\[[0-9a-fA-F:.]+\]|[^\s:]+|[0-9a-fA-F:.]+)(?::(\d{1,5}))?( key \d{1,10})?"
)
_TIME_KEY = re.compile(
    r"\d{1,10} (MD5|SHA1|SHA256|SHA384|SHA512|AES128|AES256) (HEX:[0-9A-Fa-f]+|ASCII:\S+)"
)
_KEY_TYPE = re.compile(r"(ssh-|ecdsa-|sk-ssh-|sk-ecdsa-)[a-z0-9@.-]+")


@dataclass(frozen=True, slots=True)
class Key:
    """One row. *path* has `NAME` where any name may stand; *check* reads it from its mapping."""

    path: str
    form: str
    what: str
    check: Callable[[Fields, str], Json]


def _hostname(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if _HOSTNAME.fullmatch(text) is None:
        fields.fail(key, f"must be a host name, not {text!r}")
    return text


def _ssh_keys(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, item in enumerate(fields.strings(key)):
        text = " ".join(item.split())
        words = text.split(" ")
        start = next((n for n, word in enumerate(words) if _KEY_TYPE.fullmatch(word)), None)
        if start is None or len(words) < start + 2 or not _is_base64(words[start + 1]):
            fields.fail(
                f"{key}[{index}]", "is no public key (a line such as ssh-ed25519 AAAA... name)"
            )
        if text not in found:
            found.append(text)
    return found


def _is_base64(text: str) -> bool:
    try:
        return len(base64.b64decode(text, validate=True)) >= 16
    except (binascii.Error, ValueError):
        return False


def _boolean(fields: Fields, key: str) -> Json:
    return fields.boolean(key)


def _mtu(fields: Fields, key: str) -> Json:
    return fields.integer(key, 576, 65535)


def _networks(fields: Fields, key: str) -> Json:
    """Addresses with a prefix length; one without is taken as a host's own."""
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        try:
            found.append(str(ipaddress.ip_interface(text)))
        except ValueError:
            fields.fail(f"{key}[{index}]", f"must be an address such as 192.0.2.7/24, not {text!r}")
    return found


def _address(version: int) -> Callable[[Fields, str], Json]:
    def check(fields: Fields, key: str) -> Json:
        text = fields.string(key)
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            fields.fail(key, f"must be an IPv{version} address, not {text!r}")
        if address.version != version:
            fields.fail(key, f"must be an IPv{version} address, not {text!r}")
        return str(address)

    return check


def _addresses(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        try:
            found.append(str(ipaddress.ip_address(text)))
        except ValueError:
            fields.fail(f"{key}[{index}]", f"must be an address, not {text!r}")
    return found


def _host_names(fields: Fields, key: str) -> Json:
    """Names or addresses of other machines."""
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        if not _is_host(text):
            fields.fail(f"{key}[{index}]", f"must be a host name or address, not {text!r}")
        found.append(text)
    return found


def _time_servers(fields: Fields, key: str) -> Json:
    """`HOST`, `HOST:PORT` or `[V6]:PORT`, each with ` key ID` behind it if it is authenticated."""
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        match = _TIME_SERVER.fullmatch(text)
        if match is None or not (_is_host(match[1]) and 0 < int(match[2] or 123) < 65536):
            fields.fail(f"{key}[{index}]", f"must be a host, with a port or key, not {text!r}")
        found.append(text)
    return found


def _is_host(text: str) -> bool:
    if _HOSTNAME.fullmatch(text) is not None:
        return True
    try:
        ipaddress.ip_address(text.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _time_keys(fields: Fields, key: str) -> Json:
    """`ID TYPE SECRET` as chrony's key file has them."""
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        if _TIME_KEY.fullmatch(text) is None:
            fields.fail(f"{key}[{index}]", "must be ID TYPE SECRET, such as: 1 SHA256 HEX:...")
        found.append(text)
    return found


def _remote(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    match = _REMOTE.fullmatch(text)
    if match is None or int((match[3] or ":514")[1:]) not in range(1, 65536):
        fields.fail(key, f"must be udp://HOST:PORT or tcp://HOST:PORT, not {text!r}")
    return text


KEYS: tuple[Key, ...] = (
    Key(
        "hostname",
        "host name",
        "Name of the machine. Without it: by DHCP, else `orlop`.",
        _hostname,
    ),
    Key(
        "ssh_authorized_keys",
        "list of public keys",
        "Who may log in by SSH. Without any, nothing listens.",
        _ssh_keys,
    ),
    Key(
        "orlop.network.interfaces.NAME.dhcp",
        "true, false",
        "Whether the interface asks DHCP. Default: true, false when it has `addresses`.",
        _boolean,
    ),
    Key(
        "orlop.network.interfaces.NAME.addresses",
        "list of ADDRESS/LENGTH",
        "Static addresses, IPv4 and IPv6.",
        _networks,
    ),
    Key(
        "orlop.network.interfaces.NAME.gateway", "IPv4 address", "Default route, IPv4.", _address(4)
    ),
    Key(
        "orlop.network.interfaces.NAME.gateway6",
        "IPv6 address",
        "Default route, IPv6.",
        _address(6),
    ),
    Key("orlop.network.interfaces.NAME.mtu", "576 to 65535", "Largest packet.", _mtu),
    Key(
        "orlop.network.nameservers",
        "list of addresses",
        "DNS servers; they replace those that DHCP names.",
        _addresses,
    ),
    Key(
        "orlop.network.search", "list of domains", "Domains searched for short names.", _host_names
    ),
    Key(
        "orlop.time.servers",
        "list of HOST[:PORT] [key ID]",
        "NTP servers, with the key that authenticates them.",
        _time_servers,
    ),
    Key(
        "orlop.time.keys",
        "list of ID TYPE SECRET",
        "Keys of NTP servers, such as `1 SHA256 HEX:0123...`. Secret.",
        _time_keys,
    ),
    Key(
        "orlop.time.pools",
        "list of hosts",
        "Names that stand for several NTP servers.",
        _host_names,
    ),
    Key(
        "orlop.syslog.remote",
        "udp://HOST:PORT, tcp://HOST:PORT",
        "Where messages are sent as well, in the form of RFC 5424.",
        _remote,
    ),
    Key(
        "orlop.services.NAME.enabled",
        "true, false",
        "Whether a system service is started.",
        _boolean,
    ),
)

_NAMES = {
    ("orlop", "network", "interfaces"): (_INTERFACE, "an interface name"),
    ("orlop", "services"): (_SERVICE, "a service name"),
}


def check_document(document: LocatedYaml) -> dict[str, Json]:
    """The checked content of one document, only what it sets.

    Raises:
        InvalidArgument: names the file, the line, the key and, where there is one, the right word.
    """
    if document.data is None:
        return {}
    fields = Fields("configuration", document.data, (), document.locate)
    rows = [(tuple(key.path.split(".")), key) for key in KEYS]
    return _check(fields, rows, ())


def _check(
    fields: Fields, rows: list[tuple[tuple[str, ...], Key]], place: tuple[str, ...]
) -> dict[str, Json]:
    found: dict[str, Json] = {}
    names = dict.fromkeys(path[0] for path, _ in rows)
    for name in names:
        inner = [(path[1:], key) for path, key in rows if path[0] == name]
        if name == "NAME":
            return _check_named(fields, inner, place)
        if inner[0][0]:
            nested = fields.nested(name)
            if nested is not None:
                found[name] = _check(nested, inner, (*place, name))
        elif fields.is_set(name):
            found[name] = inner[0][1].check(fields, name)
        else:
            fields.take(name)
    fields.finish()
    return found


def _check_named(
    fields: Fields, rows: list[tuple[tuple[str, ...], Key]], place: tuple[str, ...]
) -> dict[str, Json]:
    pattern, what = _NAMES[place]
    found: dict[str, Json] = {}
    for name in fields.keys():  # noqa: SIM118 - Fields is no mapping
        if pattern.fullmatch(name) is None:
            fields.fail(name, f"is not {what}")
        nested = fields.nested(name)
        found[name] = {} if nested is None else _check(nested, rows, (*place, name))
    return found


def merge(under: dict[str, Json], over: dict[str, Json]) -> dict[str, Json]:
    """*over* laid upon *under*: maps merge, everything else is replaced. Neither is changed."""
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        if isinstance(below, dict) and isinstance(value, dict):
            result[key] = merge(below, value)
        else:
            result[key] = value
    return result


def leaves(data: dict[str, Json], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all values in *data* that are no maps."""
    found: list[tuple[str, ...]] = []
    for key, value in data.items():
        here = (*path, key)
        found += leaves(value, here) if isinstance(value, dict) else [here]
    return found
