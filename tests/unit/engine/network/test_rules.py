"""The nftables table as data."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from orlop.engine.network import rules
from orlop.engine.network.model import Driver, Endpoint, Network, PublishedPort
from orlop.engine.network.table_guard import Guard, Watch
from orlop.lib import netlink_message as message
from orlop.lib.children import ExitStatus
from orlop.lib.netlink_message import Flag, Request
from orlop.wire.netlink import nftables

BRIDGE = Network(id="a" * 64, name="n", driver=Driver.BRIDGE, created_ns=0, interface="br-a")
ENDPOINT = Endpoint(id="e", network_id="a" * 64, network="n", interface="eth0", ipv4="10.0.0.2")


def texts(rows: list[rules.Row]) -> list[str]:
    return [f"{row.set}: {row.text}" for row in rows]


def test_networks_are_rows() -> None:
    internal = Network(
        id="b", name="i", driver=Driver.BRIDGE, created_ns=0, interface="br-i", internal=True
    )
    routed = Network(
        id="c",
        name="r",
        driver=Driver.BRIDGE,
        created_ns=0,
        interface="br-r",
        options=(("com.docker.network.bridge.enable_ip_masquerade", "false"),),
    )
    assert texts(rules.network_rows(BRIDGE)) == [
        'bridges: "br-a"',
        'same: "br-a" . "br-a"',
        'masquerade4: "br-a"',
        'masquerade6: "br-a"',
    ]
    assert 'internal: "br-i"' in texts(rules.network_rows(internal))
    assert not [text for text in texts(rules.network_rows(internal)) if "masquerade" in text]
    assert texts(rules.network_rows(routed)) == ['bridges: "br-r"', 'same: "br-r" . "br-r"']
    macvlan = Network(id="d", name="m", driver=Driver.MACVLAN, created_ns=0, interface="eth0")
    assert rules.network_rows(macvlan) == []


def test_ports_are_rows_where_the_kernel_can_lead_the_way() -> None:
    ports = [
        PublishedPort("tcp", 80, "0.0.0.0", 8080),
        PublishedPort("tcp", 80, "::", 8080),
        PublishedPort("udp", 53, "127.0.0.1", 53),
    ]
    rows = rules.port_rows(ports, ENDPOINT)

    assert texts(rows) == [
        "any4: tcp . 8080 : 10.0.0.2 . 80",
        "one4: udp . 127.0.0.1 . 53 : 10.0.0.2 . 53",
    ]
    assert rows[0].element == nftables.Element(
        "any4", b"\x06\0\0\0\x1f\x90\0\0", b"\x0a\0\0\x02\0\x50\0\0"
    )


def test_the_table_replaces_itself_in_one_transaction() -> None:
    rows = rules.network_rows(BRIDGE) * 2
    text = rules.plan_table("orlop", rows, closed_router=True)

    assert text.index("table inet orlop\n") < text.index("delete table inet orlop\n")
    assert text.count('elements = { "br-a" }') == 3, "twice the same is once"
    assert "iifname @bridges accept\n    drop\n" in text
    open_router = rules.plan_table("orlop", [], closed_router=False)
    assert "elements" not in open_router
    assert "accept\n    drop" not in open_router


def notification(kind: int, table: str, port: int) -> bytes:
    payload = bytes([nftables.FAMILY_INET, 0, 0, 0]) + message.text(1, table)
    data = message.encode(Request(10 << 8 | kind, Flag(0), payload), 1)
    return data[:12] + port.to_bytes(4, "little") + data[16:]


def test_watching_the_table() -> None:
    watch = Watch("orlop", own_port=7)
    watch.feed(notification(nftables.DELETE_ELEMENT, "orlop", 7))
    watch.feed(notification(nftables.DELETE_TABLE, "other", 9))
    assert not watch.damaged

    watch.feed(notification(nftables.DELETE_RULE, "orlop", 9))
    assert watch.damaged
    watch.expect(11)
    for kind in (nftables.DELETE_TABLE, nftables.NEW_TABLE, nftables.NEW_RULE):
        watch.feed(notification(kind, "orlop", 11))
    assert not watch.damaged, "written anew"

    watch.feed(b"nonsense")
    assert watch.damaged


@pytest.mark.parametrize("kind", [nftables.NEW_TABLE, nftables.NEW_RULE, nftables.DELETE_ELEMENT])
def test_what_others_write_is_damage_whatever_it_is(kind: int) -> None:
    watch = Watch("orlop", own_port=7)
    watch.expect(11)
    watch.feed(notification(nftables.NEW_TABLE, "orlop", 11))
    watch.feed(notification(kind, "orlop", 9))
    assert watch.damaged

    watch.feed(notification(nftables.NEW_TABLE, "orlop", 11))
    assert not watch.damaged
    watch.feed(notification(nftables.NEW_GENERATION, "", 9))
    watch.feed(notification(kind, "orlop", 11))
    assert not watch.damaged, "the transaction is not over"
    watch.feed(notification(nftables.NEW_GENERATION, "", 11))
    watch.feed(notification(kind, "orlop", 11))
    assert watch.damaged, "another process of that number"


def test_who_failed_to_write_is_forgotten() -> None:
    class Children:
        async def run(self, *_: Any, started: Any, **__: Any) -> tuple[ExitStatus, bytes]:
            started(11)
            return ExitStatus(code=1), b"no room\n"

    children: Any = Children()
    tasks: Any = None
    guard = Guard("orlop", lambda: asyncio.sleep(0), tasks, children, Path("nft"))
    assert asyncio.run(guard.put("table inet orlop {}")) == "no room"
    guard._watch.feed(notification(nftables.DELETE_RULE, "orlop", 11))
    assert guard._watch.damaged, "another process of that number"
