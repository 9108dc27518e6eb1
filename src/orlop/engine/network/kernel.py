"""What the engine does to the kernel's networking. Blocks: called in the network thread only.

One thread does all of it, one thing after the other; the kernel has one lock for most of it
anyway. A namespace is held by a descriptor and by the container that runs in it, never by a mount:
when both are gone, so is it, whatever became of the engine.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine.network.catalogue import parse_vlan
from orlop.engine.network.model import ICC, Driver
from orlop.lib.netlink_message import NetlinkError
from orlop.lib.netlink_socket import NETLINK_NETFILTER, NetlinkSocket
from orlop.wire.netlink import address, conntrack, link, nftables, route
from orlop.wire.netlink.address import InterfaceAddress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orlop.engine.network.model import Endpoint, Network
    from orlop.engine.network.rules import Row
    from orlop.lib.netlink_message import Request

log = logging.getLogger(__name__)

OWN_NAMESPACE = "/proc/thread-self/ns/net"
SYSCTL = Path("/proc/sys/net")


class Kernel:
    """Sockets of the host's namespace. Made in the network thread."""

    def __init__(self, table: str) -> None:
        self.table = table
        self._routes = NetlinkSocket()
        self._filter = NetlinkSocket(NETLINK_NETFILTER)

    def close(self) -> None:
        self._routes.close()
        self._filter.close()

    @property
    def filter_port(self) -> int:
        """The netlink port from which the table's elements are changed."""
        return self._filter.port

    def used_subnets(self, own: str = "") -> list[tuple[bytes, int]]:
        """Address and prefix length of what this host has routes or addresses for.

        Not those of interface *own*, which is ours from an earlier life.
        """
        found = []
        ours = self.find(own) if own else None
        own_index = 0 if ours is None else ours.index
        for family in (socket.AF_INET, socket.AF_INET6):
            for answer in self._routes.dump(route.get_all(family)):
                known = route.decode(answer)
                if known is None or (own_index and known.output == own_index):
                    continue
                if known.destination and known.prefix_length:
                    found.append((known.destination, known.prefix_length))
        for answer in self._routes.dump(address.get_all()):
            known_address = address.decode(answer)
            if known_address is not None and known_address.index != own_index:
                found.append((known_address.address, known_address.prefix_length))
        return found

    def find(self, name: str) -> link.Link | None:
        """The interface *name*, if there is one."""
        try:
            return link.decode(self._routes.ask(link.get(name)))
        except NetlinkError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def bring_up(self, network: Network) -> None:
        """Make the network's interface unless it is there; host and none have none.

        Raises:
            OSError: with the kernel's reason.
        """
        if network.driver is Driver.BRIDGE:
            self._bring_up_bridge(network)
        elif network.driver in (Driver.MACVLAN, Driver.IPVLAN):
            self._bring_up_parent(network)

    def _bring_up_bridge(self, network: Network) -> None:
        found = self.find(network.interface)
        if found is None:
            mac = b"\x02\x42" + os.urandom(4)
            self._routes.send(link.new_bridge(network.interface, mac=mac, mtu=network.mtu))
            found = self.find(network.interface)
            assert found is not None
        if found.kind != "bridge":
            reason = f"existing interface {network.interface} is not a bridge"
            raise NetlinkError(errno.EEXIST, reason)
        wanted = [
            (packed(pool.gateway), int(pool.subnet.rpartition("/")[2]))
            for pool in network.pools
            if pool.gateway
        ]
        if network.ipv6:
            wanted.append((packed(BRIDGE_LINK_LOCAL), 64))
        self._routes.send(
            link.configure(network.interface, up=True, link_local=False),
            *(address.new(InterfaceAddress(found.index, data, length)) for data, length in wanted),
        )
        # For 127.0.0.1:PORT to be led to a container, from this host only: see the table's guard.
        set_sysctl(f"ipv4/conf/{network.interface}/route_localnet", "1")

    def _bring_up_parent(self, network: Network) -> None:
        if self.find(network.interface) is not None:
            return
        if not network.option("parent"):
            self._routes.send(link.new_dummy(network.interface))
            return
        vlan = parse_vlan(network.interface)
        below = None if vlan is None else self.find(vlan[0])
        if vlan is None or below is None:
            raise NetlinkError(errno.ENODEV, f"no interface {network.interface} on this host")
        self._routes.send(link.new_vlan(network.interface, below.index, vlan[1]))

    def delete_link(self, name: str) -> None:
        """Delete an interface; one that is gone is fine."""
        try:
            self._routes.send(link.delete(name))
        except NetlinkError as error:
            if error.errno != errno.ENODEV:
                raise

    def connect(self, namespace: int, endpoint: Endpoint, network: Network) -> None:
        """Give the namespace an interface into *network*, with its addresses, up.

        Raises:
            OSError: with the kernel's reason; nothing is left of it.
        """
        parent = self.find(network.interface)
        if parent is None:
            # Deleted by somebody, or not there when the engine started.
            self.bring_up(network)
            parent = self.find(network.interface)
        if parent is None:
            raise NetlinkError(errno.ENODEV, f"the interface {network.interface} is gone")
        mac = bytes.fromhex(endpoint.mac.replace(":", ""))
        if endpoint.host_interface:
            requests = [
                link.new_veth(
                    endpoint.host_interface,
                    parent.index,
                    peer=endpoint.interface,
                    peer_netns_fd=namespace,
                    peer_mac=mac,
                    mtu=network.mtu,
                ),
                link.configure(endpoint.host_interface, up=True, link_local=False),
            ]
            if not network.flag(ICC, default=True):
                requests.append(link.set_port(endpoint.host_interface, isolated=True))
        else:
            requests = []
            self._make_child(endpoint, network, parent.index, namespace, mac)
        try:
            if requests:
                self._routes.send(*requests)
            self._configure(namespace, endpoint)
        except OSError:
            with contextlib.suppress(OSError):
                if endpoint.host_interface:
                    self.delete_link(endpoint.host_interface)
                else:
                    self.disconnect(namespace, endpoint)
            raise

    def _make_child(
        self, endpoint: Endpoint, network: Network, parent: int, namespace: int, mac: bytes
    ) -> None:
        """By a name of its own at first: the kernel refuses one that an interface of the host has,
        although this one is to be elsewhere.
        """
        name = f"orlop{os.urandom(4).hex()}"
        self._routes.send(_new_child(name, network, parent, namespace, mac))
        with in_namespace(namespace), NetlinkSocket() as inner:
            try:
                index = link.decode(inner.ask(link.get(name))).index
                inner.send(link.rename(index, endpoint.interface))
            except OSError:
                inner.send(link.delete(name))
                raise

    def _configure(self, namespace: int, endpoint: Endpoint) -> None:
        with in_namespace(namespace), NetlinkSocket() as inner:
            index = link.decode(inner.ask(link.get(endpoint.interface))).index
            wanted = [(endpoint.ipv4, endpoint.prefix4), (endpoint.ipv6, endpoint.prefix6)]
            wanted += [(text, 64 if ":" in text else 16) for text in endpoint.link_local]
            addresses = [(packed(text), length) for text, length in wanted if text]
            if endpoint.ipv6 and endpoint.mac:
                addresses.append((link_local(bytes.fromhex(endpoint.mac.replace(":", ""))), 64))
            # Without an address that is generated: those are not used before the kernel has waited
            # a second for others that have them.
            generate = bool(endpoint.ipv6) and not endpoint.mac
            requests = [link.configure(endpoint.interface, up=True, link_local=generate)]
            requests += [
                address.new(InterfaceAddress(index, data, length)) for data, length in addresses
            ]
            inner.send(*requests)

    def disconnect(self, namespace: int, endpoint: Endpoint) -> None:
        """Take the interface out of the namespace."""
        with in_namespace(namespace), NetlinkSocket() as inner:
            inner.send(link.delete(endpoint.interface))

    def set_default_routes(
        self, namespace: int, old: Sequence[str], new: Sequence[tuple[str, str]]
    ) -> None:
        """Replace default routes through gateways *old* by *new*: each a gateway, an interface."""
        with in_namespace(namespace), NetlinkSocket() as inner:
            for gateway in old:
                gone = route.default(_family(gateway), gateway=packed(gateway))
                with contextlib.suppress(NetlinkError):
                    inner.send(route.delete(gone))
            requests = []
            for gateway, interface in new:
                index = link.decode(inner.ask(link.get(interface))).index
                wanted = route.default(_family(gateway), gateway=packed(gateway), output=index)
                requests.append(route.new(wanted))
            if requests:
                inner.send(*requests)

    def change_elements(self, add: Sequence[Row] = (), delete: Sequence[Row] = ()) -> None:
        """One transaction on the engine's table.

        Raises:
            NetlinkError: refused; nothing is changed.
        """
        by_set: dict[str, list[nftables.Element]] = {}
        gone: dict[str, list[nftables.Element]] = {}
        for rows, groups in ((add, by_set), (delete, gone)):
            for row in rows:
                groups.setdefault(row.set, []).append(row.element)
        requests = [nftables.delete_elements(self.table, items) for items in gone.values()]
        requests += [nftables.add_elements(self.table, items) for items in by_set.values()]
        if requests:
            transact(self._filter, requests)

    def forget_connections(
        self,
        addresses: Iterable[str],
        udp_ports: Iterable[tuple[int, int]],
        *,
        strayed: bool = False,
    ) -> None:
        """Forget connections to *addresses*, and datagrams sent to *udp_ports* (family and port);
        of the latter with *strayed* only those that were not led to any container.

        What the kernel cannot forget ends by itself, later: that is logged at most.
        """
        requests = [conntrack.forget_address(packed(text)) for text in addresses]
        requests += [
            conntrack.forget_port(family, socket.IPPROTO_UDP, port, strayed=strayed)
            for family, port in udp_ports
        ]
        for request in requests:
            try:
                self._filter.send(request)
            except NetlinkError as error:
                if error.errno != errno.ENOENT:
                    log.debug("connections are not forgotten: %s", error)


def _new_child(name: str, network: Network, parent: int, namespace: int, mac: bytes) -> Request:
    if network.driver is Driver.MACVLAN:
        mode = network.option("macvlan_mode", "bridge")
        return link.new_macvlan(name, parent, mode, netns_fd=namespace, mac=mac, mtu=network.mtu)
    mode, flag = network.option("ipvlan_mode", "l2"), network.option("ipvlan_flag", "bridge")
    return link.new_ipvlan(name, parent, mode, flag, netns_fd=namespace, mtu=network.mtu)


def transact(sock: NetlinkSocket, requests: Sequence[Request]) -> None:
    """Send *requests* as one nftables transaction.

    Raises:
        NetlinkError: refused; nothing is changed.
    """
    data, sequences = nftables.batch(requests, sock.reserve(len(requests) + 2))
    sock.send_raw(data)
    # Each change may have been fine and the end of the transaction not: no memory for it.
    sock.collect(sequences, begin=sequences[0] - 1)


BRIDGE_LINK_LOCAL = "fe80::1"
NAME_SERVER = "127.0.0.11"
NAME_SERVER_PORT = 53


def open_name_server(
    namespace: int, table: str, port: int = 0
) -> tuple[socket.socket, socket.socket]:
    """Sockets for a name server in *namespace*, UDP and TCP, which port 53 of its address leads to.

    They listen on another port, the same as before if *port* is given, so that the container may
    have a name server of its own on all addresses.

    Raises:
        OSError: with the kernel's reason.
    """
    with in_namespace(namespace):
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            udp.bind((NAME_SERVER, port))
            chosen = udp.getsockname()[1]
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((NAME_SERVER, chosen))
            tcp.listen()
            if not port:
                protocols = (socket.IPPROTO_UDP, socket.IPPROTO_TCP)
                requests = nftables.redirect_port(
                    table, packed(NAME_SERVER), protocols, NAME_SERVER_PORT, chosen
                )
                with NetlinkSocket(NETLINK_NETFILTER) as inner:
                    transact(inner, requests)
        except BaseException:
            udp.close()
            tcp.close()
            raise
    return udp, tcp


def new_namespace() -> int:
    """A descriptor of a new network namespace, its loopback up.

    Raises:
        OSError: no such right or no memory.
    """
    own = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.unshare(os.CLONE_NEWNET)
        try:
            namespace = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
            try:
                with NetlinkSocket() as inner:
                    inner.send(link.configure("lo", up=True))
            except BaseException:
                os.close(namespace)
                raise
        finally:
            os.setns(own, os.CLONE_NEWNET)
    finally:
        os.close(own)
    return namespace


@contextlib.contextmanager
def in_namespace(namespace: int) -> Iterator[None]:
    """This thread is in *namespace* meanwhile."""
    own = os.open(OWN_NAMESPACE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.setns(namespace, os.CLONE_NEWNET)
        try:
            yield
        finally:
            os.setns(own, os.CLONE_NEWNET)
    finally:
        os.close(own)


def link_local(mac: bytes) -> bytes:
    """The IPv6 link-local address that follows from *mac* (RFC 4291, appendix A)."""
    return b"\xfe\x80" + bytes(6) + bytes([mac[0] ^ 2]) + mac[1:3] + b"\xff\xfe" + mac[3:]


def packed(text: str) -> bytes:
    """An address as the kernel has it."""
    return socket.inet_pton(_family(text), text)


def _family(text: str) -> int:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def set_sysctl(name: str, value: str) -> None:
    """Write a setting below /proc/sys/net, unless it is so already.

    Raises:
        OSError: no such setting or right.
    """
    path = SYSCTL / name
    if path.read_text().strip() != value:
        path.write_text(value)


def enable_forwarding(*, ipv6: bool) -> bool:
    """Have this host forward packets; whether IPv4 forwarding was off before.

    Forwarding IPv6 makes a host ignore router advertisements unless told otherwise: those of
    interfaces that heed them go on being heeded.

    Raises:
        OSError: the settings cannot be changed.
    """
    was_off = (SYSCTL / "ipv4/ip_forward").read_text().strip() == "0"
    set_sysctl("ipv4/ip_forward", "1")
    if ipv6 and (SYSCTL / "ipv6/conf/all/forwarding").read_text().strip() == "0":
        for path in (SYSCTL / "ipv6/conf").glob("*/accept_ra"):
            if path.read_text().strip() == "1":
                path.write_text("2")
        set_sysctl("ipv6/conf/all/forwarding", "1")
    return was_off
