"""chronyd's configuration, from ours and from a lease."""

from pathlib import Path

import pytest

from orlop.services.time.main import chronyd_arguments, wait_for_lease
from orlop.services.time.settings import (
    DEFAULT_POOL,
    chrony_files,
    has_sources,
    pool_line,
    server_line,
)


def sources(settings: dict[str, object], dhcp: list[str]) -> list[str]:
    lines = chrony_files(settings, dhcp).configuration.splitlines()
    return [line for line in lines if line.startswith(("server ", "pool "))]


def test_configured_sources_are_the_only_ones() -> None:
    settings: dict[str, object] = {
        "servers": ["ntp.example", "192.0.2.1"],
        "pools": ["pool.example"],
    }
    assert has_sources(settings)
    assert sources(settings, ["10.0.0.1"]) == [
        "server ntp.example iburst",
        "server 192.0.2.1 iburst",
        "pool pool.example iburst maxsources 4",
    ]


def test_lease_then_public_pool() -> None:
    assert not has_sources({})
    assert sources({}, ["10.0.0.1"]) == ["server 10.0.0.1 iburst"]
    assert sources({}, []) == [f"pool {DEFAULT_POOL} iburst maxsources 4"]
    assert sources({"servers": ["bad name"]}, []) == [f"pool {DEFAULT_POOL} iburst maxsources 4"]


def test_keys() -> None:
    settings: dict[str, object] = {
        "servers": ["ntp.example key 7"],
        "keys": [
            "7 SHA256 HEX:00ff",
            "8 AES128 ASCII:secret",
            "9 SHA256 HEX:00ff\nx",
            "0 MD5 HEX:00",
        ],
    }
    assert sources(settings, []) == ["server ntp.example iburst key 7"]
    assert chrony_files(settings, []).keys == "7 SHA256 HEX:00ff\n8 AES128 ASCII:secret\n"


@pytest.mark.parametrize(
    "text", ["", "a b", "x\nserver y", "-x", "x key", "x key 0", "x key a", "a/b", "x:0", "x:70000"]
)
def test_no_server(text: str) -> None:
    assert server_line(text) == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("10.0.2.2:1123", "server 10.0.2.2 iburst port 1123"),
        ("[2001:db8::1]:1123", "server 2001:db8::1 iburst port 1123"),
        ("[2001:db8::1]", "server 2001:db8::1 iburst"),
        ("2001:db8::1", "server 2001:db8::1 iburst"),
        ("ntp.example:99 key 3", "server ntp.example iburst port 99 key 3"),
    ],
)
def test_ports(text: str, line: str) -> None:
    assert server_line(text) == line


def test_no_pool() -> None:
    assert pool_line("x iburst") == ""
    assert pool_line("2001:db8::1") == "pool 2001:db8::1 iburst maxsources 4"


def test_nothing_listens() -> None:
    lines = chrony_files({}, []).configuration.splitlines()
    assert "port 0" in lines
    assert "cmdport 0" in lines


def test_arguments() -> None:
    assert chronyd_arguments("/x")[1:] == ["-U", "-n", "-u", "chrony", "-f", "/x/chrony.conf"]


def test_servers_of_a_lease(tmp_path: Path) -> None:
    path = tmp_path / "ntp-servers"
    assert wait_for_lease(str(path), 0.0) == []
    path.write_text("10.0.0.1\n10.0.0.2\n")
    assert wait_for_lease(str(path), 0.0) == ["10.0.0.1", "10.0.0.2"]
