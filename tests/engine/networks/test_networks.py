"""Networks of one's own: names, connecting, isolation, IPv6, and what is refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.engine.networks.lab import HOST4, OUTSIDE4, OUTSIDE6, SLEEP, ip

if TYPE_CHECKING:
    from tests.engine.networks.lab import Lab


def lookup(lab: Lab, name: str, wanted: str) -> str:
    """What the container *name* is told about *wanted*, in one line; empty: nothing."""
    _, output = lab.engine.execute(name, ["busybox", "nslookup", wanted])
    lines = output.decode().splitlines()
    after = lines.index("") if "" in lines else 0
    return " ".join(line.split()[-1] for line in lines[after:] if line.startswith("Address"))


def endpoint(network: str, **settings: Any) -> dict[str, Any]:
    return {"NetworkingConfig": {"EndpointsConfig": {network: settings}}}


def call(lab: Lab, action: str, network: str, container: str, **settings: Any) -> tuple[int, Any]:
    body = {"Container": container, "EndpointConfig": settings}
    return lab.engine.request("POST", f"/networks/{network}/{action}", body)


def test_names(lab: Lab) -> None:
    lab.create_network("back")
    lab.serve(lab.outside, "dns", 53)
    web = lab.run("web", "back", fields={**endpoint("back", Aliases=["www"]), "Hostname": "box"})
    other = lab.run("other", "back", Dns=[OUTSIDE4])
    lab.engine.run("third", SLEEP, HostConfig={"NetworkMode": "back"},
                   **endpoint("back", Links=["web:database"]))  # fmt: skip
    short_id = lab.engine.inspect("web")["Id"][:12]

    for name in ("web", "WWW", "box", "web.back", short_id):
        assert lookup(lab, "other", name) == web, name
    assert lookup(lab, "web", "other") == other
    assert lookup(lab, "third", "database") == web
    # Compose says links twice, of which those of the default bridge mean nothing here.
    linked = endpoint("back", Links=["web:database"])
    lab.run("fourth", "back", Links=["web:database"], fields=linked)
    assert lookup(lab, "fourth", "database") == web
    assert lookup(lab, "other", "database") == "203.0.113.7", "from the name server outside"
    reverse = lab.engine.execute("other", ["busybox", "nslookup", web])[1]
    assert b"web.back" in reverse

    lab.engine.request("POST", "/containers/web/rename?name=site")
    assert lookup(lab, "other", "site") == web
    lab.engine.kill()
    lab.engine.start()
    lab.engine.wait_until(lambda: lookup(lab, "other", "www") == web)
    lab.engine.request("POST", "/containers/site/stop?t=0")
    assert lookup(lab, "other", "www") == "203.0.113.7"


def test_a_container_may_have_a_name_server_of_its_own(lab: Lab) -> None:
    lab.create_network("back")
    lab.run("web", "back")
    lab.serve(lab.inside("web"), "udp", 53)
    lab.serve(lab.inside("web"), "tcp", 53)

    assert lookup(lab, "web", "web") == lab.address("web", "back")


def test_several_of_one_name(lab: Lab) -> None:
    lab.create_network("back")
    addresses = {
        lab.run(f"web{number}", "back", fields=endpoint("back", Aliases=["web"]))
        for number in range(3)
    }
    assert set(lookup(lab, "web0", "web").split()) == addresses


def test_connect_and_disconnect_while_running(lab: Lab) -> None:
    for name in ("one", "two"):
        lab.create_network(name)
    lab.run("web", PortBindings={"80/tcp": [{"HostPort": "8080"}]})
    lab.run("peer", "two")
    lab.serve(lab.inside("web"), "tcp", 80)
    assert lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4

    assert call(lab, "connect", "one", "web", GwPriority=5)[0] == 200
    assert call(lab, "connect", "two", "web", Aliases=["www"])[0] == 200
    status, answer = call(lab, "connect", "two", "web")
    assert (status, answer["message"]) == (
        403,
        "endpoint with name web already exists in network two",
    )
    assert lookup(lab, "peer", "www") == lab.address("web", "two")
    assert lookup(lab, "web", "peer") == lab.address("peer", "two")
    assert lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4
    hosts = lab.engine.execute("web", ["cat", "/etc/hosts"])[1].decode()
    for name in ("bridge", "one", "two"):
        assert lab.address("web", name) in hosts
    route = lab.inside("web").run("ip", "route", "show", "default")
    assert lab.network("one")["IPAM"]["Config"][0]["Gateway"] in route

    for name in ("bridge", "one"):
        assert call(lab, "disconnect", name, "web")[0] == 200
    assert list(lab.engine.inspect("web")["NetworkSettings"]["Networks"]) == ["two"]
    assert lab.ask(lab.outside, "tcp", HOST4, 8080) == OUTSIDE4, "by way of the network left"
    assert call(lab, "disconnect", "one", "web")[0] == 500
    before = lab.address("web", "two")
    lab.engine.request("POST", "/containers/web/restart?t=0")
    assert lab.address("web", "two") not in ("", before)
    assert list(lab.engine.inspect("web")["NetworkSettings"]["Networks"]) == ["two"]
    assert lookup(lab, "peer", "www") == lab.address("web", "two")


def test_networks_are_apart(lab: Lab) -> None:
    lab.create_network("one")
    lab.create_network("two")
    lab.create_network("alone", Options={"com.docker.network.bridge.enable_icc": "false"})
    lab.create_network("inner", Internal=True)
    first, second = lab.run("first", "one"), lab.run("second", "two")
    lab.run("hidden", "inner")
    hidden = lab.run("hidden2", "inner")
    lab.run("alone1", "alone")
    alone = lab.run("alone2", "alone", PortBindings={"80/tcp": [{"HostPort": "8080"}]})
    lab.serve(lab.outside, "tcp", 81)
    for name in ("second", "hidden2", "alone2"):
        lab.serve(lab.inside(name), "tcp", 80)

    assert first
    assert lab.is_cut_off(lab.inside("first"), "tcp", second, 80)
    assert lab.ask(lab.inside("hidden"), "tcp", hidden, 80) == lab.address("hidden", "inner")
    assert lab.inside("hidden").run("ip", "route", "show", "default") == ""
    assert lookup(lab, "hidden", "hidden2") == hidden
    assert lookup(lab, "hidden", "elsewhere.example") == ""
    lab.inside("hidden").run("ip", "route", "add", "default", "via", gateway(lab, "inner"))
    assert lab.is_cut_off(lab.inside("hidden"), "tcp", OUTSIDE4, 81), "not by force either"
    assert lab.is_cut_off(lab.inside("alone1"), "tcp", alone, 80)
    assert lab.ask(lab.inside("alone1"), "tcp", HOST4, 8080) != "", "what is published is public"
    assert lab.ask(lab.inside("first"), "tcp", HOST4, 8080) == lab.address("first", "one")


def gateway(lab: Lab, name: str) -> str:
    return str(lab.network(name)["IPAM"]["Config"][0]["Gateway"])


def test_ipv6(lab: Lab) -> None:
    lab.create_network("six", EnableIPv6=True)
    lab.run("web", "six", PortBindings={"80/tcp": [{"HostPort": "8080"}]})
    lab.run("client", "six")
    lab.serve(lab.inside("web"), "tcp", 80)
    lab.serve(lab.outside, "tcp", 81)
    addresses = {
        name: lab.engine.inspect(name)["NetworkSettings"]["Networks"]["six"]["GlobalIPv6Address"]
        for name in ("web", "client")
    }

    assert addresses["web"].startswith("fd")
    assert lab.ask(lab.inside("client"), "tcp", addresses["web"], 80) == addresses["client"]
    assert addresses["web"] in lookup(lab, "client", "web")
    assert lab.ask(lab.outside, "tcp", "2001:db8::1", 8080) == OUTSIDE6, "source kept"
    assert lab.ask(lab.inside("client"), "tcp", OUTSIDE6, 81) == "2001:db8::1"
    assert lab.ask(None, "tcp", "::1", 8080) != ""


def test_static_addresses_and_options(lab: Lab) -> None:
    pool = {
        "Subnet": "10.77.0.0/16",
        "IPRange": "10.77.5.0/24",
        "Gateway": "10.77.0.9",
        "AuxiliaryAddresses": {"router": "10.77.5.1"},
    }
    options = {
        "com.docker.network.bridge.name": "mine0",
        "com.docker.network.driver.mtu": "1300",
        "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1",
    }
    lab.create_network("fixed", IPAM={"Config": [pool]}, Options=options, Labels={"a": "b"})
    settings = {"IPAMConfig": {"IPv4Address": "10.77.9.9"}, "MacAddress": "02:00:00:00:00:07"}
    named = lab.run("named", "fixed", fields=endpoint("fixed", **settings))
    free = lab.run("free", "fixed", PortBindings={"80/tcp": [{}]})
    shown = lab.network("fixed")

    assert (named, free) == ("10.77.9.9", "10.77.5.0")
    link = lab.inside("named").run("ip", "link", "show", "eth0")
    assert "mtu 1300" in link
    assert "02:00:00:00:00:07" in link
    assert "10.77.0.9/16" in ip("address", "show", "mine0")
    assert shown["IPAM"]["Config"] == [pool]
    assert (shown["Options"], shown["Labels"]) == (options, {"a": "b"})
    assert {item["IPv4Address"] for item in shown["Containers"].values()} == {
        "10.77.9.9/16",
        "10.77.5.0/16",
    }
    ports = lab.engine.inspect("free")["NetworkSettings"]["Ports"]["80/tcp"]
    assert [port["HostIp"] for port in ports] == ["127.0.0.1"]
    lab.engine.create(
        "late", SLEEP, HostConfig={"NetworkMode": "fixed"}, **endpoint("fixed", **settings)
    )
    status, answer = lab.engine.request("POST", "/containers/late/start")
    assert status == 403
    assert "Address already in use" in answer["message"]
    lab.engine.request("POST", "/containers/named/restart?t=0")
    assert lab.address("named", "fixed") == "10.77.9.9"


def test_macvlan(lab: Lab) -> None:
    pool = {"Subnet": "192.0.2.0/24", "IPRange": "192.0.2.128/25", "Gateway": "192.0.2.2"}
    lab.create_network(
        "lan", Driver="macvlan", IPAM={"Config": [pool]}, Options={"parent": "cable0"}
    )
    ip(
        "link", "add", "eth0", "type", "veth", "peer", "eth0-end"
    )  # most hosts have one of that name
    web = lab.run("web", "lan")
    ip("link", "delete", "eth0")
    assert "eth0" in lab.inside("web").run("ip", "link")
    lab.serve(lab.inside("web"), "tcp", 80)
    lab.serve(lab.outside, "tcp", 81)

    assert web == "192.0.2.128"
    assert lab.ask(lab.outside, "tcp", web, 80) == OUTSIDE4
    assert lab.ask(lab.inside("web"), "tcp", OUTSIDE4, 81) == web
    lab.run("other", "lan")
    assert lookup(lab, "other", "web") == web
    lab.engine.request("DELETE", "/containers/web?force=1")
    lab.engine.request("DELETE", "/containers/other?force=1")
    assert lab.engine.request("DELETE", "/networks/lan")[0] == 204
    assert "cable0" in ip("link", "show")


def test_an_interface_that_somebody_deleted_is_made_again(lab: Lab) -> None:
    id_ = lab.create_network("mine")
    ip("link", "delete", f"br-{id_[:12]}")
    first, second = lab.run("first", "mine"), lab.run("second", "mine")
    lab.serve(lab.inside("second"), "tcp", 80)

    assert lab.ask(lab.inside("first"), "tcp", second, 80) == first
    pool = {"Subnet": "10.8.0.0/16"}
    status, answer = lab.engine.request(
        "POST",
        "/networks/create",
        {
            "Name": "lan",
            "Driver": "macvlan",
            "IPAM": {"Config": [pool]},
            "Options": {"parent": "eth77"},
        },
    )
    assert status == 500
    assert "no interface eth77 on this host" in answer["message"]
    assert lab.engine.request("GET", "/networks/lan")[0] == 404
    named = {"com.docker.network.bridge.name": "cable0"}
    status, answer = lab.engine.request(
        "POST", "/networks/create", {"Name": "x1", "Options": named}
    )
    assert status == 500
    assert "existing interface cable0 is not a bridge" in answer["message"]
    assert "cable0" in ip("link"), "it is not ours to delete"
    options = {"com.docker.network.endpoint.ifname": "wan"}
    lab.run("named", "mine", fields=endpoint("mine", DriverOpts=options))
    assert "wan" in lab.inside("named").run("ip", "link")


def test_default_bridge_links_and_hosts(lab: Lab) -> None:
    web = lab.run("web")
    lab.run("client", Links=["web:db"], ExtraHosts=["here:host-gateway", "far:192.0.2.99"])
    hosts = lab.engine.execute("client", ["cat", "/etc/hosts"])[1].decode()

    assert f"{web}\tdb" in hosts
    assert "172.17.0.1\there" in hosts
    assert "192.0.2.99\tfar" in hosts
    lab.engine.request("POST", "/containers/web/stop?t=0")
    lab.engine.create("late", SLEEP, HostConfig={"Links": ["web:db"]})
    status, answer = lab.engine.request("POST", "/containers/late/start")
    assert status == 409
    assert "Cannot link to a non running container: /web AS /late/db" in answer["message"]
    assert lab.engine.inspect("late")["HostConfig"]["Links"] == ["/web:/late/db"]
    lab.engine.request("POST", "/containers/web/rename?name=shop")
    assert lab.engine.inspect("late")["HostConfig"]["Links"] == ["/shop:/late/db"]


def test_networks_are_kept_and_removed(lab: Lab) -> None:
    created = lab.create_network("kept", EnableIPv6=True, Labels={"keep": "yes"})
    lab.create_network("spare")
    lab.run("web", "kept")
    status, answer = lab.engine.request("DELETE", "/networks/kept")
    assert status == 403
    assert 'network kept has active endpoints (name:"web" id:"' in answer["message"]
    before = lab.network("kept")
    lab.engine.cut_power()
    ip("link", "delete", before["Id"] and f"br-{created[:12]}")

    lab.engine.start()
    assert {**lab.network("kept"), "Containers": {}} == {**before, "Containers": {}}
    assert lab.engine.request("POST", "/containers/web/start")[0] == 204
    assert lab.address("web", "kept")
    status, answer = lab.engine.request("POST", "/networks/prune")
    assert (status, answer) == (200, {"NetworksDeleted": ["spare"]})
    lab.engine.request("DELETE", "/containers/web?force=1")
    assert lab.engine.request("DELETE", f"/networks/{created[:8]}")[0] == 204
    assert f"br-{created[:12]}" not in ip("link", "show")
    status, answer = lab.engine.request("GET", "/networks/kept")
    assert (status, answer["message"]) == (404, "network kept not found")


def test_a_removal_that_was_interrupted_is_ended(lab: Lab) -> None:
    """Whose name another network has by then."""
    old = lab.create_network("twice")
    files = lab.engine.directory / "data/networks"
    kept = (files / f"{old}.json").read_bytes()
    assert lab.engine.request("DELETE", "/networks/twice")[0] == 204
    new = lab.create_network("twice")
    lab.engine.kill()
    (files / f"{old}.json").write_bytes(kept)
    ip("link", "add", f"br-{old[:12]}", "type", "bridge")

    lab.engine.start()
    _, listed = lab.engine.request("GET", "/networks")
    assert [network["Id"] for network in listed if network["Name"] == "twice"] == [new]
    assert f"br-{old[:12]}" not in lab.interfaces()
    assert f"br-{new[:12]}" in lab.interfaces()
    assert not (files / f"{old}.json").exists()


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ('{"driver":["host"]}', ["host"]),
        ('{"name":["brid"]}', ["bridge"]),
        ('{"type":["custom"]}', ["mine"]),
        ('{"label":["a=b"]}', ["mine"]),
        ('{"dangling":["true"]}', ["mine"]),
        ('{"scope":["swarm"]}', []),
    ],
)
def test_filters(lab: Lab, filters: str, names: list[str]) -> None:
    lab.create_network("mine", Labels={"a": "b"})
    status, listed = lab.engine.request("GET", f"/networks?filters={quote(filters)}")

    assert status == 200
    assert [network["Name"] for network in listed] == names


def test_events(lab: Lab) -> None:
    id_ = lab.create_network("mine")
    lab.run("web", "mine")
    lab.engine.request("DELETE", "/containers/web?force=1")
    lab.engine.request("DELETE", "/networks/mine")
    filters = quote('{"type":["network"]}')
    _, events = lab.engine.lines("GET", f"/events?since=1&until={time.time()}&filters={filters}")

    assert [event["Action"] for event in events] == ["create", "connect", "disconnect", "destroy"]
    assert {event["Actor"]["ID"] for event in events} == {id_}
    attributes = events[1]["Actor"]["Attributes"]
    assert (attributes["name"], attributes["type"]) == ("mine", "bridge")
    assert len(attributes["container"]) == 64


def test_refusals(lab: Lab) -> None:
    def create(**fields: Any) -> tuple[int, str]:
        status, answer = lab.engine.request("POST", "/networks/create", fields)
        return status, str(answer.get("message", ""))

    lab.create_network("mine")
    lab.run("web", "mine")
    lab.engine.create("lost", SLEEP, HostConfig={"NetworkMode": "nowhere"})

    assert create(Name="mine") == (409, "network with name mine already exists")
    assert create(Name="bridge")[0] == 403
    assert create(Name="x1", Driver="overlay")[0] == 404
    assert create(Name="x1", IPAM={"Config": [{"Subnet": "172.18.0.0/24"}]})[0] == 403
    assert create(Name="x1", Internal=1)[0] == 400
    status, answer = lab.engine.request("POST", "/containers/lost/start")
    assert status == 404
    assert answer["message"].endswith("network nowhere not found")
    assert lab.engine.request("DELETE", "/networks/bridge")[0] == 403
    assert call(lab, "connect", "host", "web")[0] == 403
    assert call(lab, "connect", "nowhere", "web")[0] == 404
    shown = lab.engine.inspect("web")["NetworkSettings"]["Networks"]["mine"]
    assert shown["DNSNames"] == ["web", lab.engine.inspect("web")["Id"][:12]]
