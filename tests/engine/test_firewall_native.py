"""The machine's firewall with the real nft: PID 1 in namespaces, and a machine outside of it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.native_machine import NativeMachine
from tests.engine.networks.lab import PEER
from tests.engine.services.namespaces import (
    NetworkNamespace,
    cable,
    network_namespace,
    wait_until,
)
from tests.engine.test_config_native import config
from tests.engine.test_pid1_native import STAY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

SERVICES: dict[str, dict[str, Any]] = {"ssh": {**STAY, "network_mode": "host"}, "other": STAY}
HOST4, OUTSIDE4 = "192.0.2.1", "192.0.2.2"
HOST6, OUTSIDE6 = "2001:db8::1", "2001:db8::2"


class Pair:
    """A machine, one outside, and servers on the first."""

    def __init__(self, machine: NativeMachine, outside: NetworkNamespace) -> None:
        self.machine = machine
        self.outside = outside
        self._servers = contextlib.ExitStack()
        self.inside = NetworkNamespace(machine.pid)
        cable(outside, "eth0", self.inside, "eth0")
        for space, own4, own6 in (
            (self.inside, HOST4, HOST6),
            (outside, OUTSIDE4, OUTSIDE6),
        ):
            space.run("ip", "link", "set", "eth0", "up")
            space.run("ip", "address", "add", f"{own4}/24", "dev", "eth0")
            space.run("ip", "address", "add", f"{own6}/64", "dev", "eth0", "nodad")

    def serve(self, kind: str, port: int, *, in_user_cgroup: bool = False) -> None:
        """A server in the machine's network: of the system's, or of a container's."""
        script = 'echo $$ > "$0" && exec "$@"'
        argv = self.inside.command(sys.executable, str(PEER), "serve", kind, str(port))
        if in_user_cgroup:
            group = self.machine.path("/sys/fs/cgroup/user/container")
            group.mkdir(exist_ok=True)
            argv = ["sh", "-c", script, str(group / "cgroup.procs"), *argv]
        server = self._servers.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE))
        self._servers.callback(server.kill)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"

    def ask(self, kind: str, address: str, port: int, own_port: int = 0, wait_s: float = 30) -> str:
        """What the server calls the asker; empty if it does not answer."""
        argv = [sys.executable, str(PEER), "ask", kind, address, str(port)]
        command = self.outside.command(*argv, str(own_port), str(wait_s))
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def is_cut_off(self, kind: str, address: str, port: int) -> bool:
        return self.ask(kind, address, port, wait_s=0.5) == ""

    def close(self) -> None:
        self._servers.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    with NativeMachine(SERVICES) as machine, network_namespace() as outside:
        machine.wait_ready()
        made = Pair(machine, outside)
        yield made
        made.close()


def test_only_what_is_published(pair: Pair) -> None:
    pair.serve("tcp", 22)
    pair.serve("tcp", 8080)
    pair.serve("udp", 8081)
    pair.serve("tcp", 9090, in_user_cgroup=True)
    pair.serve("udp", 9091, in_user_cgroup=True)
    for host, outside in ((HOST4, OUTSIDE4), (HOST6, OUTSIDE6)):
        # A service's port, and what a container listens on in the machine's network.
        assert pair.ask("tcp", host, 22) == outside
        assert pair.ask("tcp", host, 9090) == outside
        assert pair.ask("udp", host, 9091) == outside
        # Something else that listens there: nobody has published it.
        assert pair.is_cut_off("tcp", host, 8080)
        assert pair.is_cut_off("udp", host, 8081)
        pair.outside.run("ping", "-c", "1", "-W", "30", host)
    # A port that is used again while the server, which hung up first, still remembers it.
    # (TCP itself may refuse that once, when the numbers of the two connections are too close.)
    assert pair.ask("tcp", HOST4, 9090, own_port=40000) == OUTSIDE4
    assert any(pair.ask("tcp", HOST4, 9090, own_port=40000) == OUTSIDE4 for _ in range(5))
    # What the machine asks of others is answered.
    server = subprocess.Popen(
        pair.outside.command(sys.executable, str(PEER), "serve", "udp", "53"),
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    server.stdout.readline()
    argv = [sys.executable, str(PEER), "ask", "udp", OUTSIDE4, "53", "0", "30"]
    assert pair.inside.run(*argv).strip() == HOST4
    server.kill()
    server.communicate()


def test_rules_at_run_time(pair: Pair) -> None:
    machine = pair.machine
    pair.serve("tcp", 22)
    pair.serve("tcp", 8080)
    pair.serve("tcp", 9090, in_user_cgroup=True)
    assert pair.is_cut_off("tcp", HOST4, 8080)
    rules = (
        f"[{{ports: [8080], from: [{OUTSIDE4}, 10.0.0.0/8]}}, {{ports: [22], interfaces: ['eth*'],"
        " action: reject}, {ports: [9090], action: drop}]"
    )
    code, _, errors = config(machine, "set", "orlop.firewall.rules", rules)
    assert code == 0, errors
    assert pair.ask("tcp", HOST4, 8080) == OUTSIDE4
    assert pair.is_cut_off("tcp", HOST6, 8080)
    assert pair.is_cut_off("tcp", HOST4, 9090)
    assert pair.ask("tcp", HOST4, 22) == ""
    status, shown = machine.request("GET", "/orlop/firewall")
    assert status == 200
    assert (shown["enabled"], shown["in_force"], shown["ports"]) == (True, True, ["22/tcp"])

    pair.serve("udp", 8081)
    pair.serve("tcp", 8081)
    assert (
        config(machine, "set", "orlop.firewall.rules", "[{ports: [8081], protocol: udp}]")[0] == 0
    )
    assert pair.ask("udp", HOST4, 8081) == OUTSIDE4
    assert pair.is_cut_off("tcp", HOST4, 8081)
    ruleset = ("nft", "-s", "list", "table", "inet", "orlop_host")
    assert "log prefix" in pair.inside.run(*ruleset)
    assert config(machine, "set", "orlop.firewall.log", "false")[0] == 0
    assert "log prefix" not in pair.inside.run(*ruleset)
    assert config(machine, "set", "orlop.firewall.rules", rules)[0] == 0

    # A wrong rule changes nothing.
    before = pair.inside.run("nft", "-s", "list", "table", "inet", "orlop_host")
    code, _, errors = config(
        machine, "merge", "-", stdin="orlop:\n firewall:\n  rules:\n  - {ports: ssh}\n"
    )
    assert code == 1
    assert ":4: configuration: orlop.firewall.rules[0].ports[0]: must be a port" in errors
    assert pair.inside.run("nft", "-s", "list", "table", "inet", "orlop_host") == before

    # Tables of others are theirs.
    pair.inside.run("nft", "add", "table", "inet", "theirs")
    assert config(machine, "set", "orlop.firewall.enabled", "false")[0] == 0
    assert pair.inside.run("nft", "list", "tables").split() == ["table", "inet", "theirs"]
    assert pair.ask("tcp", HOST6, 8080) == OUTSIDE6
    assert pair.ask("tcp", HOST4, 9090) == OUTSIDE4
    assert config(machine, "unset", "orlop.firewall")[0] == 0
    assert pair.is_cut_off("tcp", HOST4, 8080)
    assert "table inet theirs" in pair.inside.run("nft", "list", "tables")


def test_what_others_do_to_the_table_is_undone(pair: Pair, tmp_path: Path) -> None:
    pair.serve("tcp", 22)
    saved = tmp_path / "saved.nft"
    saved.write_text("flush ruleset\ntable inet orlop_host { chain input { }; }\n")

    def shown() -> str:
        argv = pair.inside.command("nft", "-s", "list", "table", "inet", "orlop_host")
        return subprocess.run(argv, capture_output=True, text=True, check=False).stdout

    before = shown()
    for wrong in (
        ("flush", "ruleset"),
        ("delete", "chain", "inet", "orlop_host", "input"),
        ("delete", "table", "inet", "orlop_host"),
        ("insert", "rule", "inet", "orlop_host", "input", "accept"),
        ("-f", str(saved)),
    ):
        pair.inside.run("nft", *wrong)
        wait_until(lambda: shown() == before, "the table being as it was")
    assert pair.ask("tcp", HOST4, 22) == OUTSIDE4
    # One that is not wanted does not come back.
    assert config(pair.machine, "set", "orlop.firewall.enabled", "false")[0] == 0
    pair.inside.run("nft", "add", "table", "inet", "orlop_host")
    pair.inside.run("nft", "flush", "ruleset")
    assert config(pair.machine, "set", "orlop.firewall.enabled", "true")[0] == 0
    assert shown() == before
    pair.inside.run("nft", "flush", "ruleset")
    wait_until(lambda: shown() == before, "the table being as it was")


def test_the_kernel_refuses(pair: Pair) -> None:
    """What was in force stays, and the machine says so."""
    machine = pair.machine
    before = pair.inside.run("nft", "-s", "list", "table", "inet", "orlop_host")
    group = machine.path("/sys/fs/cgroup/user")
    for inner in (group / "container", group):
        if inner.exists():
            inner.rmdir()
    assert config(machine, "set", "orlop.firewall.policy", "reject")[0] == 0
    status = machine.wait_for(lambda s: any("firewall: " in text for text in s["warnings"]))
    assert any("the kernel does not take the rules" in text for text in status["warnings"])
    after = pair.inside.run("nft", "-s", "list", "table", "inet", "orlop_host")
    # The cgroup's name is gone with it.
    assert [line for line in after.splitlines() if "cgroupv2" not in line] == [
        line for line in before.splitlines() if "cgroupv2" not in line
    ]
    group.mkdir()
    assert machine.request("POST", "/orlop/config/reload")[0] == 200
    assert "refuse" in pair.inside.run("nft", "list", "chain", "inet", "orlop_host", "input")
