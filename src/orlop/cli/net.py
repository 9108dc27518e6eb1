"""`orlop net`: interfaces, addresses, routes, name servers, and who listens on which port."""

from __future__ import annotations

import os

from orlop.cli.answers import Object, get_object, get_objects, number_of, objects, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.ps import name_of
from orlop.cli.text import columns, duration, size
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "net [--json] [links|addresses|routes|dns|ports]"
OPTIONS = (Option("json", help="as an object; with a word, that part of it"),)
WORDS = (0, 1)
VERBS = {
    "links": "interfaces, their state and counters",
    "addresses": "addresses, and for how long they are leased",
    "routes": "where packets go",
    "dns": "name servers and search domains",
    "ports": "who listens on which port, and what the user's containers publish",
}
SYS_NET = "/sys/class/net"
RESOLV_CONF = "/etc/resolv.conf"
USER_SOCKET = "/run/orlop/docker/docker.sock"


def run(arguments: Arguments) -> int:
    from orlop.cli.arguments import UsageError

    wanted = arguments.words or [*VERBS]
    if wanted[0] not in VERBS:
        raise UsageError(f"{wanted[0]!r} is no part of the network", hint=f"{', '.join(VERBS)}")
    found = collect(wanted)
    if arguments.flag("json"):
        print(encode(found if not arguments.words else found[wanted[0]]))
    else:
        print("\n\n".join(_TABLES[part](found) for part in wanted))
    return 0


def collect(wanted: list[str]) -> Object:
    """What is known of the parts *wanted*, each by its name."""
    from orlop.cli import netlink

    found: Object = {}
    names = _interfaces()
    if "links" in wanted:
        found["links"] = [_link(name) for name in names.values()]
    if "addresses" in wanted:
        by_index = netlink.addresses()
        found["addresses"] = [
            {"interface": names.get(index, ""), **entry}
            for index, entries in sorted(by_index.items())
            for entry in entries
        ]
    if "routes" in wanted:
        found["routes"] = netlink.routes(names)
    if "dns" in wanted:
        found["dns"] = _dns(_read(RESOLV_CONF))
    if "ports" in wanted:
        found["ports"] = _ports()
    return found


def _interfaces() -> dict[int, str]:
    try:
        names = os.listdir(SYS_NET)
    except OSError:
        return {}
    found = {int(_read(f"{SYS_NET}/{name}/ifindex") or 0): name for name in names}
    found.pop(0, None)
    return dict(sorted(found.items()))


def _link(name: str) -> Object:
    directory = f"{SYS_NET}/{name}"
    counters = {
        ours: int(_read(f"{directory}/statistics/{theirs}") or 0)
        for ours, theirs in (
            ("received_bytes", "rx_bytes"),
            ("sent_bytes", "tx_bytes"),
            ("receive_errors", "rx_errors"),
            ("send_errors", "tx_errors"),
            ("receive_drops", "rx_dropped"),
            ("send_drops", "tx_dropped"),
        )
    }
    speed = _read(f"{directory}/speed")
    driver = f"{directory}/device/driver"
    return {
        "name": name,
        "state": _read(f"{directory}/operstate") or "unknown",
        "carrier": _read(f"{directory}/carrier") == "1",
        "mac": _read(f"{directory}/address"),
        "mtu": int(_read(f"{directory}/mtu") or 0),
        "speed_mbit": int(speed) if speed.isdecimal() else None,
        "driver": os.path.basename(os.path.realpath(driver)) if os.path.exists(driver) else "",
        **counters,
    }


def _dns(text: str) -> Object:
    rows = [line.split() for line in text.splitlines()]
    return {
        "servers": [row[1] for row in rows if len(row) > 1 and row[0] == "nameserver"],
        "search": [name for row in rows if row and row[0] == "search" for name in row[1:]],
    }


def _ports() -> list[Object]:
    """Sockets that listen, with the names of their containers, and ports that are passed on."""
    try:
        containers = get_objects(Client(USER_SOCKET), "/containers/json")
    except OrlopError:
        containers = []  # the user's engine may be switched off
    names = {text_of(container, "Id"): name_of(container) for container in containers}
    answer = get_object(Client(), "/orlop/listeners")
    rows = objects(answer.get("listeners"), "list of ports")
    for row in rows:
        row["container"] = names.get(text_of(row, "container"), text_of(row, "container"))
    for container in containers:
        for port in objects(container.get("Ports") or [], "list of ports"):
            if port.get("PublicPort"):
                rows.append(
                    {
                        "protocol": text_of(port, "Type"),
                        "address": text_of(port, "IP"),
                        "port": int(number_of(port, "PublicPort")),
                        "pid": 0,
                        "program": "",
                        "realm": "published",
                        "container": name_of(container),
                        "container_port": int(number_of(port, "PrivatePort")),
                    }
                )
    return sorted(rows, key=lambda row: number_of(row, "port"))


def _rows(found: Object, part: str) -> list[Object]:
    return objects(found[part], part)


def _links_table(found: Object) -> str:
    header = ("INTERFACE", "STATE", "MAC", "MTU", "SPEED", "RECEIVED", "SENT", "ERRORS", "DROPS")
    rows = []
    for link in _rows(found, "links"):
        speed = link.get("speed_mbit")
        rows.append(
            (
                text_of(link, "name"),
                text_of(link, "state"),
                text_of(link, "mac"),
                text_of(link, "mtu"),
                f"{speed} Mbit/s" if speed else "-",
                size(number_of(link, "received_bytes")),
                size(number_of(link, "sent_bytes")),
                f"{number_of(link, 'receive_errors') + number_of(link, 'send_errors'):.0f}",
                f"{number_of(link, 'receive_drops') + number_of(link, 'send_drops'):.0f}",
            )
        )
    return columns(header, rows)


def _addresses_table(found: Object) -> str:
    rows = []
    for entry in _rows(found, "addresses"):
        lease_s = entry.get("lease_s")
        left = f"{duration(lease_s)} left" if isinstance(lease_s, int) else "no lease"
        rows.append(
            (text_of(entry, "interface"), text_of(entry, "address"), text_of(entry, "scope"), left)
        )
    return columns(("INTERFACE", "ADDRESS", "SCOPE", "LEASE"), rows)


def _routes_table(found: Object) -> str:
    keys = ("destination", "gateway", "interface")
    rows = [[text_of(row, key) or "-" for key in keys] for row in _rows(found, "routes")]
    return columns(("DESTINATION", "GATEWAY", "INTERFACE"), rows)


def _dns_table(found: Object) -> str:
    dns = found["dns"]
    assert isinstance(dns, dict)
    return columns(
        ("NAME SERVERS", "SEARCH"),
        [(" ".join(dns["servers"]) or "-", " ".join(dns["search"]) or "-")],
    )


def _ports_table(found: Object) -> str:
    rows = []
    for row in _rows(found, "ports"):
        address = text_of(row, "address")
        address = f"[{address}]" if ":" in address else address
        realm, container = text_of(row, "realm"), text_of(row, "container")
        inner = f" port {row['container_port']}" if "container_port" in row else ""
        rows.append(
            (
                f"{text_of(row, 'protocol')} {address}:{text_of(row, 'port')}",
                text_of(row, "program") or "-",
                f"{container or realm}{inner}",
                realm,
            )
        )
    return columns(("PORT", "PROGRAM", "CONTAINER", "OF"), rows)


_TABLES = {
    "links": _links_table,
    "addresses": _addresses_table,
    "routes": _routes_table,
    "dns": _dns_table,
    "ports": _ports_table,
}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read().strip()
    except OSError:
        return ""
