"""The machine's network as the configuration wants it, in terms of the interfaces that are there.

Pure: `orlop.network` (checked when it came into force) and what hardware there is, in; links,
routes and rules out. What cannot be is a sentence in `problems`, and the rest holds.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from orlop.services.network import kinds, routing
from orlop.services.network.model import Automatic, Wanted
from orlop.services.settings import integer_setting, list_setting, map_setting, text_setting

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.services.network.model import Hardware, WantedLink

_RANKS = {"mac": 4, "path": 3, "driver": 1}
_EXACT, _GLOB = 3, 1


def interpret(
    settings: Mapping[str, object],
    hardware: Sequence[Hardware],
    known_hosts: Mapping[str, str] | None = None,
) -> Wanted:
    """What *settings* (`orlop.network`) mean on a machine with *hardware*.

    *known_hosts* has addresses of the `hosts` that peers are reached at.
    """
    problems: list[str] = []
    interfaces = map_setting(settings, "interfaces")
    labels = {name: map_setting(interfaces, name) for name in sorted(interfaces)}
    chosen = _match(labels, hardware)
    entries = {name: labels[label] for name, label in chosen.items()}
    for label, entry in labels.items():
        # An interface that is not there yet, or one to be made.
        if label not in chosen.values() and not _is_pattern(label, entry):
            entries.setdefault(label, entry)
    names = _names(labels, chosen)
    cards = {card.name for card in hardware}
    links = kinds.Maker(entries, names, cards, known_hosts or {}, problems).links()
    done = {name: _common(link, entries.get(name)) for name, link in links.items()}
    routes, rules = routing.read(settings, entries, done, names, problems)
    return Wanted(done, routes, rules, tuple(problems))


def _names(labels: Mapping[str, Mapping[str, object]], chosen: Mapping[str, str]) -> dict[str, str]:
    """The one interface that each label stands for; a label of several stands for none."""
    found: dict[str, str] = {}
    for label, entry in labels.items():
        matching = [name for name, of in chosen.items() if of == label]
        if len(matching) == 1:
            found[label] = matching[0]
        elif not matching and not _is_pattern(label, entry):
            found[label] = label
    return found


def criteria(label: str, entry: Mapping[str, object]) -> dict[str, str]:
    """What an interface must have for *entry* to be about it."""
    match = map_setting(entry, "match")
    if match:
        return {key: str(value) for key, value in match.items()}
    key, equals, glob = label.partition("=")
    return {key: glob} if equals else {"name": label}


def _is_pattern(label: str, entry: Mapping[str, object]) -> bool:
    return bool(map_setting(entry, "match")) or bool(set("=*?[") & set(label))


def _match(
    labels: Mapping[str, Mapping[str, object]], hardware: Sequence[Hardware]
) -> dict[str, str]:
    """The label of each card that has one: an address outweighs a name, a name a pattern."""
    found: dict[str, str] = {}
    for card in hardware:
        ranked = [
            (_rank(wanted), label)
            for label, entry in labels.items()
            if _fits(wanted := criteria(label, entry), card)
        ]
        if ranked:
            best = max(rank for rank, _ in ranked)
            found[card.name] = min(label for rank, label in ranked if rank == best)
    return found


def _rank(wanted: Mapping[str, str]) -> int:
    ranks = [_RANKS[key] for key in wanted if key in _RANKS]
    if name := wanted.get("name"):
        ranks.append(_GLOB if set("*?[") & set(name) else _EXACT)
    return max(ranks, default=0)


def _fits(wanted: Mapping[str, str], card: Hardware) -> bool:
    has = {"name": card.name, "mac": card.mac, "driver": card.driver, "path": card.path}
    return all(
        fnmatchcase(has.get(key, ""), glob.lower() if key == "mac" else glob)
        for key, glob in wanted.items()
    )


def _common(link: WantedLink, entry: Mapping[str, object] | None) -> WantedLink:
    """*link* with what any interface may have; without an entry of its own it asks for nothing."""
    if entry is None:
        return link
    addresses = tuple(filter(_is_cidr, list_setting(entry, "addresses")))
    default = not addresses and link.kind != "wireguard" and not link.master
    dhcp = entry.get("dhcp", default) is not False and not link.master
    return replace(
        link,
        mtu=integer_setting(entry, "mtu", link.mtu),
        mac=bytes.fromhex(text_setting(entry, "mac").replace(":", "")),
        addresses=addresses,
        automatic=Automatic(
            dhcp,
            _flag(entry, "dhcp6", dhcp) and not link.master,
            _flag(entry, "ra", dhcp) and not link.master,
            _flag(entry, "ipv4ll", False) and not link.master,
        ),
        metric=integer_setting(entry, "metric", 0),
        optional=_flag(entry, "optional", False),
    )


def _flag(entry: Mapping[str, object], key: str, default: bool) -> bool:
    value = entry.get(key)
    return value if isinstance(value, bool) else default


def _is_cidr(text: str) -> bool:
    try:
        ipaddress.ip_interface(text)
    except ValueError:
        return False
    return "/" in text
