"""Values of RancherOS's configuration that say in another form what ours has keys for.

Options of dockerd, variables, commands that add a route, the policy of upgrades, files for services
that are called otherwise here. Pure; input may be hostile. Sources: RancherOS 1.5.8
config/types.go, pkg/netconf; dockerd(8); ip-route(8).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.wire.compose_labels import NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from orlop.wire.config.table import Path
    from orlop.wire.located_yaml import LocatedYaml

    type Parts = Iterator[Moved | Said]


@dataclass(frozen=True, slots=True)
class Moved:
    """*value* belongs at *target*, a path of ours."""

    target: Path
    value: object


@dataclass(frozen=True, slots=True)
class Said:
    """What there is to say of a part of a value; *ignored*: it counts for nothing."""

    text: str
    ignored: bool = True


_ENGINE: Path = ("orlop", "engine")
_LISTEN: Path = (*_ENGINE, "tls", "listen")
_ROUTES: Path = ("orlop", "network", "routes")

_OPTIONS: Mapping[str, tuple[str, str]] = {
    "bip": ("bridge_address", "text"),
    "debug": ("debug", "flag"),
    "default-ulimit": ("default_ulimits", "map"),
    "dns": ("dns", "list"),
    "dns-opt": ("dns_options", "list"),
    "dns-search": ("dns_search", "list"),
    "insecure-registry": ("insecure_registries", "list"),
    "label": ("labels", "list"),
    "log-driver": ("log_driver", "text"),
    "log-opt": ("log_options", "map"),
    "mtu": ("mtu", "number"),
    "registry-mirror": ("registry_mirrors", "list"),
}
"""Options of dockerd: the key of `orlop.engine`, and how it is built."""

_SHORT = {"D": "debug", "H": "host", "l": "log-level", "s": "storage-driver"}
_SO: Mapping[str, tuple[str, ...]] = {
    "icc": ("true",),
    "ip-forward": ("true",),
    "ip-masq": ("true",),
    "iptables": ("true",),
    "live-restore": ("true",),
    "selinux-enabled": ("false",),
    "storage-driver": ("overlay", "overlay2"),
    "tls": ("true",),
    "tlsverify": ("true",),
    "userland-proxy": ("false",),
}
_FLAGS = frozenset(("debug", "experimental", "ipv6", *_SO)) - {"storage-driver"}
_CERTIFICATES = {"tlscacert": "ca_cert", "tlscert": "server_cert", "tlskey": "server_key"}
_OWN_TLS = "/etc/docker/tls/"
"""Where RancherOS kept what `ros tls generate` made, and started dockerd."""

_MAX_DIGITS = 9
"""Of a number; Python refuses to read those of thousands."""

_PROXIES = {"http_proxy", "https_proxy", "no_proxy"}
_POLICIES = {"none": "off", "download": "stage", "auto": "apply"}


def _options(value: object, *, tls: bool) -> Parts:
    """dockerd's options; the API on TCP is one only *tls* has."""
    found: dict[Path, object] = {}
    for name, text in _pairs(value):
        if text is None:
            yield Said(f"{name} is no option with its value")
        elif name in _SO and text in _SO[name]:
            yield Said(f"--{name}={text} is so on this system", ignored=False)
        elif name == "host":
            yield _host(text, tls=tls)
        elif name in _CERTIFICATES:
            key = _CERTIFICATES[name]
            own = not text.removeprefix(_OWN_TLS).startswith("/")
            what = f"--{name} is orlop.engine.tls.{key}"
            yield Said(what + ("" if not own else ", or made by itself"), ignored=not own)
        elif name in _OPTIONS:
            key, form = _OPTIONS[name]
            _build(found, (*_ENGINE, key), form, text)
        else:
            yield Said(f"--{name} is an option of dockerd without a key in orlop.engine")
    for target, built in found.items():
        yield Moved(target, built)


def _pairs(value: object) -> Iterator[tuple[str, str | None]]:
    """Long names and values of the options in *value*, a text or a list of words."""
    items = value if isinstance(value, list) else [value]
    words = [word for item in items for word in str(item).split()]
    while words:
        word = words.pop(0)
        name, equals, text = word.lstrip("-").partition("=")
        name = _SHORT.get(name, name)
        if not word.startswith("-") or not name:
            yield word, None
        elif equals or name in _FLAGS:
            yield name, text if equals else "true"
        else:
            yield (name, words.pop(0)) if words else (word, None)


def _build(found: dict[Path, object], target: Path, form: str, text: str) -> None:
    present = found.get(target)
    match form:
        case "list":
            found[target] = [*(present if isinstance(present, list) else []), text]
        case "map":
            key, _, inner = text.partition("=")
            found[target] = {**(present if isinstance(present, dict) else {}), key: inner}
        case "number" if text.isdecimal() and len(text) <= _MAX_DIGITS:
            found[target] = int(text)
        case "flag" if text in ("true", "false"):
            found[target] = text == "true"
        case _:
            found[target] = text


def _host(text: str, *, tls: bool) -> Moved | Said:
    if text.startswith(("unix://", "fd://")):
        return Said(f"--host={text}: the API is at /run/docker.sock", ignored=False)
    if tls:
        return Moved(_LISTEN, text)
    return Said(f"--host={text}: on TCP the API is for clients with certificates: orlop.engine.tls")


def _variables(value: object) -> Parts:
    """What dockerd had in its environment: its proxies."""
    for item in value if isinstance(value, list) else [value]:
        name, _, text = str(item).partition("=")
        if name.lower() not in _PROXIES or not text:
            yield Said(f"{name}: of the engine's variables only proxies mean something here")
        else:
            key = name.lower()
            yield Moved((*_ENGINE, key), text.split(",") if key == "no_proxy" else text)


def _commands(path: Path, value: object) -> Parts:
    """Commands of the network: routes that they add are routes; the others are left out."""
    label = path[3] if len(path) == 5 else ""
    for item in value if isinstance(value, list) else [value]:
        words = [str(word) for word in item] if isinstance(item, list) else str(item).split()
        route = _route(words, label)
        if route is None:
            yield Said(
                f"{' '.join(words)[:80]!r} is not run: what brings up the network has no shell "
                f"for others; see orlop.network.routes, bootcmd and runcmd"
            )
        else:
            yield Moved(_ROUTES, [route])


def _route(words: list[str], label: str) -> dict[str, object] | None:
    """What `ip route add ...` makes, or None if it is something else."""
    words = [word for word in words if word not in ("-4", "-6", "sudo")]
    head, rest = words[:3], words[3:]
    if [w.rpartition("/")[2] for w in head[:1]] != ["ip"] or head[1:2] not in (["route"], ["r"]):
        return None
    if head[2:] not in (["add"], ["replace"]) or not rest:
        return None
    try:
        to = rest[0] if rest[0] == "default" else str(ipaddress.ip_network(rest[0], strict=False))
        route: dict[str, object] = {"to": to}
        names = {"via": "via", "dev": "interface", "src": "source", "metric": "metric"}
        for name, text in zip(rest[1::2], rest[2::2], strict=True):
            key = names[name]
            match key:
                case "via" | "source":
                    route[key] = str(ipaddress.ip_address(text))
                case "metric":
                    route[key] = int(text)
                case _:
                    route[key] = label if text in ("$iface", "${iface}") else text
    except (KeyError, ValueError):
        return None
    if label and "via" not in route:
        route.setdefault("interface", label)
    return route


def _policy(value: object) -> Parts:
    if isinstance(value, str) and value in _POLICIES:
        yield Moved(("orlop", "update", "automatic"), _POLICIES[value])
    else:
        yield Said(f"must be one of {', '.join(_POLICIES)}")


FORMS: Mapping[Path, Callable[[Path, object], Parts]] = {
    ("rancher", "docker", "extra_args"): lambda _, value: _options(value, tls=False),
    ("rancher", "docker", "tls_args"): lambda _, value: _options(value, tls=True),
    ("rancher", "docker", "environment"): lambda _, value: _variables(value),
    ("rancher", "upgrade", "policy"): lambda _, value: _policy(value),
    ("rancher", "network", "pre_cmds"): _commands,
    ("rancher", "network", "post_cmds"): _commands,
    ("rancher", "network", "interfaces", "NAME", "pre_up"): _commands,
    ("rancher", "network", "interfaces", "NAME", "post_up"): _commands,
}
"""Keys of RancherOS whose value is taken apart, and what makes parts of it."""


def rename_containers(document: LocatedYaml, tell: Callable[[Path, str], None]) -> LocatedYaml:
    """*document* with files for this system's services; ntpd's become the servers of `orlop.time`.

    *tell* is given a path, and what became of it.
    """
    data = document.data
    entries = data.get("write_files") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(entries, list):
        return document
    services = _inner(_inner(data, "orlop"), "services")
    kept: list[object] = []
    time: dict[str, list[object]] = {}
    for index, entry in enumerate(entries):
        name = entry.get("container") if isinstance(entry, dict) else None
        path = (f"write_files[{index}]",)
        if not isinstance(name, str) or name not in NAMES or name in services:
            kept.append(entry)
            continue
        assert isinstance(entry, dict)
        if name == "ntp" and entry.get("path") == "/etc/ntp.conf" and not entry.get("encoding"):
            _read_ntp(str(entry.get("content") or ""), time)
            tell(path, "its servers and pools are orlop.time.servers and pools here")
        else:
            tell(path, f"service {name} is called {NAMES[name]} here")
            kept.append({**entry, "container": NAMES[name]})
    if time:
        own = _inner(data, "orlop")
        # Who has said it in our words means that.
        data = {**data, "orlop": {**own, "time": {**time, **_inner(own, "time")}}}
    return replace(document, data={**data, "write_files": kept})


def _inner(data: dict[str, object], key: str) -> dict[str, object]:
    found = data.get(key)
    return found if isinstance(found, dict) else {}


def _read_ntp(text: str, time: dict[str, list[object]]) -> None:
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] in ("server", "pool"):
            time.setdefault(f"{words[0]}s", []).append(words[1])
