"""Defaults of a settings file, as containers have them in the end."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from tests.engine.containers.engine_host import UserEngine, running
from tests.engine.networks.lab import SLEEP, ip

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, Any] = {
    "log_driver": "local",
    "log_options": {"max-size": "2m", "max-file": "3"},
    "default_ulimits": {"nofile": "321:654"},
    "dns": ["192.0.2.53"],
    "dns_search": ["corp.example"],
    "bridge_address": "10.201.7.1/24",
    "mtu": 1400,
    "address_pools": [{"base": "10.202.0.0/16", "size": 26}],
    "labels": ["rack=7"],
}


class WithSettings(UserEngine):
    """`orlop engine --settings`."""

    def command_line(self) -> list[str | Path]:
        path = self.directory / "settings.json"
        if not path.exists():
            path.write_text(json.dumps(SETTINGS))
        return [*super().command_line(), f"--settings={path}"]


def test_defaults(images: Path) -> None:
    with running(lambda directory: WithSettings(directory, images)) as engine:
        try:
            check_container(engine)
            check_networks(engine)
            check_another_address(engine)
        finally:
            for line in ip("-o", "link", "show", "type", "bridge").splitlines():
                ip("link", "delete", line.split(":")[1].strip())
            subprocess.run(["nft", "flush", "ruleset"], check=True)


def check_container(engine: UserEngine) -> None:
    ip("link", "set", "lo", "up")
    script = "ulimit -Sn; ulimit -Hn; cat /etc/resolv.conf"
    engine.run("first", ["sh", "-c", script])
    assert engine.wait("first") == 0
    lines = engine.logs("first").decode().split("\n")
    assert lines[:2] == ["321", "654"]
    assert "nameserver 192.0.2.53" in lines
    assert "search corp.example" in lines
    shown = engine.inspect("first")
    assert shown["HostConfig"]["LogConfig"] == {"Type": "local", "Config": SETTINGS["log_options"]}
    assert shown["HostConfig"]["Dns"] in (None, [])
    info = engine.request("GET", "/info")[1]
    assert (info["LoggingDriver"], info["Labels"]) == ("local", ["rack=7"])
    engine.request("DELETE", "/containers/first?force=1")


def check_networks(engine: UserEngine) -> None:
    engine.run("second", SLEEP)
    found = engine.inspect("second")["NetworkSettings"]["Networks"]["bridge"]
    assert (found["Gateway"], found["IPPrefixLen"]) == ("10.201.7.1", 24)
    assert "mtu 1400" in ip("link", "show", "orlop0")
    status, answer = engine.request("POST", "/networks/create", {"Name": "inner"})
    assert status == 201, answer
    [config] = engine.request("GET", "/networks/inner")[1]["IPAM"]["Config"]
    assert config["Subnet"] == "10.202.0.0/26"


def check_another_address(engine: UserEngine) -> None:
    """A new address waits until nobody is on the bridge: until the next boot."""
    path = engine.directory / "settings.json"
    path.write_text(json.dumps(SETTINGS | {"bridge_address": "10.203.0.1/24"}))
    engine.kill()
    engine.start()
    assert "10.201.7.1/24" in ip("address", "show", "orlop0")
    assert engine.inspect("second")["State"]["Running"]
    engine.request("DELETE", "/containers/second?force=1")
    engine.kill()
    ip("link", "delete", "orlop0")
    engine.start()
    engine.run("third", SLEEP)
    found = engine.inspect("third")["NetworkSettings"]["Networks"]["bridge"]
    assert found["Gateway"] == "10.203.0.1"
