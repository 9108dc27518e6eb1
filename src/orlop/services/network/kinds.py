"""Which links are to be made, and what is a member of what. Pure."""

from __future__ import annotations

import base64
import ipaddress
import struct
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.services.network import bridge_ports, vxlan
from orlop.services.network.model import WantedLink
from orlop.services.settings import integer_setting, list_setting, map_setting, text_setting
from orlop.wire.netlink import link as wire_link
from orlop.wire.netlink import link_options, wireguard

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orlop.wire.compose_model import Json

MAX_DEPTH = 8
_VLAN_ID, _MACVLAN_MODE, _BOND_MODE = 1, 1, 1
_VLAN_PROTOCOL = 5
_PROTOCOLS = {"": b"\x81\x00", "802.1ad": b"\x88\xa8"}
_WITH_PRIMARY = (b"\1", b"\5", b"\6")
"""active-backup, balance-tlb, balance-alb."""


@dataclass(slots=True)
class Maker:
    """*entries* of the configuration by interface, *names* with what labels stand for, *hardware*
    that is there, *hosts* with addresses of peers. What is wrong is added to *problems*."""

    entries: Mapping[str, Mapping[str, object]]
    names: Mapping[str, str]
    hardware: set[str]
    hosts: Mapping[str, str]
    problems: list[str]
    found: dict[str, WantedLink] = field(default_factory=dict)

    def links(self) -> dict[str, WantedLink]:
        """All links that the entries speak of, parents and masters before what is on them."""
        for kind, of in self._speak_of().items():
            for name in sorted(of):
                made = self._make(name, kind, self.entries.get(name, {}))
                if made is not None:
                    self._take(made)
        for name in self.entries:
            if name in self.hardware:
                self.found[name] = WantedLink(name)
        self._add_children()
        for name in self.entries:
            self.found.setdefault(name, WantedLink(name))
        self._set_masters()
        bridge_ports.set_vlans(self.entries, self.found, self.problems)
        return self.found

    def _speak_of(self) -> dict[str, set[str]]:
        made = ("bond", "bridge", "wireguard", "vxlan")
        found: dict[str, set[str]] = {kind: set() for kind in made}
        for name, entry in self.entries.items():
            for kind in ("bond", "bridge"):
                if isinstance(master := entry.get(kind), str):
                    found[kind].add(master)
                if f"{kind}_options" in entry or entry.get(kind) is True:
                    found[kind].add(name)
            for kind in ("wireguard", "vxlan"):
                if map_setting(entry, kind):
                    found[kind].add(name)
        return found

    def _take(self, link: WantedLink) -> bool:
        name = link.name
        if len(name) > wire_link.MAX_NAME_BYTES:
            self.problems.append(f"{name}: too long for the name of an interface: give it another")
        elif name in self.found or name in self.hardware:
            self.problems.append(f"{name}: cannot be a {link.kind}: it is something else already")
        else:
            self.found[name] = link
            return True
        return False

    def _make(self, name: str, kind: str, entry: Mapping[str, object]) -> WantedLink | None:
        if kind == "wireguard":
            device = self._wireguard(name, map_setting(entry, "wireguard"))
            return None if device is None else WantedLink(name, kind, wireguard=device)
        if kind == "vxlan":
            return vxlan.link_of(name, map_setting(entry, kind), self.names, self.problems)
        given: Mapping[str, Json] = map_setting(entry, f"{kind}_options")  # type: ignore[assignment]
        table = link_options.BOND if kind == "bond" else link_options.BRIDGE
        try:
            create, data, fixed = link_options.encode(table, given)
        except ValueError as error:
            self.problems.append(f"{name}: {kind}_options: {error}")
            return None
        primary = ""
        if kind == "bond" and create.get(_BOND_MODE) in _WITH_PRIMARY:
            primary = str(given.get("primary", ""))
            primary = self.names.get(primary, primary)
        return WantedLink(name, kind, create=create, data=data, fixed=fixed, primary=primary)

    def _add_children(self) -> None:
        """VLANs and macvlans, also of each other."""
        todo = [name for name in self.entries if name in self.found]
        for _ in range(MAX_DEPTH):
            children = [child for parent in todo for child in self._children(parent)]
            todo = [child.name for child in children if self._take(child)]

    def _children(self, parent: str) -> Iterator[WantedLink]:
        entry = self.entries.get(parent, {})
        for item in list_setting(entry, "vlans"):
            number, name, protocol = (*item.split(":"), "", "")[:3]
            data = {_VLAN_ID: struct.pack("=H", int(number)), _VLAN_PROTOCOL: _PROTOCOLS[protocol]}
            name = name or f"{parent}.{number}"
            yield WantedLink(name, "vlan", parent, data, data, frozenset(data))
        for item in list_setting(entry, "macvlans"):
            name, _, mode = item.partition(":")
            data = {_MACVLAN_MODE: struct.pack("=I", wire_link.MACVLAN_MODES[mode])}
            yield WantedLink(name, "macvlan", parent, data, data, frozenset(data))

    def _set_masters(self) -> None:
        for name, entry in self.entries.items():
            for kind in ("bond", "bridge"):
                master = entry.get(kind)
                if not isinstance(master, str):
                    continue
                if master not in self.found or self.found[master].kind != kind:
                    self.problems.append(f"{name}: there is no {kind} {master} to be a member of")
                elif self.found[name].master or self._reaches(master, name):
                    self.problems.append(f"{name}: cannot be a member of {master} as well")
                else:
                    self.found[name] = replace(self.found[name], master=master)

    def _reaches(self, start: str, end: str) -> bool:
        """Whether *end* is *start* or something that it is a member of or made on."""
        todo, seen = [start], set[str]()
        while todo:
            name = todo.pop()
            if name == end:
                return True
            if name in self.found and name not in seen:
                seen.add(name)
                todo += [self.found[name].master, self.found[name].parent]
        return False

    def _wireguard(self, name: str, entry: Mapping[str, object]) -> wireguard.Device | None:
        private = _key(text_setting(entry, "private_key"))
        if private is None:
            self.problems.append(f"{name}: has no wireguard.private_key")
            return None
        peers: dict[bytes, wireguard.Peer] = {}
        for item in peers_of(entry):
            public = _key(text_setting(item, "public_key"))
            if public is None or public in peers:
                self.problems.append(f"{name}: a peer without a public key, or with another's")
                continue
            host, port = split_endpoint(text_setting(item, "endpoint"))
            address = self.hosts.get(host, host)
            peers[public] = wireguard.Peer(
                public,
                _key(text_setting(item, "preshared_key")) or wireguard.NO_KEY,
                (address, port) if is_address(address) else None,
                integer_setting(item, "keepalive", 0),
                frozenset(list_setting(item, "allowed_ips")),
            )
        return wireguard.Device(
            clamp(private),
            integer_setting(entry, "listen_port", 0),
            integer_setting(entry, "mark", 0),
            frozenset(peers.values()),
        )


def peers_of(entry: Mapping[str, object]) -> list[Mapping[str, object]]:
    """The peers of an entry `wireguard`."""
    peers = entry.get("peers")
    return [item for item in peers if isinstance(item, dict)] if isinstance(peers, list) else []


def hosts(settings: Mapping[str, object]) -> list[str]:
    """The names in *settings* (`orlop.network`) that are to be looked up: of WireGuard's peers."""
    interfaces = map_setting(settings, "interfaces")
    peers = [
        peer
        for name in interfaces
        for peer in peers_of(map_setting(map_setting(interfaces, name), "wireguard"))
    ]
    found = [split_endpoint(text_setting(peer, "endpoint"))[0] for peer in peers]
    return [host for host in dict.fromkeys(found) if host and not is_address(host)]


def clamp(private: bytes) -> bytes:
    """A private key as the kernel keeps it: some bits have fixed values (RFC 7748, section 5)."""
    return bytes([private[0] & 248, *private[1:31], private[31] & 127 | 64])


def _key(text: str) -> bytes | None:
    return base64.b64decode(text) if len(text) == 44 else None


def split_endpoint(text: str) -> tuple[str, int]:
    """Host and port of `HOST:PORT`; nothing and 0 of anything else."""
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdecimal() else ("", 0)


def is_address(text: str) -> bool:
    """Whether *text* is an address and no name."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
