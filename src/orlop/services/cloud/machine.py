"""What the sources must know of the machine, and waiting until it has a network."""

import fcntl
import select
import socket
import struct
import time
from collections.abc import Callable, Mapping

from orlop.services.settings import map_setting, text_setting
from orlop.wire.cloud.conversation import Surroundings

_SIOCGIFHWADDR = 0x8927
_ARPHRD_ETHER = 1
_GROUPS = 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE of linux/rtnetlink.h."""


def surroundings(settings: Mapping[str, object]) -> Surroundings:
    """From what PID 1 says and from the kernel."""
    seed = map_setting(settings, "seed")
    return Surroundings(
        interfaces=interface_names(),
        serial=text_setting(settings, "serial"),
        machine=text_setting(settings, "machine"),
        config_url=text_setting(settings, "url"),
        kernel_seed={key: text_setting(seed, key) for key in seed},
    )


def interface_names() -> dict[str, str]:
    """Names of the Ethernet interfaces by hardware address."""
    found: dict[str, str] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            request = struct.pack("16s240x", name.encode())
            try:
                answer = fcntl.ioctl(any_socket, _SIOCGIFHWADDR, request)
            except OSError:
                continue  # it has just gone
            kind, address = struct.unpack_from("=H6s", answer, 16)
            if kind == _ARPHRD_ETHER:
                found.setdefault(address.hex(":"), name)
    return found


def wait_for_network(is_ready: Callable[[], bool], timeout_s: float) -> bool:
    """Wait until *is_ready*, looking again whenever an address or route has changed."""
    deadline_s = time.monotonic() + timeout_s
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as routes:
        routes.bind((0, _GROUPS))
        routes.setblocking(False)
        while not is_ready():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                return False
            select.select([routes], [], [], left_s)
            _drain(routes)
    return True


def _drain(routes: socket.socket) -> None:
    while True:
        try:
            routes.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            continue  # ENOBUFS: some were lost, which is as good as one that came
