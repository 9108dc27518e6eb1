"""Values of RancherOS that are taken apart: options of dockerd, routes, ntpd's file, upgrades."""

import pytest

from orlop.wire.config.document import Checked, check_document
from orlop.wire.located_yaml import parse_yaml


def check(text: str) -> Checked:
    return check_document(parse_yaml("c.yml", text))


def engine(options: str, key: str = "extra_args") -> tuple[object, list[str]]:
    """`orlop.engine`, and what was left out, of a document with dockerd's *options*."""
    checked = check(f"rancher: {{docker: {{{key}: {options}}}}}")
    orlop = checked.data.get("orlop", {})
    ignored = [notice.text for notice in checked.notices if notice.ignored]
    return orlop.get("engine") if isinstance(orlop, dict) else None, ignored


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ("[--mtu, 1400]", {"mtu": 1400}),
        ("[--mtu=1400, -D]", {"mtu": 1400, "debug": True}),
        ("--bip 172.30.0.1/16", {"bridge_address": "172.30.0.1/16"}),
        (
            "[--log-driver, local, --log-opt, max-size=2m, --log-opt, max-file=3]",
            {"log_driver": "local", "log_options": {"max-size": "2m", "max-file": "3"}},
        ),
        (
            "[--insecure-registry=a.example:5000, --insecure-registry, 10.0.0.0/8]",
            {"insecure_registries": ["a.example:5000", "10.0.0.0/8"]},
        ),
        (
            "[--dns, 192.0.2.53, --dns-search=example, '--default-ulimit=nofile=10:20']",
            {
                "dns": ["192.0.2.53"],
                "dns_search": ["example"],
                "default_ulimits": {"nofile": "10:20"},
            },
        ),
        ("[-s, overlay2, --live-restore, --userland-proxy=false]", None),
        ("[-H, 'unix:///var/run/docker.sock']", None),
    ],
)
def test_options_of_dockerd(options: str, found: object) -> None:
    assert engine(options) == (found, [])


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ("[--cgroup-parent, /x]", "--cgroup-parent is an option of dockerd without a key"),
        ("[1400]", "1400 is no option with its value"),
        ("[--mtu]", "--mtu is no option with its value"),
        ("[--mtu, many]", "mtu: must be"),
        (f"[--mtu, '{'9' * 5000}']", "mtu: must be"),
        ("[-H, 'tcp://0.0.0.0:2375']", "for clients with certificates: orlop.engine.tls"),
        ("[--storage-driver=zfs]", "--storage-driver is an option of dockerd without"),
    ],
)
def test_options_that_mean_nothing_here(options: str, what: str) -> None:
    found, [ignored] = engine(options)
    assert found is None
    assert what in ignored


def test_docker_over_tls() -> None:
    words = "[--tlsverify, --tlscacert=ca.pem, --tlskey=/etc/docker/tls/k.pem, '-H=0.0.0.0:2377']"
    assert engine(words, "tls_args") == ({"tls": {"listen": "0.0.0.0:2377"}}, [])
    _, [ignored] = engine("[--tlscert=/opt/own.pem]", "tls_args")
    assert "--tlscert is orlop.engine.tls.server_cert" in ignored


def test_variables_of_dockerd() -> None:
    found, [ignored] = engine(
        "['HTTP_PROXY=http://p:80', 'no_proxy=a,b', GODEBUG=1]", "environment"
    )
    assert found == {"http_proxy": "http://p:80", "no_proxy": ["a", "b"]}
    assert "GODEBUG" in ignored


def test_the_same_for_each_engine_is_said_once() -> None:
    checked = check(
        "rancher:\n"
        "  docker: {registry_mirror: 'http://m.example', extra_args: [--registry-mirror, "
        "'http://n.example']}\n"
        "  system_docker: {registry_mirror: 'http://m.example', storage_driver: overlay}\n"
        "  bootstrap_docker: {graph: /x}\n"
    )
    assert checked.data == {
        "orlop": {"engine": {"registry_mirrors": ["http://m.example", "http://n.example"]}}
    }
    [ignored] = [notice.text for notice in checked.notices if notice.ignored]
    assert "rancher.bootstrap_docker.graph" in ignored


def test_one_value_said_twice_and_another() -> None:
    same = "rancher: {docker: {mtu: 1400, extra_args: [--mtu, 1400]}}"
    assert check(same).data == {"orlop": {"engine": {"mtu": 1400}}}


def test_routes_that_commands_add() -> None:
    checked = check(
        """\
rancher:
  network:
    post_cmds: [ip -6 route replace default via fe80::1 dev eth0]
    interfaces:
      eth1:
        post_up:
        - ip route add 10.1.2.3/8 via 192.0.2.1 metric 50
        - [/sbin/ip, route, add, 10.9.0.0/16, dev, $iface, src, 192.0.2.7]
        - iptables -A INPUT -j ACCEPT
        pre_up: [ip route add here via there, ip link set eth1 up, ip route add]
"""
    )
    assert checked.data == {
        "orlop": {
            "network": {
                "routes": [
                    {"to": "default", "via": "fe80::1", "interface": "eth0"},
                    {"to": "10.0.0.0/8", "via": "192.0.2.1", "metric": 50},
                    {"to": "10.9.0.0/16", "interface": "eth1", "source": "192.0.2.7"},
                ]
            }
        }
    }
    ignored = [notice.text for notice in checked.notices if notice.ignored]
    assert len(ignored) == 4
    assert (
        "c.yml:6: configuration: rancher.network.interfaces.eth1.post_up: 'iptables" in ignored[0]
    )


def test_files_of_services_that_are_called_otherwise() -> None:
    checked = check(
        """\
write_files:
- {container: ntp, path: /etc/ntp.conf, content: "server a.example iburst\\npool b.example\\n#"}
- {container: docker, path: /etc/x, content: x}
- {container: mine, path: /etc/y, content: y}
"""
    )
    assert checked.data["orlop"] == {"time": {"servers": ["a.example"], "pools": ["b.example"]}}
    files = checked.data["write_files"]
    assert isinstance(files, list)
    assert [file["container"] for file in files if isinstance(file, dict)] == ["engine", "mine"]
    assert [notice.text.partition(": configuration: ")[2] for notice in checked.notices] == [
        "write_files[0]: its servers and pools are orlop.time.servers and pools here",
        "write_files[1]: service docker is called engine here",
    ]


def test_what_our_words_say_counts_more() -> None:
    checked = check(
        "orlop: {time: {servers: [own.example]}, services: {ntp: {definition: {image: x}}}}\n"
        "write_files: [{container: ntp, path: /etc/ntp.conf, content: server a.example}]\n"
    )
    assert isinstance(checked.data["orlop"], dict)
    assert checked.data["orlop"]["time"] == {"servers": ["own.example"]}
    assert checked.notices == ()


@pytest.mark.parametrize(
    ("policy", "automatic"), [("none", "off"), ("download", "stage"), ("auto", "apply")]
)
def test_the_policy_of_upgrades(policy: str, automatic: str) -> None:
    checked = check(f"rancher: {{upgrade: {{policy: {policy}, url: 'http://r.example/r.yml'}}}}")
    assert checked.data == {"orlop": {"update": {"automatic": automatic}}}
    [ignored] = [notice.text for notice in checked.notices if notice.ignored]
    assert "rancher.upgrade.url: releases come from orlop.update.source" in ignored
