"""Subnets for networks and addresses for endpoints. Pure: nothing is asked of the kernel here.

An address goes out again as late as possible: the kernel takes a while to dismantle the namespace
of a container that has ended, and until then the old owner may still answer for it.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, Forbidden, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orlop.engine.network.model import PoolConfig

type Subnet = IPv4Network | IPv6Network
type Address = IPv4Address | IPv6Address

DEFAULT_POOLS = (
    ("172.17.0.0/16", 16),
    ("172.18.0.0/16", 16),
    ("172.19.0.0/16", 16),
    ("172.20.0.0/14", 16),
    ("172.24.0.0/14", 16),
    ("172.28.0.0/14", 16),
    ("192.168.0.0/16", 20),
)
"""Blocks and the prefix length of what is cut from them, in dockerd's order."""

ULA_NETWORK_PREFIX_LENGTH = 64
MAX_ULA_NETWORKS = 1 << 12


def parse_subnet(text: str) -> Subnet:
    """A subnet in CIDR notation; bits of a host are cut off.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidArgument(f"invalid subnet {text[:80]}: invalid CIDR block notation") from None


def parse_address(text: str) -> Address:
    """An address.

    Raises:
        InvalidArgument: it is none.
    """
    try:
        return ip_address(text.partition("/")[0])
    except ValueError:
        raise InvalidArgument(f"invalid IP address: {text[:80]}") from None


def overlap(first: Subnet, second: Subnet) -> bool:
    """Whether they share addresses; never when the families differ."""
    return first.version == second.version and (
        first.network_address <= second.broadcast_address  # type: ignore[operator]
        and second.network_address <= first.broadcast_address  # type: ignore[operator]
    )


def candidates4(pools: Iterable[tuple[str, int]] = ()) -> Iterator[Subnet]:
    """IPv4 subnets to choose from, best first; *pools* instead of Docker's usual ones."""
    for block, length in tuple(pools) or DEFAULT_POOLS:
        yield from IPv4Network(block).subnets(new_prefix=length)


def candidates6(ula: str) -> Iterator[Subnet]:
    """IPv6 subnets of the machine's own unique local prefix."""
    base = IPv6Network(ula)
    step = 1 << (128 - ULA_NETWORK_PREFIX_LENGTH)
    for index in range(MAX_ULA_NETWORKS):
        yield IPv6Network((int(base.network_address) + index * step, ULA_NETWORK_PREFIX_LENGTH))


def choose_subnet(candidates: Iterable[Subnet], taken: Iterable[Subnet]) -> Subnet:
    """The first of *candidates* that shares nothing with *taken*.

    Raises:
        InvalidArgument: every one does.
    """
    used = list(taken)
    for candidate in candidates:
        if not any(overlap(candidate, other) for other in used):
            return candidate
    raise InvalidArgument("all predefined address pools have been fully subnetted")


class Pool:
    """The addresses of one subnet of a network."""

    def __init__(self, config: PoolConfig) -> None:
        self.subnet = parse_subnet(config.subnet)
        self.range = parse_subnet(config.ip_range) if config.ip_range else self.subnet
        if not overlap(self.range, self.subnet) or self.range.prefixlen < self.subnet.prefixlen:
            raise InvalidArgument(
                f"no matching subnet for range {config.ip_range}: not within {config.subnet}"
            )
        self._used: set[int] = set()
        for _name, text in config.auxiliary:
            self._used.add(int(self._inside(parse_address(text))))
        if config.gateway:
            gateway = int(self._inside(parse_address(config.gateway)))
            if gateway in self._used:
                raise Forbidden("failed to allocate gateway: Address already in use")
            self._used.add(gateway)
            self.gateway = config.gateway
        else:
            self.gateway = ""
        self._next = 0

    def __contains__(self, address: Address) -> bool:
        return address.version == self.subnet.version and address in self.subnet

    def take_any(self) -> str:
        """An address that nobody has, and that was free for longest.

        Raises:
            Conflict: there is none left.
        """
        offset, count = self._span()
        base = int(self.range.network_address) + offset
        for step in range(min(count, len(self._used) + 1)):
            position = (self._next + step) % count
            if base + position not in self._used:
                self._next = position + 1
                self._used.add(base + position)
                return str(_at(self.range, offset + position))
        raise Conflict("no available IPv4 addresses on this network's address pools")

    def take(self, text: str) -> str:
        """The very address *text*.

        Raises:
            Conflict: somebody has it. InvalidArgument: it is not in the subnet.
        """
        address = self._inside(parse_address(text))
        if int(address) in self._used:
            raise Forbidden("Address already in use")
        self._used.add(int(address))
        # Searching goes on behind it, so that a restart of the engine begins with fresh ones.
        offset, count = self._span()
        position = int(address) - int(self.range.network_address) - offset
        if 0 <= position < count:
            self._next = max(self._next, position + 1)
        return str(address)

    def give_back(self, text: str) -> None:
        """Nobody has *text* any more."""
        self._used.discard(int(parse_address(text)))

    def _inside(self, address: Address) -> Address:
        if address not in self:
            raise InvalidArgument(f"no configured subnet contains IP address {address}")
        return address

    def _span(self) -> tuple[int, int]:
        """Where usable addresses of the range begin, and how many there are.

        Not the address of the network itself nor the broadcast address, which belong to the subnet:
        a range in its middle has neither. Point-to-point subnets have all of theirs.
        """
        total = self.range.num_addresses
        if self.subnet.max_prefixlen - self.subnet.prefixlen <= 1:
            return 0, total
        low = int(self.range.network_address == self.subnet.network_address)
        is_last = self.range.broadcast_address == self.subnet.broadcast_address
        return low, total - low - int(is_last and self.subnet.version == 4)


def _at(subnet: Subnet, offset: int) -> Address:
    value = int(subnet.network_address) + offset
    return IPv4Address(value) if subnet.version == 4 else IPv6Address(value)
