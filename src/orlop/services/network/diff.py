"""What has to be done so that the kernel's network becomes what is wanted. Pure.

In two steps, each with the kernel's state as it is then: links first, because what is on them needs
their numbers. What is ours is known by a mark in the kernel itself (`MARK` of links, `PROTOCOL` of
addresses, routes and rules): it goes when nobody wants it any more. Nothing else is touched, but
leases of an interface that is not to have any, and routes in the place of wanted ones.
"""

from __future__ import annotations

import ipaddress
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.services.network import operations as op
from orlop.services.network import routing
from orlop.services.network.model import PROTOCOL, WantedLink
from orlop.services.network.state import Before
from orlop.wire.netlink.link import LinkFlag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orlop.services.network.model import Wanted, WantedRoute
    from orlop.services.network.operations import Operation
    from orlop.services.network.state import Record, State
    from orlop.wire.netlink.address import InterfaceAddress
    from orlop.wire.netlink.link import Link
    from orlop.wire.netlink.route import Route
    from orlop.wire.netlink.wireguard import Device

_PROTOCOL_RA, _PROTOCOL_DHCP = 9, 16
_SCOPE_UNIVERSE = 0
_BOND_PRIMARY = 11


def plan_links(wanted: Wanted, state: State, record: Record) -> tuple[list[Operation], Record]:
    """The operations on links, and the record as it is when they are done."""
    found: list[Operation] = []
    gone = {name for name, link in state.links.items() if _is_to_go(link, wanted, state)}
    there = {name: link for name, link in state.links.items() if name not in gone}
    found += [op.DeleteLink(name) for name in sorted(gone, key=lambda n: not state.links[n].parent)]
    for name, before in sorted(record.items()):
        present, want = there.get(name), wanted.links.get(name, WantedLink(name))
        if present is not None:
            found += _restore(present, before, want, state, gone)
    for want in _parents_first(wanted.links):
        if want.name in there:
            found += _change(want, there[want.name])
        elif want.kind:
            found += _make(want)
    for want in _parents_first(wanted.links):
        if want.name in there or want.kind:
            found += _configure(want, there.get(want.name), wanted, state, gone)
    for want in wanted.links.values():
        if want.kind == "bond" and want.primary:
            found += _primary(want, there.get(want.name), state)
    return found, _recorded(wanted, there, record)


def _is_to_go(link: Link, wanted: Wanted, state: State) -> bool:
    """Whether *link*, if it is ours, is wanted no more, or only anew."""
    if link.alias != op.MARK:
        return False
    want = wanted.links.get(link.name)
    if want is None or want.kind != link.kind:
        return True
    if want.parent and state.name(link.parent) != want.parent:
        return True
    parent = wanted.links.get(want.parent)
    there = state.links.get(want.parent)
    if parent is not None and there is not None and _is_to_go(there, wanted, state):
        return True  # the kernel deletes it with its parent
    return any(link.data.get(kind) != want.data.get(kind) for kind in want.fixed)


def _parents_first(links: Mapping[str, WantedLink]) -> list[WantedLink]:
    def depth(link: WantedLink, limit: int = 16) -> int:
        above = [links[name] for name in (link.parent,) if name in links]
        return 1 + max((depth(one, limit - 1) for one in above), default=0) if limit else 0

    return sorted(links.values(), key=depth)


def _restore(
    present: Link, before: Before, want: WantedLink, state: State, gone: set[str]
) -> Iterator[Operation]:
    master = state.name(present.master)
    if before.master and before.master == master and want.master != master and master not in gone:
        yield op.SetMaster(present.name)
        yield op.SetUp(present.name)
    if before.mtu and not want.mtu and present.mtu != before.mtu:
        yield op.SetMtu(present.name, before.mtu)
    if before.mac and not want.mac and present.mac.hex(":") != before.mac:
        yield op.SetMac(present.name, bytes.fromhex(before.mac.replace(":", "")))
        yield op.SetUp(present.name)


def _make(want: WantedLink) -> Iterator[Operation]:
    """Make it with what cannot be changed later, and add the rest one by one: an option that does
    not go with the others is not to cost the machine its network."""
    fixed = {kind: value for kind, value in want.create.items() if kind in want.fixed}
    yield op.MakeLink(want.name, want.kind, want.parent, fixed)
    yield from _set_options(want, {k: v for k, v in want.create.items() if k not in fixed})


def _set_options(want: WantedLink, data: Mapping[int, bytes]) -> Iterator[Operation]:
    for kind, value in sorted(data.items()):
        yield op.ChangeLink(want.name, want.kind, {kind: value})


def _change(want: WantedLink, present: Link) -> Iterator[Operation]:
    if not want.kind or present.kind != want.kind:
        return
    changed = {
        kind: value
        for kind, value in want.data.items()
        if kind in present.data and present.data[kind] != value
    }
    if want.kind == "bond" and not present.alias and not present.flags & LinkFlag.UP:
        yield op.Adopt(want.name)
    elif set(changed) & want.fixed:
        return  # somebody else's, with members
    yield from _set_options(want, changed)


def _configure(
    want: WantedLink, present: Link | None, wanted: Wanted, state: State, gone: set[str]
) -> Iterator[Operation]:
    up = present is not None and bool(present.flags & LinkFlag.UP)
    master = "" if present is None else state.name(present.master)
    if want.mac and (present is None or (not want.master and present.mac != want.mac)):
        yield op.SetMac(want.name, want.mac)
        up = False
    if want.mtu and (present is None or present.mtu != want.mtu):
        yield op.SetMtu(want.name, want.mtu)
    if want.master and (master != want.master or master in gone):
        in_bond = wanted.links[want.master].kind == "bond"
        yield op.SetMaster(want.name, want.master, down=in_bond)
        up = False
    if not up or master in gone:
        yield op.SetUp(want.name)


def _primary(want: WantedLink, present: Link | None, state: State) -> Iterator[Operation]:
    if want.primary not in state.links:
        return
    index = b"" if present is None else present.data.get(_BOND_PRIMARY, b"")
    if state.name(int.from_bytes(index, "little")) != want.primary:
        yield op.SetPrimary(want.name, want.primary)


def _recorded(wanted: Wanted, there: Mapping[str, Link], record: Record) -> Record:
    """What links that are not ours had, for as long as we have it otherwise."""
    found: dict[str, Before] = {}
    for name, present in there.items():
        want, known = wanted.links.get(name), record.get(name, Before())
        if want is None or present.alias == op.MARK:
            continue
        before = Before(
            (known.mtu or present.mtu) if want.mtu else 0,
            (known.mac or present.mac.hex(":")) if want.mac else "",
            want.master,
        )
        if before != Before():
            found[name] = before
    return found


def plan_vlans(wanted: Wanted, ports: Mapping[str, Mapping[int, int]]) -> list[Operation]:
    """The operations on what VLANs *ports* of bridges have, and bridges themselves."""
    found: list[Operation] = []
    for name, want in wanted.links.items():
        have = ports.get(name)
        if want.bridge_vlans is None or have is None:
            continue
        add = {n: flags for n, flags in want.bridge_vlans.items() if have.get(n) != flags}
        remove = tuple(number for number in have if number not in want.bridge_vlans)
        if add or remove:
            found.append(op.SetVlans(name, add, remove, own=want.kind == "bridge"))
    return found


def conflicts(wanted: Wanted, state: State) -> list[str]:
    """Links that somebody else has made, which are not what is wanted."""
    return [
        f"{name}: is a {state.links[name].kind or 'card'} already, no {want.kind} is made"
        for name, want in wanted.links.items()
        if want.kind and name in state.links and state.links[name].kind != want.kind
    ]


def plan_addresses(
    wanted: Wanted, state: State, leases: Mapping[str, str] | None = None
) -> list[Operation]:
    """The operations on what is on the links; *leases*: addresses that DHCP gave, by interface."""
    found: list[Operation] = []
    for name, present in state.links.items():
        want = wanted.links.get(name)
        found += _addresses(want, present, state, (leases or {}).get(name, ""))
        if want is not None and want.wireguard is not None and present.kind == "wireguard":
            found += _tunnel(want.name, want.wireguard, state.tunnels.get(name))
    return found + _routes(wanted, state) + _rules(wanted, state)


def _addresses(
    want: WantedLink | None, present: Link, state: State, lease: str
) -> Iterator[Operation]:
    has = {
        _text(known): origin for known, origin in state.addresses if known.index == present.index
    }
    planned = want.addresses if want is not None else ()
    for text, origin in has.items():
        is_lease = origin.scope == _SCOPE_UNIVERSE and (not origin.permanent or text == lease)
        unasked = want is not None and is_lease and not _is_asked(want, text)
        if text not in planned and (origin.protocol == PROTOCOL or unasked):
            yield op.DeleteAddress(present.name, text)
    for text in planned:
        known = has.get(text)
        if known is None or not known.permanent:
            yield op.AddAddress(present.name, text)


def _is_asked(want: WantedLink, text: str) -> bool:
    automatic = want.automatic
    return (automatic.dhcp6 or automatic.ra) if ":" in text else automatic.dhcp


def _text(known: InterfaceAddress) -> str:
    return f"{ipaddress.ip_address(known.address)}/{known.prefix_length}"


def _tunnel(name: str, want: Device, have: Device | None) -> Iterator[Operation]:
    if have is None or _comparable(want, have) != _comparable(have, want):
        known = frozenset(peer.public_key for peer in have.peers) if have is not None else set()
        yield op.SetWireguard(
            name, want, frozenset(known) - {peer.public_key for peer in want.peers}
        )


def _comparable(this: Device, other: Device) -> Device:
    """*this* without what the kernel finds out by itself, where *other* says nothing of it."""
    said = {peer.public_key for peer in other.peers if peer.endpoint is not None}
    peers = [
        peer if peer.public_key in said else replace(peer, endpoint=None) for peer in this.peers
    ]
    return replace(
        this,
        peers=frozenset(peers),
        listen_port=this.listen_port if other.listen_port else 0,
    )


def _routes(wanted: Wanted, state: State) -> list[Operation]:
    found: list[Operation] = []
    satisfied: set[int] = set()
    for have in state.routes:
        match = next(
            (n for n, want in enumerate(wanted.routes) if _is_route(want, have, state)), None
        )
        if match is not None:
            satisfied.add(match)
        elif have.protocol == PROTOCOL or _is_stale(have, wanted, state):
            found.append(op.DeleteRoute(have))
    for number, want in enumerate(wanted.routes):
        absent = want.interface and want.interface not in state.links
        if number not in satisfied and not absent:
            found.append(op.AddRoute(want.route, want.interface))
    return found


def _is_route(want: WantedRoute, have: Route, state: State) -> bool:
    if want.interface and state.name(have.output) != want.interface:
        return False
    this = want.route
    return routing.identity(this) == routing.identity(have) and (
        (this.gateway, this.source or have.source, this.kind, this.mtu)
        == (have.gateway, have.source, have.kind, have.mtu)
    )


def _is_stale(have: Route, wanted: Wanted, state: State) -> bool:
    """Whether it came by DHCP or a router, to an interface that is not to ask any more."""
    want = wanted.links.get(state.name(have.output))
    if want is None or have.protocol not in (_PROTOCOL_DHCP, _PROTOCOL_RA):
        return False
    return not _is_asked(want, ":" if have.family != 2 else "")


def _rules(wanted: Wanted, state: State) -> list[Operation]:
    planned = set(wanted.rules)
    have = set(state.rules)
    plain = {replace(rule, protocol=PROTOCOL) for rule in have}
    gone: list[Operation] = [
        op.DeleteRule(rule)
        for rule in state.rules
        if rule.protocol == PROTOCOL and rule not in planned
    ]
    return gone + [op.AddRule(rule) for rule in wanted.rules if rule not in plain]
