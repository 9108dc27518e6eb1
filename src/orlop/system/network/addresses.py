"""The machine's addresses, for its status: what `ip address` would show, without the loopback.

IPv4 by the SIOCGIFCONF ioctl, IPv6 from /proc/net/if_inet6; two small reads instead of a netlink
client in PID 1. Source: netdevice(7); Linux 6.12 net/ipv6/addrconf.c.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from dataclasses import dataclass

SIOCGIFCONF = 0x8912
SIOCGIFNETMASK = 0x891B
_IFREQ_BYTES = 40
MAX_ADDRESSES = 256

_SCOPE_LINK = 0x20
_FLAG_TENTATIVE = 0x40


SIOCGIFFLAGS = 0x8913
SIOCSIFFLAGS = 0x8914
IFF_UP = 1
_IFREQ = struct.Struct("16sh22x")


def bring_up_loopback() -> None:
    """Switch `lo` on: the kernel then gives it its addresses.

    Raises:
        OSError: no such right, or no such interface.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        answer = fcntl.ioctl(sock.fileno(), SIOCGIFFLAGS, _IFREQ.pack(b"lo", 0))
        flags: int = _IFREQ.unpack(answer)[1]
        fcntl.ioctl(sock.fileno(), SIOCSIFFLAGS, _IFREQ.pack(b"lo", flags | IFF_UP))


@dataclass(frozen=True, slots=True)
class Address:
    """One address of one interface; *text* has the prefix length."""

    interface: str
    text: str


def read_addresses() -> list[Address]:
    """All addresses but the loopback's and link-local ones."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as stream:
            inet6 = parse_if_inet6(stream.read())
    except OSError:
        inet6 = []
    return _read_inet() + inet6


def parse_if_inet6(text: str) -> list[Address]:
    """The lines of /proc/net/if_inet6: address, index, prefix length, scope, flags, interface."""
    found: list[Address] = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) != 6 or fields[5] == "lo":
            continue
        if int(fields[3], 16) == _SCOPE_LINK or int(fields[4], 16) & _FLAG_TENTATIVE:
            continue
        address = socket.inet_ntop(socket.AF_INET6, bytes.fromhex(fields[0]))
        found.append(Address(fields[5], f"{address}/{int(fields[2], 16)}"))
    return found


def _read_inet() -> list[Address]:
    buffer = array.array("B", bytes(_IFREQ_BYTES * MAX_ADDRESSES))
    location, _ = buffer.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        # struct ifconf: length, padding, pointer; the kernel fills the buffer and the length.
        request = struct.pack("iP", len(buffer), location)
        try:
            answer = fcntl.ioctl(sock.fileno(), SIOCGIFCONF, request)
        except OSError:
            return []
        length_bytes: int = struct.unpack("iP", answer)[0]
        data = buffer.tobytes()[:length_bytes]
        return [
            address
            for start in range(0, len(data), _IFREQ_BYTES)
            if (address := _parse_ifreq(sock, data[start : start + _IFREQ_BYTES])) is not None
        ]


def _parse_ifreq(sock: socket.socket, request: bytes) -> Address | None:
    """One struct ifreq: 16 bytes of name, then a struct sockaddr_in."""
    interface = request[:16].split(b"\0", 1)[0].decode(errors="replace")
    if interface == "lo" or int.from_bytes(request[16:18], "little") != socket.AF_INET:
        return None
    try:
        mask = fcntl.ioctl(sock.fileno(), SIOCGIFNETMASK, request)[20:24]
    except OSError:
        return None
    length = int.from_bytes(mask, "big").bit_count()
    return Address(interface, f"{socket.inet_ntop(socket.AF_INET, request[20:24])}/{length}")
