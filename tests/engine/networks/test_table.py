"""The engine's nftables table, which others change, and which is one engine's."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

from tests.engine.containers.engine_host import UserEngine, running
from tests.engine.networks.lab import HOST4, OUTSIDE4, SLEEP
from tests.engine.networks.test_bridge import publish, table
from tests.engine.services.namespaces import NetworkNamespace

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.networks.lab import Lab

OTHER_TABLE = """
table inet other { chain input { type filter hook input priority 0; ct state new accept; }; }
"""
"""Connections are remembered as long as any rule asks for them, as that of a firewall."""


def nft(*words: str, text: str = "") -> str:
    argv = ["nft", *words]
    return subprocess.run(argv, input=text, capture_output=True, text=True, check=True).stdout


def test_a_ruleset_that_was_saved_and_is_loaded_again_is_undone(lab: Lab) -> None:
    """In one transaction: without the port that was published meanwhile."""
    saved = nft("list", "ruleset")
    lab.run("web", **publish("80/tcp", "8080"))
    lab.serve(lab.inside("web"), "tcp", 80)
    before = table()

    nft("-f", "-", text=f"flush ruleset\n{saved}")
    lab.engine.wait_until(lambda: lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4)
    assert table() == before
    nft("insert", "rule", "inet", "orlop", "forward", "drop")
    lab.engine.wait_until(lambda: table() == before)
    nft("flush", "map", "inet", "orlop", "any4")
    lab.engine.wait_until(lambda: table() == before)


def test_datagrams_find_back_to_the_container(lab: Lab) -> None:
    """Those of a sender that does not pause, after the table was not there."""

    def ask() -> str:
        return lab.ask(lab.outside, "udp", HOST4, 8080, own_port=4000, timeout_s=0.5)

    lab.run("web", **publish("80/udp", "8080"))
    lab.serve(lab.inside("web"), "udp", 80)
    nft("-f", "-", text=OTHER_TABLE)
    os.kill(lab.engine.pid, signal.SIGSTOP)
    nft("delete", "table", "inet", "orlop")
    assert ask() == ""
    os.kill(lab.engine.pid, signal.SIGCONT)

    lab.engine.wait_until(lambda: ask() == OUTSIDE4)


def test_a_bridge_is_for_one_engine(lab: Lab, images: Path) -> None:
    lab.run("web", **publish("80/tcp", "8080"))
    lab.serve(lab.inside("web"), "tcp", 80)

    with running(lambda directory: UserEngine(directory, images)) as second:
        second.create("late", SLEEP, HostConfig=publish("80/tcp", "8081"))
        status, answer = second.request("POST", "/containers/late/start")
        assert status == 503
        assert "another engine has the bridge orlop0" in answer["message"]
        assert any("--bridge" in text for text in second.request("GET", "/info")[1]["Warnings"])
        second.run("alone", ["true"], HostConfig={"NetworkMode": "none"})
        assert second.wait("alone") == 0

        second.kill()
        second.options = ("--bridge=other0",)
        second.start()
        status, answer = second.request("POST", "/containers/late/start")
        assert status == 204, answer
        lab.serve(NetworkNamespace(int(second.inspect("late")["State"]["Pid"])), "tcp", 80)
        assert lab.ask(lab.outside, "tcp", HOST4, 8081) == OUTSIDE4
        assert lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4
