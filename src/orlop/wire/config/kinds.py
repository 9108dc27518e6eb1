"""What the values of configuration keys may be: one `Kind` for each, with its check.

A check takes the value of a key from its mapping and returns it in normal form, or fails with file,
line and key. Beside it stand the same in words, for documents, and as JSON Schema, for editors. The
schema may allow more than the check, never less. Pure; input may be hostile.
"""

from __future__ import annotations

import binascii
import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.cloud.candidates import parse_names
from orlop.wire.compose_values import nearest
from orlop.wire.config import files, mounts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

    type Check = Callable[[Fields, str], Json]

# Compiled when they are needed: a worker that checks three keys does not pay for all.
_HOSTNAME = (r"(?=.{1,64}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
                       r"(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*")  # fmt: skip
_REMOTE = r"(udp|tcp)://(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?"
_TIME_SERVER = r"(\[[0-9a-fA-F:.]+\]|[^\s:]+|[0-9a-fA-F:.]+)(?::(\d{1,5}))?( key \d{1,10})?"
_TIME_KEY = r"\d{1,10} (MD5|SHA1|SHA256|SHA384|SHA512|AES128|AES256) (HEX:[0-9A-Fa-f]+|ASCII:\S+)"
_KEY_TYPE = r"(ssh-|ecdsa-|sk-ssh-|sk-ecdsa-)[a-z0-9@.-]+"

SERVICE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{1,62}")
_SYSCTL = r"[a-z0-9_]+([./][A-Za-z0-9_@*:-]+)+"
_TIME_ZONE = r"[A-Za-z][A-Za-z0-9_+-]{1,31}(/[A-Za-z][A-Za-z0-9_+-]{1,31}){0,2}"
_MODULE = r"[A-Za-z0-9_-]{1,64}"
_MODULE_PARAMETER = r"[A-Za-z0-9_.-]{1,64}=[!#-~]{0,256}"
MAX_COMMANDS = 256

_STRING: Mapping[str, Json] = {"type": "string"}
_STRINGS: Mapping[str, Json] = {"type": ["array", "string"], "items": {"type": "string"}}


@dataclass(frozen=True, slots=True)
class Kind:
    """*form* says in words what the value is, *schema* the same as JSON Schema."""

    form: str
    schema: Mapping[str, Json]
    check: Check

    @property
    def is_list(self) -> bool:
        """Whether `KEY+` may append to it."""
        return "items" in self.schema

    @property
    def is_map(self) -> bool:
        """Whether it is a map of names to values, which merge one by one."""
        return self.schema.get("type") == "object"

    @property
    def is_text(self) -> bool:
        """Whether a value given as one word is that word, whatever YAML would make of it."""
        return self.schema.get("type") == "string"


def _hostname(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if re.fullmatch(_HOSTNAME, text) is None:
        fields.fail(key, f"must be a host name, not {text!r}")
    return text


def _ssh_keys(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, item in enumerate(fields.strings(key)):
        text = " ".join(item.split())
        words = text.split(" ")
        start = next((n for n, word in enumerate(words) if re.fullmatch(_KEY_TYPE, word)), None)
        if start is None or len(words) < start + 2 or not _is_base64(words[start + 1]):
            fields.fail(
                f"{key}[{index}]", "is no public key (a line such as ssh-ed25519 AAAA... name)"
            )
        if text not in found:
            found.append(text)
    return found


def _is_base64(text: str) -> bool:
    try:
        return len(binascii.a2b_base64(text, strict_mode=True)) >= 16
    except ValueError:
        return False


def _boolean(fields: Fields, key: str) -> Json:
    return fields.boolean(key)


def _networks(fields: Fields, key: str) -> Json:
    """Addresses with a prefix length; one without is taken as a host's own."""
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        try:
            found.append(str(ipaddress.ip_interface(text)))
        except ValueError:
            fields.fail(f"{key}[{index}]", f"must be an address such as 192.0.2.7/24, not {text!r}")
    return found


def _address(version: int) -> Check:
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
        match = re.fullmatch(_TIME_SERVER, text)
        if match is None or not (_is_host(match[1]) and 0 < int(match[2] or 123) < 65536):
            fields.fail(f"{key}[{index}]", f"must be a host, with a port or key, not {text!r}")
        found.append(text)
    return found


def _is_host(text: str) -> bool:
    if re.fullmatch(_HOSTNAME, text) is not None:
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
        if re.fullmatch(_TIME_KEY, text) is None:
            fields.fail(f"{key}[{index}]", "must be ID TYPE SECRET, such as: 1 SHA256 HEX:...")
        found.append(text)
    return found


def _remote(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    match = re.fullmatch(_REMOTE, text)
    if match is None or int((match[3] or ":514")[1:]) not in range(1, 65536):
        fields.fail(key, f"must be udp://HOST:PORT or tcp://HOST:PORT, not {text!r}")
    return text


def _checked_by(check: Callable[[str], object]) -> Callable[[Fields, str, str], str]:
    """For one text that *check* refuses with a reason."""

    def checked(fields: Fields, key: str, text: str) -> str:
        try:
            check(text)
        except InvalidArgument as error:
            fields.fail(key, f"is wrong: {error}")
        return text

    return checked


def _each(check: Callable[[str], object]) -> Check:
    """For a list of such texts."""
    checked = _checked_by(check)

    def check_list(fields: Fields, key: str) -> Json:
        texts = enumerate(fields.strings(key))
        return [checked(fields, f"{key}[{index}]", text) for index, text in texts]

    return check_list


def _one(check: Callable[[str], object]) -> Check:
    checked = _checked_by(check)
    return lambda fields, key: checked(fields, key, fields.string(key))


# Few documents speak of registries, and what checks it takes a worker as long to load as the rest.
def _check_mirror(text: str) -> None:
    from orlop.wire.registry.endpoints import check_mirror

    check_mirror(text)


def _check_proxy(text: str) -> None:
    from orlop.wire.registry.proxy_rules import check_proxy

    check_proxy(text)


def _check_registry(text: str) -> None:
    from orlop.wire.registry.endpoints import parse_insecure

    parse_insecure([text])


def _check_certificates(text: str) -> None:
    if "-----BEGIN CERTIFICATE-----" not in text or "-----END CERTIFICATE-----" not in text:
        raise InvalidArgument("no certificate in it: PEM begins with -----BEGIN CERTIFICATE-----")


def _check_text(text: str) -> None:
    if not text or not text.isprintable():
        raise InvalidArgument("printable characters expected")


def _no_proxy(fields: Fields, key: str) -> Json:
    """Items, which may also be in one text with commas, as in the environment."""
    from orlop.wire.registry.proxy_rules import parse_proxies

    return [item for text in fields.strings(key) for item in parse_proxies("", "", [text]).none]


def _sysctls(fields: Fields, key: str) -> Json:
    found: dict[str, Json] = {}
    nested = fields.inner(key, fields.take(key))
    for name in nested.keys():  # noqa: SIM118 - Fields is no mapping
        if re.fullmatch(_SYSCTL, name) is None or ".." in name:
            nested.fail(name, "is no name below /proc/sys, such as net.ipv4.ip_forward")
        value = nested.take(name)
        if isinstance(value, bool):
            value = int(value)
        text = " ".join(nested.check_string(name, value).split())
        if not text or not text.isprintable():
            nested.fail(name, "must be a value of one line")
        found[name] = text
    return found


def _time_zone(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if re.fullmatch(_TIME_ZONE, text) is None:
        fields.fail(key, f"must be the name of a time zone such as Europe/Oslo, not {text[:40]!r}")
    return text


def _swap_size(fields: Fields, key: str) -> Json:
    size_bytes = fields.size_bytes(key)
    if size_bytes is None or not (size_bytes == 0 or 1 << 20 <= size_bytes <= 1 << 40):
        fields.fail(key, "must be a size such as 512m, at least 1m, or 0")
    return size_bytes


def _modules(fields: Fields, key: str) -> Json:
    found: list[Json] = []
    for index, text in enumerate(fields.strings(key)):
        name, *parameters = text.split() or [""]
        if re.fullmatch(_MODULE, name) is None:
            fields.fail(f"{key}[{index}]", f"must be the name of a module, not {text!r}")
        for parameter in parameters:
            if re.fullmatch(_MODULE_PARAMETER, parameter) is None:
                fields.fail(f"{key}[{index}]", f"{parameter!r} is no parameter: NAME KEY=VALUE...")
        found.append(" ".join((name, *parameters)))
    return found


def _commands(fields: Fields, key: str) -> Json:
    """Lines for the shell, or lists of a program and its arguments."""
    value = fields.take(key)
    if not isinstance(value, list):
        fields.fail(key, "must be a list of commands")
    if len(value) > MAX_COMMANDS:
        fields.fail(key, f"has more than {MAX_COMMANDS} commands")
    found: list[Json] = []
    for index, item in enumerate(value):
        place = f"{key}[{index}]"
        if isinstance(item, list) and item:
            found.append(list(fields.check_strings(place, item)))
        elif isinstance(item, str):
            found.append(fields.check_string(place, item))
        else:
            fields.fail(place, "must be a line for the shell, or a list of program and arguments")
    return found


def _service(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if SERVICE_NAME.fullmatch(text) is None:
        fields.fail(key, f"must be the name of a service, not {text!r}")
    return text


def choice(*words: str) -> Kind:
    """One of *words*."""

    def check(fields: Fields, key: str) -> Json:
        text = fields.string(key)
        if text not in words:
            guess = nearest(text, words)
            fields.fail(
                key,
                f"must be one of {', '.join(words)}, not {text!r}",
                f"did you mean {guess}?" if guess else None,
            )
        return text

    return Kind(", ".join(words), {"type": "string", "enum": list(words)}, check)


def number(low: int, high: int) -> Kind:
    """A whole number from *low* to *high*."""
    schema: Mapping[str, Json] = {"type": "integer", "minimum": low, "maximum": high}
    return Kind(f"{low} to {high}", schema, lambda fields, key: fields.integer(key, low, high))


def _data_sources(fields: Fields, key: str) -> Json:
    found = fields.strings(key)
    try:
        parse_names(found)
    except ValueError as error:
        fields.fail(key, str(error))
    return [*found]


DATA_SOURCES = Kind("list of data sources", _STRINGS, _data_sources)
HOSTNAME = Kind("host name", {**_STRING, "maxLength": 64}, _hostname)
SSH_KEYS = Kind("list of public keys", _STRINGS, _ssh_keys)
BOOLEAN = Kind("true, false", {"type": "boolean"}, _boolean)
NETWORKS = Kind("list of ADDRESS/LENGTH", _STRINGS, _networks)
IPV4_ADDRESS = Kind("IPv4 address", _STRING, _address(4))
IPV6_ADDRESS = Kind("IPv6 address", _STRING, _address(6))
ADDRESSES = Kind("list of addresses", _STRINGS, _addresses)
DOMAINS = Kind("list of domains", _STRINGS, _host_names)
HOSTS = Kind("list of hosts", _STRINGS, _host_names)
TIME_SERVERS = Kind("list of HOST[:PORT] [key ID]", _STRINGS, _time_servers)
TIME_KEYS = Kind("list of ID TYPE SECRET", _STRINGS, _time_keys)
MIRRORS = Kind("list of URLs", _STRINGS, _each(_check_mirror))
INSECURE_REGISTRIES = Kind("list of HOST[:PORT] and networks", _STRINGS, _each(_check_registry))
REGISTRY = Kind("HOST[:PORT]", _STRING, _one(_check_registry))
AUTHORITIES = Kind("list of certificates as PEM", _STRINGS, _each(_check_certificates))
CERTIFICATES = Kind("certificates as PEM", _STRING, _one(_check_certificates))
TEXT = Kind("text", _STRING, _one(_check_text))
PROXY = Kind("http://[USER:PASSWORD@]HOST:PORT", _STRING, _one(_check_proxy))
NO_PROXY = Kind("list of hosts and networks", _STRINGS, _no_proxy)
REMOTE = Kind("udp://HOST:PORT, tcp://HOST:PORT", _STRING, _remote)
SYSCTLS = Kind(
    "map of NAME: VALUE",
    {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
    _sysctls,
)
TIME_ZONE = Kind("name of a time zone", _STRING, _time_zone)
SWAP_SIZE = Kind("size such as 512m", {"type": ["string", "integer"]}, _swap_size)
MODULES = Kind("list of NAME [KEY=VALUE...]", _STRINGS, _modules)
COMMANDS = Kind(
    "list of commands",
    {
        "type": "array",
        "items": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
    },
    _commands,
)
SERVICE = Kind("name of a service", _STRING, _service)
MOUNTS = Kind(
    "list of [DEVICE, DIRECTORY, TYPE, OPTIONS]",
    {
        "type": "array",
        "items": {
            "type": "array",
            "items": {"type": ["string", "null", "integer"]},
            "minItems": 2,
            "maxItems": 6,
        },
    },
    mounts.check,
)
FILE_PATH = Kind("absolute path", _STRING, files.path)
FILE_CONTENT = Kind("text", {"type": ["string", "number"]}, files.content)
FILE_ENCODING = Kind("text/plain, base64, gzip, gzip+base64", _STRING, files.encoding)
FILE_MODE = Kind("octal digits", {"type": ["string", "integer"]}, files.mode)
FILE_OWNER = Kind("USER[:GROUP], numbers, root or rancher", _STRING, files.owner)
