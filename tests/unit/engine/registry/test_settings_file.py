"""What a settings file says over the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orlop.engine.defaults import ContainerDefaults
from orlop.engine.options import parse
from orlop.engine.registry.job import Job, parse_job, to_json
from orlop.engine.registry.settings import KnownRegistry, Registries
from orlop.engine.settings_file import FileSettings, read
from orlop.wire.registry.proxies import Proxies

if TYPE_CHECKING:
    from pathlib import Path

BASE = Registries(mirrors=("https://one",), search="two", proxies=Proxies(http="http://p"))


def test_keys_count_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(
        json.dumps(
            {
                "registry_mirrors": ["https://three"],
                "insecure_registries": ["10.0.0.0/8"],
                "https_proxy": "q:3128",
                "no_proxy": ["a,b", ".c"],
                "registries": {"r:5000": {"username": "me", "password": "secret"}},
            }
        )
    )
    found = read(path, BASE).registries
    assert (found.mirrors, found.search) == (("https://three",), "two")
    assert found.insecure == ("10.0.0.0/8",)
    assert found.proxies == Proxies(http="http://p", https="http://q:3128", none=("a", "b", ".c"))
    assert found.find("r:5000") == KnownRegistry(host="r:5000", username="me", password="secret")
    assert found.find("r") is None
    assert "secret" not in repr(found)
    docker = Registries(known=(KnownRegistry(host="docker.io", username="me"),))
    assert docker.find("any.docker.io") == docker.known[0]
    # A worker is told all of it.
    assert parse_job(to_json(Job(action="pull", registries=found))).registries == found


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "[]",
        '{"registry_mirrors": 1}',
        '{"http_proxy": "socks5://x"}',
        "[" * 100_000,
        '{"log_options": {"x": "y"}}',
        '{"default_ulimits": {"nofile": "many"}}',
        '{"mtu": "big"}',
    ],
)
def test_a_wrong_file_counts_for_nothing(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    assert read(path, BASE) == FileSettings(registries=BASE)
    assert "ignoring all of them" in caplog.text


def test_no_file_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert read(tmp_path / "none", BASE) == FileSettings(registries=BASE)
    assert caplog.text == ""


def test_defaults_of_containers(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text(
        json.dumps(
            {
                "log_driver": "local",
                "log_options": {"max-size": "10m"},
                "default_ulimits": {"nofile": "1024:4096", "core": "0:0"},
                "dns": ["192.0.2.53"],
                "dns_search": ["example"],
                "dns_options": ["ndots:2"],
                "bridge_address": "172.30.0.1/16",
                "mtu": 1450,
                "address_pools": [{"base": "10.200.0.0/16", "size": 24}],
                "debug": True,
                "labels": ["rack=7"],
                "userns_remap": "100000:65536",
            }
        )
    )
    options = parse([f"--settings={path}", "--bridge=test0"])
    settings = options.settings()
    assert settings.defaults == ContainerDefaults(
        log_driver="local",
        log_options=(("max-size", "10m"),),
        ulimits=(("nofile", 1024, 4096), ("core", 0, 0)),
        dns=("192.0.2.53",),
        dns_search=("example",),
        dns_options=("ndots:2",),
    )
    assert settings.networks is not None
    assert (settings.networks.subnet, settings.networks.mtu) == ("172.30.0.1/16", 1450)
    assert settings.networks.pools == (("10.200.0.0/16", 24),)
    assert (settings.debug, settings.labels, settings.userns_remap) == (
        True,
        ("rack=7",),
        (100000, 65536),
    )
