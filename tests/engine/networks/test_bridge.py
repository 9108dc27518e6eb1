"""The default bridge and published ports, with the real kernel."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.containers.engine_host import UserEngine
from tests.engine.networks.lab import HOST4, HOST6, OUTSIDE4, SLEEP, ip

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import UserEngine
from tests.engine.networks.lab import Lab


def publish(port: str, *host_ports: str, host_ip: str = "") -> dict[str, Any]:
    bindings = [{"HostIp": host_ip, "HostPort": host_port} for host_port in host_ports or ("",)]
    return {"PortBindings": {port: bindings}}


def ports_of(lab: Lab, name: str) -> dict[str, Any]:
    ports = lab.engine.inspect(name)["NetworkSettings"]["Ports"]
    assert isinstance(ports, dict)
    return ports


def test_containers_reach_each_other_and_the_world_but_nobody_reaches_them(lab: Lab) -> None:
    first, second = lab.run("first"), lab.run("second")
    lab.serve(lab.inside("second"), "tcp", 80)
    lab.serve(lab.outside, "tcp", 81)
    lab.outside.run("ip", "route", "add", "172.16.0.0/12", "via", HOST4)

    assert first != second
    assert lab.ask(lab.inside("first"), "tcp", second, 80) == first
    assert lab.ask(None, "tcp", second, 80) == "172.17.0.1"
    # Out into the world as the host, and from there to nobody who did not publish anything.
    assert lab.ask(lab.inside("first"), "tcp", OUTSIDE4, 81) == HOST4
    assert lab.is_cut_off(lab.outside, "tcp", second, 80)


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_published_port(lab: Lab, kind: str) -> None:
    web = lab.run("web", **publish(f"80/{kind}", "8080"))
    client = lab.run("client")
    lab.serve(lab.inside("web"), kind, 80)

    assert lab.ask(lab.outside, kind, HOST4, 8080) == OUTSIDE4, "the source address is kept"
    assert lab.ask(None, kind, "127.0.0.1", 8080) == "172.17.0.1"
    assert lab.ask(None, kind, HOST4, 8080) != ""
    assert lab.ask(lab.inside("client"), kind, HOST4, 8080) == "172.17.0.1", "hairpin"
    assert lab.ask(lab.inside("web"), kind, HOST4, 8080) == "172.17.0.1", "hairpin to itself"
    # IPv6 to a container that has none: relayed, as by dockerd's proxy.
    assert lab.ask(lab.outside, kind, HOST6, 8080) == "172.17.0.1"
    assert lab.ask(None, kind, "::1", 8080) == "172.17.0.1"
    lab.filter_bridged(on=True)
    assert lab.ask(lab.inside("client"), kind, HOST4, 8080) != "", "hairpin with br_netfilter"
    assert lab.ask(lab.inside("client"), kind, web, 80) == client
    assert {web, client} == {"172.17.0.2", "172.17.0.3"}
    assert ports_of(lab, "web") == {
        f"80/{kind}": [
            {"HostIp": "0.0.0.0", "HostPort": "8080"},
            {"HostIp": "::", "HostPort": "8080"},
        ]
    }


def test_address_of_the_host_and_ephemeral_ports(lab: Lab) -> None:
    lab.run("local", **publish("80/tcp", "8080", host_ip="127.0.0.1"))
    lab.run("any", **publish("80/tcp"))
    for name in ("local", "any"):
        lab.serve(lab.inside(name), "tcp", 80)
    (chosen, same) = ports_of(lab, "any")["80/tcp"]

    assert lab.ask(None, "tcp", "127.0.0.1", 8080) == "172.17.0.1"
    assert lab.is_cut_off(lab.outside, "tcp", HOST4, 8080)
    assert chosen["HostPort"] == same["HostPort"]
    assert lab.ask(lab.outside, "tcp", HOST4, int(chosen["HostPort"])) == OUTSIDE4
    # Neighbours on the bridge do not get at 127.0.0.1 of the host.
    lab.inside("any").run("ip", "route", "add", "127.0.0.53", "via", "172.17.0.1")
    assert lab.is_cut_off(lab.inside("any"), "tcp", "127.0.0.53", 8080)


def test_datagrams_follow_the_port_to_another_container(lab: Lab) -> None:
    def ask() -> str:
        return lab.ask(lab.outside, "udp", HOST4, 8080, own_port=4000)

    assert ask() == "", "nobody is there, which the kernel remembers for a while"
    for name in ("first", "second"):
        lab.run(name, **publish("80/udp", "8080"))
        lab.serve(lab.inside(name), "udp", 80)
        assert ask() == OUTSIDE4
        lab.engine.request("DELETE", f"/containers/{name}?force=1")


def test_port_ranges_conflicts_and_release(lab: Lab) -> None:
    lab.run("one", **publish("80/tcp", "8000-8001"))
    lab.run("two", **publish("80/tcp", "8000-8001"))
    lab.engine.create("three", SLEEP, HostConfig=publish("80/tcp", "8001"))
    status, answer = lab.engine.request("POST", "/containers/three/start")

    assert ports_of(lab, "one")["80/tcp"][0]["HostPort"] == "8000"
    assert ports_of(lab, "two")["80/tcp"][0]["HostPort"] == "8001"
    assert status == 500
    assert "Bind for 0.0.0.0:8001 failed: port is already allocated" in answer["message"]
    assert lab.engine.state("three") == "created"

    lab.engine.request("POST", "/containers/two/stop?t=0")
    status, answer = lab.engine.request("POST", "/containers/three/start")
    assert status == 204, answer
    assert ports_of(lab, "two") == {}


def test_the_default_network_as_clients_name_it(lab: Lab) -> None:
    fields: dict[str, Any] = {"NetworkingConfig": {"EndpointsConfig": {"default": {}}}}
    lab.run("web", "default", fields=fields)
    inspected = lab.engine.inspect("web")

    assert list(inspected["NetworkSettings"]["Networks"]) == ["bridge"]
    assert inspected["HostConfig"]["NetworkMode"] == "bridge"
    _, answer = lab.engine.request(
        "POST", "/networks/bridge/disconnect", {"Container": "web", "Force": False}
    )
    assert lab.engine.inspect("web")["NetworkSettings"]["Networks"] == {}, answer
    assert "changed" not in lab.engine.log()


def test_list_shows_ports(lab: Lab) -> None:
    lab.run("web", fields={"ExposedPorts": {"90/tcp": {}}}, **publish("80/tcp", "8080"))
    _, listed = lab.engine.request("GET", "/containers/json")

    assert sorted(map(repr, listed[0]["Ports"])) == sorted(
        map(
            repr,
            [
                {"PrivatePort": 90, "Type": "tcp"},
                {"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"IP": "::", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            ],
        )
    )
    assert listed[0]["NetworkSettings"]["Networks"]["bridge"]["IPAddress"] == "172.17.0.2"


def test_networks_survive_a_killed_engine_and_come_back_after_a_flush(lab: Lab) -> None:
    web = lab.run("web", **publish("80/tcp", "8080"))
    lab.serve(lab.inside("web"), "tcp", 80)
    lab.engine.kill()
    assert lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4

    lab.engine.start()
    assert lab.address("web") == web
    assert lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4
    assert lab.run("next") not in ("", web)
    status, answer = lab.engine.request(
        "POST", "/containers/create?name=late", {"Image": "busybox", "Cmd": SLEEP,
        "HostConfig": publish("80/tcp", "8080")},
    )  # fmt: skip
    assert status == 201, answer
    assert lab.engine.request("POST", "/containers/late/start")[0] == 500

    subprocess.run(["nft", "add", "table", "ip", "other"], check=True)
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    subprocess.run(["nft", "add", "table", "ip", "other"], check=True)
    lab.engine.wait_until(lambda: lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4)
    subprocess.run(["nft", "delete", "chain", "inet", "orlop", "forward"], check=True)
    lab.engine.wait_until(lambda: "chain forward" in table())
    assert (
        "table ip other"
        in subprocess.run(
            ["nft", "list", "tables"], capture_output=True, text=True, check=True
        ).stdout
    )


def table() -> str:
    argv = ["nft", "list", "table", "inet", "orlop"]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout


def test_nothing_is_left_of_an_ended_container(lab: Lab) -> None:
    lab.run("web", **publish("80/tcp", "8080"))
    before = lab.engine.descriptors()
    assert "tcp . 8080" in table()
    lab.engine.request("DELETE", "/containers/web?force=1")

    lab.engine.wait_until(lambda: "tcp . 8080" not in table())
    lab.engine.wait_until(lambda: "master orlop0" not in ip("link", "show", "type", "veth"))
    assert lab.network("bridge")["Containers"] == {}
    assert lab.engine.descriptors() < before


def test_container_mode_shares_everything(lab: Lab) -> None:
    lab.run("first", **publish("80/tcp", "8080"))
    lab.engine.run("second", SLEEP, HostConfig={"NetworkMode": "container:first"})
    lab.serve(lab.inside("second"), "tcp", 80)

    assert lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4
    hosts = [lab.engine.execute(name, ["cat", "/etc/hosts"])[1] for name in ("first", "second")]
    assert hosts[0] == hosts[1]
    assert b"172.17.0.2" in hosts[0]


@pytest.mark.parametrize("option", ["--nft=/nonexistent", "--no-networks"])
def test_an_engine_without_networks_still_runs_containers(images: Path, option: str) -> None:
    directory = Path(tempfile.mkdtemp(prefix="ue-"))
    engine = UserEngine(directory, images, (option,))
    try:
        engine.start()
        engine.run("alone", ["true"], HostConfig={"NetworkMode": "none"})
        assert engine.wait("alone") == 0
        if option == "--no-networks":
            assert "orlop0" not in ip("link", "show")
            return
        engine.create("web", SLEEP, HostConfig={"NetworkMode": "bridge"})
        status, answer = engine.request("POST", "/containers/web/start")
        assert status == 503
        assert "/nonexistent" in answer["message"]
        warnings = engine.request("GET", "/info")[1]["Warnings"]
        assert any("container networks cannot be used" in text for text in warnings)
    finally:
        engine.stop()
        shutil.rmtree(directory)
        subprocess.run(["ip", "link", "delete", "orlop0"], check=False, capture_output=True)
