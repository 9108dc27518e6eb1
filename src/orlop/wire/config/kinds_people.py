"""What the values about people may be: users, groups, and how they log in. Pure.

Sources: cloud-init's cc_users_groups and cc_set_passwords, sudoers(5), sshd_config(5).
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.kinds import Kind
from orlop.wire.sudo_rule import parse_rule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields

DEFAULT = "default"
"""cloud-init's word for the system's own user, in the list of users."""

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
RESERVED = ("nobody", "sshd", "sshkeys", "nogroup", "tty")
SHELLS = ("/bin/sh", "/bin/ash", "/bin/false", "/usr/sbin/nologin", "/sbin/nologin", "/bin/bash")
MAX_UID = 60000
MIN_UID = 200
_HASH = r"\$(y|2[aby]|6|5)\$[A-Za-z0-9./$=,]{8,256}"
_HOME = r"/home/[A-Za-z0-9_][A-Za-z0-9._-]{0,62}"
_PRINCIPAL = r"[!-+\--~]{1,128}"
_BARE_KEY = re.compile(
    r"ssh-(ed25519|rsa)|ecdsa-sha2-nistp(256|384|521)"
    r"|sk-(ssh-ed25519|ecdsa-sha2-nistp256)@openssh\.com"
)
_URL = r"https?://[!-~]{1,500}"

_STRING: Mapping[str, Json] = {"type": "string"}
_STRINGS: Mapping[str, Json] = {"type": ["array", "string"], "items": {"type": "string"}}


def _checked(check: Callable[[str], str]) -> Callable[[Fields, str], Json]:
    """For one text; *check* says what is wrong with it, or nothing."""

    def whole(fields: Fields, key: str) -> Json:
        text = fields.string(key)
        if problem := check(text):
            fields.fail(key, problem)
        return text

    return whole


def _each(check: Callable[[str], str]) -> Callable[[Fields, str], Json]:
    def whole(fields: Fields, key: str) -> Json:
        found = fields.strings(key)
        for index, text in enumerate(found):
            if problem := check(text):
                fields.fail(f"{key}[{index}]", problem)
        return [*dict.fromkeys(found)]

    return whole


def bad_name(text: str) -> str:
    """Why *text* is no name of a user or group; empty if it is one."""
    if NAME.fullmatch(text) is None:
        return f"must be a name such as alice, of small letters, digits, _ and -, not {text[:40]!r}"
    return f"{text} is the system's own" if text in RESERVED else ""


def _names(fields: Fields, key: str) -> Json:
    """A list, or names with commas between them in one text."""
    items = [word.strip() for text in fields.strings(key) for word in text.split(",")]
    for index, name in enumerate(items):
        if problem := bad_name(name):
            fields.fail(f"{key}[{index}]", problem)
    return [*dict.fromkeys(items)]


def _gecos(text: str) -> str:
    if not text.isprintable() or ":" in text or len(text) > 256:
        return "must be one line without colons"
    return ""


def _hash(text: str) -> str:
    if re.fullmatch(_HASH, text) is None and text not in ("*", "!", "!!", ""):
        return "must be a hash as in shadow(5): $y$..., $2b$..., $6$... or $5$..., and no password"
    return ""


def _shell(text: str) -> str:
    return "" if text in SHELLS else f"must be one of {', '.join(SHELLS)}, not {text[:40]!r}"


def _home(text: str) -> str:
    if re.fullmatch(_HOME, text) is None:
        return f"must be a directory right below /home, not {text[:60]!r}: only that is kept"
    return ""


def _principal(text: str) -> str:
    return "" if re.fullmatch(_PRINCIPAL, text) else "must be a name without commas and spaces"


def _bare_key(text: str) -> str:
    """sshd refuses everybody if it does not understand a line of some files: a key, no options."""
    kind, blob, *_ = [*text.split(), "", ""]
    try:
        data = binascii.a2b_base64(blob, strict_mode=True) if _BARE_KEY.fullmatch(kind) else b""
    except ValueError:
        data = b""
    parts = []
    while len(data) >= 4:
        end = 4 + int.from_bytes(data[:4])
        parts.append(data[4:end] if end <= len(data) else b"")
        data = data[end:]
    if len(parts) < 2 or data or b"" in parts or parts[0] != kind.encode():
        return f"is no public key (a line such as ssh-ed25519 AAAA... name): {text[:60]!r}"
    return ""


def _url(text: str) -> str:
    if re.fullmatch(_URL, text) is None:
        return "must be an http or https address, with {user} where the name goes"
    return ""


def _sudo(fields: Fields, key: str) -> Json:
    """A rule of sudoers(5), several of them, or null and false for none."""
    value = fields.take(key)
    if value is False or value is None:
        return []
    rules = fields.check_strings(key, [value] if isinstance(value, str) else value)
    for index, rule in enumerate(rules):
        try:
            parse_rule(rule)
        except InvalidArgument as error:
            fields.fail(f"{key}[{index}]" if len(rules) > 1 else key, error.message)
    return [*rules]


def _groups(fields: Fields, key: str) -> Json:
    """A list of names and of `NAME: [MEMBER]`, or one map of these; a list of maps comes out."""
    value = fields.take(key)
    if isinstance(value, str):
        value = [word.strip() for word in value.split(",")]
    if isinstance(value, dict):
        value = [{name: members} for name, members in value.items()]
    if not isinstance(value, list) or len(value) > 256:
        fields.fail(key, "must be a list of names and of NAME: [MEMBER]")
    found: list[Json] = []
    for index, item in enumerate(value):
        place = f"{key}[{index}]"
        entry = {item: []} if isinstance(item, str) else item
        if not isinstance(entry, dict):
            fields.fail(place, "must be a name, or NAME: [MEMBER]")
        for name, members in entry.items():
            texts = [members] if isinstance(members, str) else members or []
            people = fields.check_strings(f"{place}.{name}", texts)
            for text in (str(name), *people):
                if text != "root" and (problem := bad_name(text)):
                    fields.fail(place, problem)
            found.append({str(name): [*people]})
    return found


def _principals(fields: Fields, key: str) -> Json:
    nested = fields.inner(key, fields.take(key))
    found: dict[str, Json] = {}
    for name in nested.keys():  # noqa: SIM118 - Fields is no mapping
        if name != "root" and (problem := bad_name(name)):
            nested.fail(name, problem)
        found[name] = _each(_principal)(nested, name)
    return found


def _password(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if not text or not text.isprintable() or len(text) > 256:
        fields.fail(key, "must be a hash as in shadow(5), or a password, on one line")
    if text.startswith("$") and (problem := _hash(text)):  # the console would ask for it in vain
        fields.fail(key, problem)
    return text


def _command(fields: Fields, key: str) -> Json:
    """A program and its arguments, as a list or as one line."""
    words = [word for text in fields.strings(key) for word in text.split()]
    if not words or not words[0].startswith("/") or ".." in words[0].split("/"):
        fields.fail(key, "must be the absolute path of a program, and its arguments")
    for word in words:
        if re.fullmatch(r"[A-Za-z0-9_@%+=:,./-]+", word) is None:
            fields.fail(key, f"has a word that sshd does not take: {word[:40]!r}")
    return [*words]


USER_NAME = Kind("name", _STRING, _checked(lambda text: "" if text == "root" else bad_name(text)))
GROUP_NAME = Kind("name", _STRING, _checked(bad_name))
NAMES = Kind("list of names", _STRINGS, _names)
GECOS = Kind("text", _STRING, _checked(_gecos))
HASH = Kind("hash as in shadow(5)", _STRING, _checked(_hash))
PASSWORD = Kind("hash as in shadow(5), or a password", _STRING, _password)
SHELL = Kind(f"one of {', '.join(SHELLS)}", _STRING, _checked(_shell))
HOME = Kind("directory below /home", _STRING, _checked(_home))
SUDO = Kind(
    "rule of sudoers(5), or a list of them, or false",
    {"type": ["array", "string", "boolean"], "items": {"type": "string"}},
    _sudo,
)
GROUPS = Kind(
    "list of names and of NAME: [MEMBER]",
    {"type": ["array", "object", "string"], "items": {"type": ["string", "object"]}},
    _groups,
)
PRINCIPALS = Kind(
    "map of USER: [PRINCIPAL]",
    {"type": "object", "additionalProperties": dict(_STRINGS)},
    _principals,
)
URL = Kind("URL with {user} in it", _STRING, _checked(_url))
COMMAND = Kind("program and arguments", _STRINGS, _command)
BARE_KEYS = Kind("list of public keys", _STRINGS, _each(_bare_key))


def expand(item: object) -> object:
    """An entry of `users` as a map: a word stands for the user of that name."""
    return {"name": item} if isinstance(item, str) else item


def finish(fields: Fields, item: dict[str, Json]) -> dict[str, Json]:
    """A whole entry of `users`: `passwd` is what cloud-init called `hashed_passwd` once."""
    if "name" not in item:
        fields.fail("", "needs a name")
    found = dict(item)
    if "passwd" in found:
        old = found.pop("passwd")
        if found.setdefault("hashed_passwd", old) != old:
            fields.fail("passwd", "is the same as hashed_passwd, which is here too")
    if found["name"] == "root" and (wrong := sorted({*found} & _NOT_OF_ROOT)):
        fields.fail(wrong[0], "cannot be changed for root")
    return found


_NOT_OF_ROOT = {"uid", "primary_group", "groups", "homedir", "system", "sudo", "no_create_home"}

_LEFT_OUT = {
    "create_groups": "groups that are named are made",
    "doas": "there is sudo",
    "expiredate": "users do not expire; take them out of the configuration",
    "inactive": "users do not expire; take them out of the configuration",
    "no_log_init": "there are no such files",
    "no_user_group": "each user has a group of the same name, unless primary_group says another",
    "plain_text_passwd": "a document is no place for a password; give its hash as hashed_passwd",
    "selinux_user": "there is no SELinux",
    "snapuser": "there is no snap",
    "ssh_import_id": "keys are not fetched at boot; see orlop.ssh.authorized_keys_url",
    "ssh_redirect_user": "is not supported",
}


def without_meaning(entry: object, tell: Callable[[str, str], None]) -> object:
    """An entry of `users` without what means nothing here; *tell* is given key and reason."""
    if not isinstance(entry, dict):
        return entry
    for key in entry.keys() & _LEFT_OUT.keys():
        if entry[key]:
            tell(key, _LEFT_OUT[key])
    return {key: value for key, value in entry.items() if key not in _LEFT_OUT}
