"""What a container gets when its request says nothing: the engine's defaults, as daemon.json's.

Log driver and options become part of the request and are shown by `inspect`, as dockerd does it;
limits that it does not set are added; name servers hold for those that have none of their own.
Source: moby 28 daemon/logs.go, daemon/oci_linux.go, daemon/container_operations.go.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.wire.docker.fields import Object

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig

    type Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerDefaults:
    """Empty fields change nothing. *ulimits*: name, soft and hard limit."""

    log_driver: str = ""
    log_options: Pairs = ()
    ulimits: tuple[tuple[str, int, int], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()

    def fill(self, body: Object) -> Object:
        """The request *body* with the defaults in it.

        Raises:
            InvalidArgument: a field of the request has another type.
        """
        if not self.log_driver and not self.log_options and not self.ulimits:
            return body
        host = body.section("HostConfig")
        filled = dict(host.items())
        log = host.section("LogConfig")
        default = self.log_driver or "json-file"
        driver = log.text("Type") or default
        if driver == default:
            options = dict(self.log_options) | dict(log.text_map("Config"))
            filled["LogConfig"] = {"Type": driver, "Config": options}
        limits = host.sections("Ulimits")
        own = {limit.text("Name").lower() for limit in limits}
        filled["Ulimits"] = [dict(limit.items()) for limit in limits] + [
            {"Name": name, "Soft": soft, "Hard": hard}
            for name, soft, hard in self.ulimits
            if name not in own
        ]
        return Object(dict(body.items()) | {"HostConfig": filled})

    def name_servers(self, config: ContainerConfig) -> ContainerConfig:
        """*config* with the name servers and search domains that it does not name itself."""
        if not (self.dns or self.dns_search or self.dns_options):
            return config
        known = config.networking
        networking = replace(
            known,
            dns=known.dns or self.dns,
            dns_search=known.dns_search or self.dns_search,
            dns_options=known.dns_options or self.dns_options,
        )
        return replace(config, networking=networking)
