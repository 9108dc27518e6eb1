"""Who listens on which port of the machine: the sockets of its own network namespace, with owners.

From /proc: the kernel is built without the netlink interface that would list sockets. May take a
while where there are thousands of processes; run it in a thread.
Source: Linux 6.12 net/ipv4/tcp_ipv4.c, net/ipv4/udp.c, net/ipv6/datagram.c (formats).
"""

from __future__ import annotations

import os
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orlop.wire.compose_model import Json

PROTOCOLS = ("tcp", "tcp6", "udp", "udp6")
MAX_PROCESSES = 8192
MAX_DESCRIPTORS = 20_000
"""Of one process: an engine has some for each container."""

_LISTEN, _UNCONNECTED = "0A", "07"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that strangers can reach; *inode* is its number."""

    protocol: str
    address: str
    port: int
    inode: int


def parse_sockets(protocol: str, text: str) -> list[Listener]:
    """The lines of /proc/net/tcp and its kin: those that listen, or take datagrams from anybody."""
    wanted = _LISTEN if protocol.startswith("tcp") else _UNCONNECTED
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 10 or fields[3] != wanted:
            continue
        address, _, port = fields[1].partition(":")
        if int(port, 16) and fields[9].isdecimal():
            found.append(
                Listener(
                    protocol.removesuffix("6"), _address(address), int(port, 16), int(fields[9])
                )
            )
    return found


def _address(text: str) -> str:
    """Words of 32 bits in the order of the machine, each in hexadecimal."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    data = struct.pack(f"={len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(words) == 1 else socket.AF_INET6, data)


def read_listeners(proc: str = "/proc") -> list[Json]:
    """As `GET /orlop/listeners` gives them, in the order of ports."""
    found: list[Listener] = []
    for protocol in PROTOCOLS:
        found += parse_sockets(protocol, _read(f"{proc}/net/{protocol}"))
    holders = _holders(proc, {listener.inode for listener in found})
    rows: list[Json] = []
    for listener in sorted(found, key=lambda each: (each.port, each.protocol, each.address)):
        pid = holders.get(listener.inode, 0)
        realm, name = owner_of(_read(f"{proc}/{pid}/cgroup")) if pid else ("kernel", "")
        rows.append(
            {
                "protocol": listener.protocol,
                "address": listener.address,
                "port": listener.port,
                "pid": pid,
                "program": _read(f"{proc}/{pid}/comm").strip() if pid else "",
                "realm": realm,
                "container": name,
            }
        )
    return rows


def owner_of(text: str) -> tuple[str, str]:
    """Whose a process with /proc/PID/cgroup *text* is: `system` or `user` and the name of its
    cgroup there, `init` for PID 1."""
    path = text.strip().rpartition("::")[2].strip("/").split("/")
    if path[0] in ("system", "user") and len(path) > 1:
        return path[0], path[1]
    return path[0] or "kernel", ""


def _holders(proc: str, inodes: set[int]) -> dict[int, int]:
    """For each socket a process that has it open: the lowest number, who is likely to own it."""
    names = {f"socket:[{inode}]": inode for inode in inodes}
    found: dict[int, int] = {}
    own = _link(f"{proc}/self/ns/net")
    pids = sorted(int(name) for name in os.listdir(proc) if name.isdecimal())
    for pid in pids[:MAX_PROCESSES]:
        if len(found) == len(inodes):
            break
        if own and _link(f"{proc}/{pid}/ns/net") != own:
            continue  # in a network of its own
        for target in _open_files(f"{proc}/{pid}/fd"):
            if target in names:
                found.setdefault(names[target], pid)
    return found


def _open_files(directory: str) -> Iterable[str]:
    try:
        descriptors = os.listdir(directory)
    except OSError:
        return ()  # it has just ended
    return (_link(f"{directory}/{name}") for name in descriptors[:MAX_DESCRIPTORS])


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return ""
