"""`orlop disks` and `orlop net`: the machine as a table and as JSON."""

import json
from pathlib import Path

import pytest

from orlop.cli import net
from orlop.cli.main import main
from tests.unit.cli.fake_engine import FakeEngine

DISKS = {
    "disks": [
        {
            "device": "/dev/sda",
            "size_bytes": 8 << 30,
            "vendor": "ACME",
            "model": "Disk",
            "serial": "X1",
            "rotational": True,
            "health": {"state": "running", "io_errors": 2, "temperature_c": 41.0},
            "content": {"filesystem": "", "mounts": []},
            "partitions": [
                {
                    "device": "/dev/sda1",
                    "size_bytes": 4 << 30,
                    "label": "state",
                    "content": {
                        "filesystem": "ext4",
                        "label": "ORLOP_STATE",
                        "is_state": True,
                        "mounts": ["/var"],
                        "total_bytes": 4 << 30,
                        "used_bytes": 1 << 30,
                    },
                }
            ],
        },
        {
            "device": "/dev/vdb",
            "size_bytes": 1 << 20,
            "health": {"state": "running"},
            "content": {},
            "partitions": [],
        },
    ],
    "persistence": {"kind": "disk", "device": "/dev/sda1", "paths": ["/var"]},
}


def test_disks(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("GET /orlop/disks", DISKS)
    assert main(["disks"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["DEVICE", "SIZE", "TYPE", "LABEL", "USED", "MOUNTED", "HEALTH", "WHAT"],
        [
            *("/dev/sda", "8.0", "GiB", "-", "-", "-", "-", "running,", "2", "errors,", "41", "C"),
            *("ACME", "Disk", "(X1)", "rotating"),
        ],
        [
            *("/dev/sda1*", "4.0", "GiB", "ext4", "ORLOP_STATE", "1.0", "GiB", "(25%)", "/var"),
            *("-", "state"),
        ],
        ["/dev/vdb", "1.0", "MiB", "-", "-", "-", "-", "well", "-"],
        [],
        ["kept", "on", "/dev/sda1:", "/var;", "all", "else", "is", "new", "at", "each", "boot"],
    ]
    assert main(["disks", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == DISKS


def test_no_disk_keeps_nothing(engine: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    engine.answer("GET /orlop/disks", {"disks": [], "persistence": {"kind": "memory"}})
    assert main(["disks"]) == 0
    assert "nothing is kept" in capsys.readouterr().out


@pytest.fixture
def network(engine: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    listeners = [
        {
            "protocol": "tcp",
            "address": "::",
            "port": 22,
            "pid": 7,
            "program": "dropbear",
            "realm": "system",
            "container": "ssh",
        },
        {
            "protocol": "udp",
            "address": "0.0.0.0",
            "port": 53,
            "pid": 8,
            "program": "dns",
            "realm": "user",
            "container": "f" * 64,
        },
    ]
    engine.answer("GET /orlop/listeners", {"listeners": listeners})
    user = FakeEngine(tmp_path / "user.sock")
    ports = [{"IP": "0.0.0.0", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"}]
    user.answer(
        "GET /containers/json",
        [{"Id": "f" * 64, "Names": ["/dns"]}, {"Id": "e", "Names": ["/web"], "Ports": ports}],
    )
    monkeypatch.setattr(net, "USER_SOCKET", str(tmp_path / "user.sock"))
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("search a.example b.example\nnameserver 192.0.2.53\n# x\n")
    monkeypatch.setattr(net, "RESOLV_CONF", str(resolv))
    return engine


def test_ports_have_their_containers(
    network: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["net", "ports"]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["tcp", "[::]:22", "dropbear", "ssh", "system"],
        ["udp", "0.0.0.0:53", "dns", "dns", "user"],
        ["tcp", "0.0.0.0:8080", "-", "web", "port", "80", "published"],
    ]


def test_the_real_network_of_this_machine(
    network: FakeEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["net", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == set(net.VERBS)
    (loopback,) = [link for link in found["links"] if link["name"] == "lo"]
    assert loopback["mtu"] >= 1500
    assert loopback["received_bytes"] >= 0
    local = [row for row in found["addresses"] if row["interface"] == "lo"]
    assert {"interface": "lo", "address": "127.0.0.1/8", "scope": "host", "lease_s": None} in local
    assert found["dns"] == {"servers": ["192.0.2.53"], "search": ["a.example", "b.example"]}
    assert isinstance(found["routes"], list)


def test_the_network_as_tables(network: FakeEngine, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["net"]) == 0
    text = capsys.readouterr().out
    for head in ("INTERFACE   ", "DESTINATION", "NAME SERVERS", "PORT ", "ADDRESS"):
        assert head in text
    assert main(["net", "cables"]) == 2
