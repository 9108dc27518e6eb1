"""Ports of the host: held by sockets, so that nobody else takes them and a conflict is an error.

The sockets listen, because a bound one alone keeps nobody out. What arrives at a published port is
led away before it gets there (`engine.network.rules`); what arrives nevertheless is relayed.
"""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.network.rules import PROTOCOLS
from orlop.engine.settings import MARK_PUBLISHED
from orlop.lib.errors import Internal, InvalidArgument
from orlop.lib.linux import mark_socket
from orlop.wire.docker.fields import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop.engine.container.endpoints import PortBinding
    from orlop.engine.network.model import PublishedPort

ANY4, ANY6 = "0.0.0.0", "::"
LOCAL_RANGE_FILE = "/proc/sys/net/ipv4/ip_local_port_range"
_DEFAULT_RANGE = (49153, 65535)
MAX_ATTEMPTS = 2000
"""Ports tried for a binding to a range or to any that is free."""

_BACKLOG = 64


@dataclass(frozen=True, slots=True)
class HeldPort:
    """A port with the socket that holds it; None where the kernel has no such protocol."""

    port: PublishedPort
    socket: socket.socket | None


def parse_host_port(text: str) -> tuple[int, int] | None:
    """`80` or `8000-8010`; None when any free one will do.

    Raises:
        InvalidArgument: neither.
    """
    if text in ("", "0"):
        return None
    first, dash, last = text.partition("-")
    if not first.isdecimal() or (dash and not last.isdecimal()):
        raise InvalidArgument(f"invalid port specification: {quoted(text)}")
    low, high = int(first), int(last if dash else first)
    if not 0 < low <= high <= 65535:
        raise InvalidArgument(f"invalid port specification: {quoted(text)}")
    return low, high


class HostPorts:
    """All that one engine holds."""

    def __init__(self) -> None:
        self._held: set[tuple[str, str, int]] = set()
        self._next = 0
        self.has_ipv6 = socket.has_ipv6 and _can_bind(socket.AF_INET6)

    def addresses(self, host_ip: str, default_ip: str) -> list[str]:
        """Where a binding to *host_ip* is made: without one everywhere, or as the network says."""
        if host_ip:
            return [host_ip]
        if default_ip and default_ip != ANY4:
            return [default_ip]
        return [ANY4, ANY6] if self.has_ipv6 else [ANY4]

    def bind(self, binding: PortBinding, default_ip: str = "") -> list[HeldPort]:
        """Hold the port of *binding*, the same number on each of its addresses.

        Raises:
            Internal: it is taken, in dockerd's words. InvalidArgument: it is no port.
        """
        addresses = self.addresses(binding.host_ip, default_ip)
        wanted = parse_host_port(binding.host_port)
        failure: Internal | None = None
        for number in self._candidates(wanted):
            try:
                return self._bind_all(binding, addresses, number)
            except Internal as error:
                failure = error
                if wanted is not None and wanted[0] == wanted[1]:
                    break
        raise failure or Internal("no port of the host is free")

    def rebind(self, ports: Sequence[PublishedPort]) -> list[HeldPort]:
        """Hold *ports* again after a restart; one that is gone is left out."""
        held = []
        for port in ports:
            try:
                held.append(HeldPort(port, self._bind(port)))
            except (Internal, InvalidArgument):
                continue
        return held

    def release(self, held: Sequence[HeldPort]) -> None:
        """Let go of *held*."""
        for item in held:
            port = item.port
            self._held.discard((port.protocol, port.host_ip, port.host_port))
            if item.socket is not None:
                item.socket.close()

    def _candidates(self, wanted: tuple[int, int] | None) -> Iterator[int]:
        if wanted is not None:
            yield from range(wanted[0], min(wanted[1], wanted[0] + MAX_ATTEMPTS) + 1)
            return
        low, high = read_local_range()
        count = high - low + 1
        for _ in range(min(count, MAX_ATTEMPTS)):
            number = low + self._next % count
            self._next += 1
            yield number

    def _bind_all(
        self, binding: PortBinding, addresses: Sequence[str], number: int
    ) -> list[HeldPort]:
        from orlop.engine.network.model import PublishedPort

        held: list[HeldPort] = []
        try:
            for address in addresses:
                port = PublishedPort(binding.protocol, binding.container_port, address, number)
                held.append(HeldPort(port, self._bind(port)))
        except BaseException:
            self.release(held)
            raise
        return held

    def _bind(self, port: PublishedPort) -> socket.socket | None:
        shown = f"[{port.host_ip}]" if ":" in port.host_ip else port.host_ip
        if self._is_held(port):
            raise Internal(f"Bind for {shown}:{port.host_port} failed: port is already allocated")
        try:
            held = _open(port)
        except OSError as error:
            if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
                held = None
            else:
                reason = (error.strerror or str(error)).lower()
                raise Internal(
                    f"failed to bind host port {shown}:{port.host_port}/{port.protocol}: {reason}"
                ) from error
        self._held.add((port.protocol, port.host_ip, port.host_port))
        return held

    def _is_held(self, port: PublishedPort) -> bool:
        wildcard = ANY6 if ":" in port.host_ip else ANY4
        if port.host_ip != wildcard:
            addresses = {port.host_ip, wildcard}
            return any((port.protocol, ip, port.host_port) in self._held for ip in addresses)
        return any(
            (protocol, number) == (port.protocol, port.host_port)
            and (":" in ip) == (wildcard == ANY6)
            for protocol, ip, number in self._held
        )


def _open(port: PublishedPort) -> socket.socket:
    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    held = socket.socket(family, kind | socket.SOCK_CLOEXEC, PROTOCOLS[port.protocol])
    try:
        held.setblocking(False)
        mark_socket(held, MARK_PUBLISHED)
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "tcp":
            # Connections of an earlier owner that linger must not count.
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind((port.host_ip, port.host_port))
        if port.protocol != "udp":
            held.listen(_BACKLOG)
    except BaseException:
        held.close()
        raise
    return held


def _can_bind(family: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
            probe.bind((ANY6, 0))
    except OSError:
        return False
    return True


def read_local_range() -> tuple[int, int]:
    """The ports that the kernel gives out itself, from which free ones are taken."""
    try:
        with open(LOCAL_RANGE_FILE, encoding="ascii") as stream:
            low, high = map(int, stream.read(64).split())
    except (OSError, ValueError):
        return _DEFAULT_RANGE
    return (low, high) if 0 < low <= high <= 65535 else _DEFAULT_RANGE
