"""Makes the kernel's network what is wanted: reads it, decides by `diff`, acts over netlink."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

from orlop.lib.netlink_socket import NetlinkSocket
from orlop.services.network import diff
from orlop.services.network import operations as op
from orlop.services.network.model import Hardware
from orlop.services.network.state import Before, State
from orlop.wire.netlink import address, bridge_vlan, link, route, rule, wireguard
from orlop.wire.netlink.link import LinkFlag

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop.services.network.model import Wanted
    from orlop.services.network.operations import Operation
    from orlop.services.network.state import Record
    from orlop.wire.netlink.wireguard import Device

HARDWARE_KINDS = {""}
"""Kinds of links that a configuration may match by something else than their very name."""

NETLINK_GENERIC = 16
ROUNDS = 3
"""The first may find that loading a driver has made a link of the same name."""

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_SYS = "/sys/class/net"


class Kernel:
    """The network namespace this program runs in. Use it in a `with` statement, or close it."""

    def __init__(self) -> None:
        self._socket = NetlinkSocket()
        self._generic: NetlinkSocket | None = None
        self._family = 0

    def close(self) -> None:
        self._socket.close()
        if self._generic is not None:
            self._generic.close()

    def links(self) -> dict[str, link.Link]:
        answers = self._socket.dump(link.get_all())
        return {found.name: found for found in map(link.decode, answers)}

    def bridge_vlans(self) -> dict[str, dict[int, int]]:
        """The VLANs of each port of a bridge, and of each bridge, by its name."""
        names = {found.index: found.name for found in self.links().values()}
        ports: dict[str, dict[int, int]] = {}
        for index, vlans in map(bridge_vlan.decode, self._socket.dump(bridge_vlan.get_all())):
            if index in names:
                ports.setdefault(names[index], {}).update(vlans)
        return ports

    def state(self) -> State:
        """All of it.

        Raises:
            OSError: the kernel does not say.
        """
        links = self.links()
        addresses = []
        for answer in self._socket.dump(address.get_all()):
            known = address.decode(answer)
            if known is not None:
                addresses.append((known, address.origin(answer)))
        dump = self._socket.dump
        routes = [
            route.decode_any(one) for family in _FAMILIES for one in dump(route.get_all(family))
        ]
        rules = [rule.decode(one) for family in _FAMILIES for one in dump(rule.get_all(family))]
        tunnels = {name: self._tunnel(name) for name in links if links[name].kind == "wireguard"}
        return State(links, tuple(addresses), tuple(routes), tuple(rules), tunnels)

    def perform(self, operation: Operation) -> None:
        """Do it.

        Raises:
            OSError: the kernel refuses.
        """
        if isinstance(operation, op.SetWireguard):
            generic = self._open_generic()
            generic.send(
                wireguard.set_device(self._family, operation.name, operation.device, operation.gone)
            )
            return
        requests = operation.requests(socket.if_nametoindex)
        if isinstance(operation, op.MakeLink):
            for request in requests:  # what is there already is not to be marked as ours
                self._socket.send(request)
        else:
            self._socket.send(*requests)  # all are tried: what is switched off is on again

    def _tunnel(self, name: str) -> Device:
        generic = self._open_generic()
        return wireguard.decode(generic.dump(wireguard.get_device(self._family, name)))

    def _open_generic(self) -> NetlinkSocket:
        if self._generic is None:
            self._generic = NetlinkSocket(NETLINK_GENERIC)
            self._family = wireguard.family_id(self._generic.ask(wireguard.get_family()))
        return self._generic


def hardware(links: Mapping[str, link.Link]) -> list[Hardware]:
    """The cards among *links*."""
    return [
        Hardware(
            name,
            (found.permanent_mac or found.mac).hex(":"),
            os.path.basename(_target(f"{_SYS}/{name}/device/driver")),
            os.path.basename(_target(f"{_SYS}/{name}/device")),
        )
        for name, found in sorted(links.items())
        if found.kind in HARDWARE_KINDS and not found.flags & LinkFlag.LOOPBACK
    ]


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def bring_about(
    kernel: Kernel, wanted: Wanted, record: Record, leases: Mapping[str, str]
) -> tuple[list[str], Record]:
    """Make the kernel's network so; what could not be done, and the new record.

    Raises:
        OSError: the kernel does not say what there is.
    """
    problems: list[str] = []
    for _ in range(ROUNDS):
        state = kernel.state()
        operations, record = diff.plan_links(wanted, state, record)
        problems, again = _perform(kernel, operations)
        if not again:
            break
    problems += diff.conflicts(wanted, kernel.state())
    if any(link.bridge_vlans is not None for link in wanted.links.values()):
        problems += _perform(kernel, diff.plan_vlans(wanted, kernel.bridge_vlans()))[0]
    more: list[str] = []
    for _ in range(2):  # with an address others may have gone, and routes through them
        operations = diff.plan_addresses(wanted, kernel.state(), leases)
        more, _ = _perform(kernel, operations)
    return problems + more, record


def _perform(kernel: Kernel, operations: Sequence[Operation]) -> tuple[list[str], bool]:
    """Do them in order; what failed, and whether a link to make was there already."""
    problems: list[str] = []
    for operation in operations:
        try:
            kernel.perform(operation)
        except OSError as error:
            if error.errno == errno.EEXIST and isinstance(operation, op.MakeLink):
                return problems, True
            if not _is_done(operation, error):
                problems.append(f"{_describe(operation)}: {error}")
    return problems, False


def _is_done(operation: Operation, error: OSError) -> bool:
    """Whether what was to go has gone by itself, with something else."""
    gone = (errno.ENODEV, errno.ENXIO, errno.EADDRNOTAVAIL, errno.ESRCH, errno.ENOENT)
    deletes = op.DeleteLink | op.DeleteAddress | op.DeleteRoute | op.DeleteRule
    return error.errno in gone and isinstance(operation, deletes)


def _describe(operation: Operation) -> str:
    """For the log: the operation with its values, a tunnel without its keys."""
    if isinstance(operation, op.AddRoute | op.DeleteRoute):
        from orlop.services.network.routing import text

        return f"{type(operation).__name__} {text(operation.route)}"
    if isinstance(operation, op.AddRule | op.DeleteRule):
        return f"{type(operation).__name__} {operation.rule.priority}"
    values = [
        str(getattr(operation, name))
        for name in ("name", "address", "master", "member", "mtu", "parent")
        if getattr(operation, name, None)
    ]
    return " ".join((type(operation).__name__, *values))


@contextmanager
def locked(path: str) -> Iterator[None]:
    """Nobody else who asks for the lock at *path* has it meanwhile."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def read_record(path: str) -> Record:
    """The record at *path*; an empty one if there is none, or it cannot be read."""
    try:
        with open(path, encoding="utf-8") as stream:
            return {name: Before(**values) for name, values in json.load(stream).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write_record(path: str, record: Record) -> None:
    """Lasts as long as the boot: what it is about does not last longer."""
    text = json.dumps({name: asdict(before) for name, before in record.items()})
    with open(f"{path}.new", "w", encoding="utf-8") as stream:
        stream.write(text)
    os.rename(f"{path}.new", path)
