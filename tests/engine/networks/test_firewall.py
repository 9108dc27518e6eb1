"""Published ports beside the machine's firewall, with the real kernel."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from orlop.system.network.firewall_rules import REMOVAL, plan
from tests.engine.networks.lab import HOST4, HOST6, OUTSIDE4, OUTSIDE6
from tests.engine.networks.test_bridge import publish

if TYPE_CHECKING:
    from tests.engine.networks.lab import Lab


def put_in_force(lab: Lab, *rules: dict[str, Any]) -> None:
    """The machine's rules; a cgroup in which nothing listens stands for that of the user."""
    cgroup = lab.engine.cgroup_root / "nobody"
    cgroup.mkdir(parents=True, exist_ok=True)
    text = plan({"rules": [*rules]}, [], cgroup=str(cgroup.relative_to("/sys/fs/cgroup")))
    text = text.replace("cgroupv2 level 1", "cgroupv2 level 2")
    subprocess.run(["nft", "-f", "-"], input=text, text=True, check=True)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_published_ports_come_in(lab: Lab, kind: str) -> None:
    lab.run("web", **publish(f"80/{kind}", "8080"))
    lab.run("client")
    lab.serve(lab.inside("web"), kind, 80)
    put_in_force(lab)

    assert lab.ask(lab.outside, kind, HOST4, 8080, timeout_s=30) == OUTSIDE4
    # Relayed by the engine, whose sockets have a mark.
    assert lab.ask(lab.outside, kind, HOST6, 8080, timeout_s=30) == "172.17.0.1"
    assert lab.ask(lab.inside("client"), kind, HOST4, 8080, timeout_s=30) == "172.17.0.1"
    assert lab.ask(None, kind, "127.0.0.1", 8080, timeout_s=30) == "172.17.0.1"

    put_in_force(
        lab,
        {"action": "allow", "to": "containers", "ports": [f"8080/{kind}"], "from": [OUTSIDE4]},
        {"action": "drop", "to": "containers", "ports": [f"8080/{kind}"]},
    )
    assert lab.ask(lab.outside, kind, HOST4, 8080, timeout_s=30) == OUTSIDE4
    assert lab.is_cut_off(lab.outside, kind, HOST6, 8080)
    put_in_force(
        lab,
        {"action": "allow", "to": "containers", "ports": [f"8080/{kind}"], "from": [OUTSIDE6]},
        {"action": "reject", "to": "containers", "interfaces": ["cable*"]},
    )
    assert lab.ask(lab.outside, kind, HOST4, 8080) == ""
    assert lab.ask(lab.outside, kind, HOST6, 8080, timeout_s=30) == "172.17.0.1"
    subprocess.run(["nft", "-f", "-"], input=REMOVAL, text=True, check=True)
    assert lab.ask(lab.outside, kind, HOST4, 8080, timeout_s=30) == OUTSIDE4
