"""The command line of `orlop engine`, and the engine's settings that follow from it."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orlop import __version__
from orlop.engine import settings_file
from orlop.engine.defaults import ContainerDefaults
from orlop.engine.registry.settings import Registries
from orlop.engine.settings import (
    DEFAULT_BRIDGE,
    DEFAULT_NFT,
    DEFAULT_TABLE,
    EngineSettings,
    NetworkSettings,
)
from orlop.engine.settings_file import FileSettings
from orlop.engine.tls.listener import TlsFiles
from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.proxy_rules import from_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.wire.registry.proxies import Proxies

DEFAULT_DATA = Path("/var/lib/orlop/user")
DEFAULT_RUN = Path("/run/orlop/user")
DEFAULT_SOCKET = Path("/run/orlop/docker.sock")
DEFAULT_CGROUP = "orlop"
DEFAULT_RUNTIME = Path("/usr/bin/crun")
DEFAULT_SECCOMP_PROFILE = Path("/usr/share/containers/seccomp.json")
DEFAULT_CERTS = Path("/etc/docker/certs.d")
CGROUPS = Path("/sys/fs/cgroup")
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says; paths are absolute."""

    data: Path = DEFAULT_DATA
    run: Path = DEFAULT_RUN
    socket: Path = DEFAULT_SOCKET
    cgroup: Path = CGROUPS / DEFAULT_CGROUP
    images: Path | None = None
    runtime: Path = DEFAULT_RUNTIME
    seccomp_profile: Path = DEFAULT_SECCOMP_PROFILE
    networks: NetworkSettings | None = None
    group: str = ""
    tcp: str = ""
    tls: TlsFiles | None = None
    endpoint: str = ""
    """As *tcp*, with certificates of the machine's own authority."""
    settings_path: Path | None = None
    userns_remap: tuple[int, int] | None = None
    registries: Registries = Registries()  # noqa: RUF009 - frozen
    defaults: ContainerDefaults = ContainerDefaults()  # noqa: RUF009 - frozen
    labels: tuple[str, ...] = ()
    preload: Path | None = None
    preload_label: str = ""
    preload_refused: bool = False
    log_level: str = "info"
    check: bool = False
    repair: bool = False

    def settings(self) -> EngineSettings:
        """The engine's own form of it."""
        return EngineSettings(
            run_dir=self.run,
            data_dir=self.data,
            images_dir=self.images or self.data / "images",
            store_dir=None if self.images else self.data / "store",
            cgroup_root=self.cgroup,
            runtime=self.runtime,
            seccomp_profile=self.seccomp_profile,
            durable=True,
            networks=self.networks,
            userns_remap=self.userns_remap,
            registries=self.registries,
            defaults=self.defaults,
            labels=self.labels,
            debug=self.log_level == "debug",
            version=__version__,
        )


def _parse_remap(text: str) -> tuple[int, int]:
    first, separator, count = text.partition(":")
    if not separator or not first.isdecimal() or not count.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is not FIRST:COUNT")
    if not 0 < int(first) < 1 << 31 or not 0 < int(count) < 1 << 31:
        raise argparse.ArgumentTypeError(f"{text!r}: numbers are between 1 and 2147483647")
    return int(first), int(count)


def _add_registries(add: Callable[..., object]) -> None:
    add("--registry-mirror", action="append", default=[], metavar="URL", help="before Docker Hub")
    add("--insecure-registry", action="append", default=[], metavar="HOST", help="TLS unchecked")
    add("--certs-dir", type=Path, default=DEFAULT_CERTS, metavar="DIR", help="HOST/*.crt to trust")
    add("--search-registry", default="", metavar="HOST", help="registry that is searched")
    add("--http-proxy", default="", metavar="URL", help="instead of $HTTP_PROXY")
    add("--https-proxy", default="", metavar="URL", help="instead of $HTTPS_PROXY")
    add("--no-proxy", default="", metavar="HOSTS", help="instead of $NO_PROXY")
    add("--settings", type=Path, metavar="FILE", help="registries and proxies, as JSON")


def _proxies(parser: argparse.ArgumentParser, found: argparse.Namespace) -> Proxies:
    """What the command line says, or else the environment."""
    given = {
        "HTTP_PROXY": found.http_proxy,
        "HTTPS_PROXY": found.https_proxy,
        "NO_PROXY": found.no_proxy,
    }
    try:
        return from_environment(dict(os.environ) | {k: v for k, v in given.items() if v})
    except InvalidArgument as error:
        parser.error(str(error))


def parse(argv: list[str]) -> Options:
    """The options in *argv*; writes to stderr and raises SystemExit if they are wrong."""
    parser = argparse.ArgumentParser(
        prog="orlop engine",
        description="Serves the Docker API and runs containers.",
        epilog="`orlop engine check [--repair]` looks for what is wrong with the data, and mends.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("action", nargs="?", choices=("check",), help="check the data and end")
    add("--repair", action="store_true", help="with check: mend what can be mended")
    add(
        "--data", type=Path, default=DEFAULT_DATA, metavar="DIR", help="images, containers, volumes"
    )
    add("--run", type=Path, default=DEFAULT_RUN, metavar="DIR", help="what a reboot may lose")
    add("--socket", type=Path, default=DEFAULT_SOCKET, metavar="PATH", help="where the API is")
    add("--group", default="", help="group that may use the socket, besides root")
    add("--tcp", default="", metavar="ADDRESS:PORT", help="the API for clients with certificates")
    add("--tls-ca", default="", metavar="FILE", help="who signs the clients' certificates")
    add("--tls-cert", default="", metavar="FILE", help="the server's certificate")
    add("--tls-key", default="", metavar="FILE", help="and its key")
    add("--cgroup", default=DEFAULT_CGROUP, metavar="NAME", help="cgroup for all containers")
    add("--images", type=Path, metavar="DIR", help="images as directories, NAME/rootfs")
    add("--runtime", type=Path, default=DEFAULT_RUNTIME, metavar="PROGRAM", help="crun")
    add("--seccomp-profile", type=Path, default=DEFAULT_SECCOMP_PROFILE, metavar="FILE")
    add("--bridge", default=DEFAULT_BRIDGE, metavar="NAME", help="of the default network")
    add("--subnet", default="", metavar="CIDR", help="of the default network")
    add("--nft", type=Path, default=DEFAULT_NFT, metavar="PROGRAM", help="of nftables")
    add("--no-networks", action="store_true", help="host and none only; needs no nft")
    _add_registries(add)
    add(
        "--userns-remap",
        type=_parse_remap,
        metavar="FIRST:COUNT",
        help="root in a container is user FIRST of the host, and so on",
    )
    add("--preload", type=Path, metavar="DIR", help="archives of images to load, each once")
    add("--preload-label", default="", metavar="LABEL", help="and from the disk with this label")
    add("--preload-refused", default="", metavar="LABEL", help="say that this disk is left alone")
    add("--log-level", default="info", choices=LOG_LEVELS)
    found = parser.parse_args(argv)
    if found.repair and found.action != "check":
        parser.error("--repair belongs to check")
    given = [bool(word) for word in (found.tcp, found.tls_ca, found.tls_cert, found.tls_key)]
    if any(given) and not all(given):
        parser.error("--tcp needs --tls-ca, --tls-cert and --tls-key: never without TLS")
    networks = NetworkSettings(
        bridge=found.bridge,
        subnet=found.subnet,
        nft=found.nft,
        # Two engines on one host, each with its own bridge, have a table each.
        table=DEFAULT_TABLE if found.bridge == DEFAULT_BRIDGE else found.bridge,
    )
    registries = Registries(
        mirrors=tuple(found.registry_mirror),
        insecure=tuple(found.insecure_registry),
        certificates=str(found.certs_dir.absolute()),
        search=found.search_registry,
        proxies=_proxies(parser, found),
    )
    said = FileSettings(registries=registries)
    if found.settings is not None:
        said = settings_file.read(found.settings, registries)
    return Options(
        networks=None if found.no_networks else _merge(networks, said),
        data=found.data.absolute(),
        run=found.run.absolute(),
        socket=found.socket.absolute(),
        cgroup=cgroup_path(found.cgroup),
        images=found.images and found.images.absolute(),
        runtime=found.runtime,
        seccomp_profile=found.seccomp_profile,
        group=found.group,
        tcp=found.tcp,
        tls=TlsFiles(found.tls_ca, found.tls_cert, found.tls_key) if found.tcp else None,
        endpoint=said.tls,
        settings_path=found.settings,
        userns_remap=said.userns_remap or found.userns_remap,
        registries=said.registries,
        defaults=said.defaults,
        labels=said.labels,
        log_level="debug" if said.debug else found.log_level,
        preload=found.preload and found.preload.absolute(),
        preload_label=found.preload_label or found.preload_refused,
        preload_refused=bool(found.preload_refused),
        check=found.action == "check",
        repair=found.repair,
    )


def _merge(networks: NetworkSettings, said: FileSettings) -> NetworkSettings:
    subnet = said.bridge_address or networks.subnet
    return replace(networks, subnet=subnet, mtu=said.mtu, pools=said.pools)


def cgroup_path(name: str) -> Path:
    """The directory of cgroup *name*, which may be a path from the root of the hierarchy."""
    path = Path(name)
    return path if path.is_relative_to(CGROUPS) else CGROUPS / name.strip("/")
