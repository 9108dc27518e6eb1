"""What containers get when their requests say nothing."""

from typing import Any

import pytest

from orlop.engine.api.create_request import parse_create
from orlop.engine.container.config import ContainerConfig
from orlop.engine.defaults import ContainerDefaults
from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import LogLimits, Ulimit
from orlop.wire.docker.fields import Object

DEFAULTS = ContainerDefaults(
    log_driver="local",
    log_options=(("max-size", "10m"), ("max-file", "3")),
    ulimits=(("nofile", 1024, 4096), ("core", 0, 0)),
    dns=("192.0.2.53",),
    dns_search=("example",),
)


def create(defaults: ContainerDefaults, **host: Any) -> ContainerConfig:
    body = defaults.fill(Object({"Image": "i", "HostConfig": host}))
    return defaults.name_servers(parse_create(body, "c", networks=True))


def test_a_request_that_says_nothing() -> None:
    config = create(DEFAULTS)
    assert (config.log_driver, config.log_limits) == ("local", LogLimits(10 << 20, 3))
    assert config.ulimits == (Ulimit("nofile", 1024, 4096), Ulimit("core", 0, 0))
    assert (config.networking.dns, config.networking.dns_search) == (("192.0.2.53",), ("example",))
    nothing = Object({"Image": "i", "HostConfig": {}})
    assert create(ContainerDefaults()) == parse_create(nothing, "c", networks=True)


def test_what_it_says_counts() -> None:
    config = create(
        DEFAULTS,
        LogConfig={"Type": "", "Config": {"max-file": "5"}},
        Ulimits=[{"Name": "nofile", "Soft": 7, "Hard": 8}],
        Dns=["192.0.2.1"],
    )
    assert config.log_limits == LogLimits(10 << 20, 5)
    assert config.ulimits == (Ulimit("nofile", 7, 8), Ulimit("core", 0, 0))
    assert config.networking.dns == ("192.0.2.1",)
    # Options are of the driver that they are for.
    other = create(DEFAULTS, LogConfig={"Type": "json-file", "Config": {}})
    assert (other.log_driver, other.log_limits) == ("json-file", None)


def test_options_of_a_driver_that_the_request_does_not_name() -> None:
    syslog = ContainerDefaults(log_driver="syslog")
    options = {"syslog-address": "udp://192.0.2.9:514"}
    assert create(syslog, LogConfig={"Config": options}).log_driver == "syslog"
    with pytest.raises(InvalidArgument):
        create(syslog, LogConfig={"Type": "json-file", "Config": options})
