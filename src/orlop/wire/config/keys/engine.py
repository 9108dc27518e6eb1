"""Keys of the user's engine."""

from __future__ import annotations

from orlop.wire.config import kinds, kinds_engine
from orlop.wire.config.row import Applies, Key


def _each(name: str) -> tuple[str, ...]:
    """What RancherOS said to each of its three engines; here they share it."""
    return tuple(
        f"rancher.{engine}.{name}" for engine in ("docker", "system_docker", "bootstrap_docker")
    )


_REGISTRY = "orlop.engine.registries.NAME"

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.engine.registry_mirrors",
        kinds.MIRRORS,
        "Registries that are asked first for images of Docker's own, in this order.",
        "[https://mirror.example]",
        default="none",
        applies=Applies.SERVICE,
        aliases=_each("registry_mirror"),
    ),
    Key(
        "orlop.engine.insecure_registries",
        kinds.INSECURE_REGISTRIES,
        "Registries whose certificates are not checked, or that have none.",
        '["registry.example:5000", 10.0.0.0/8]',
        default="this machine's own addresses",
        applies=Applies.SERVICE,
        aliases=_each("insecure_registry"),
    ),
    Key(
        "orlop.engine.search_registry",
        kinds.REGISTRY,
        "The registry that docker search asks.",
        "registry.example",
        default="Docker's own",
        applies=Applies.SERVICE,
    ),
    Key(
        f"{_REGISTRY}.authorities",
        kinds.CERTIFICATES,
        "Who signs the registry's certificate, as PEM.",
        '"-----BEGIN CERTIFICATE-----\\nMIIB…\\n-----END CERTIFICATE-----\\n"',
        default="those of the system",
        applies=Applies.SERVICE,
    ),
    Key(
        f"{_REGISTRY}.username",
        kinds.TEXT,
        "Who asks the registry when a client brings no credentials.",
        "reader",
        default="nobody",
        applies=Applies.SERVICE,
    ),
    Key(
        f"{_REGISTRY}.password",
        kinds.TEXT,
        "And the password.",
        "correct-horse",
        default="none",
        applies=Applies.SERVICE,
        secret=True,
    ),
    Key(
        "orlop.engine.http_proxy",
        kinds.PROXY,
        "Proxy for what the engine fetches by plain HTTP.",
        "http://proxy.example:3128",
        default="none",
        applies=Applies.SERVICE,
        aliases=("rancher.network.http_proxy",),
        secret=True,  # it may have a password in it
    ),
    Key(
        "orlop.engine.https_proxy",
        kinds.PROXY,
        "Proxy for what the engine fetches by HTTPS, registries foremost.",
        "http://proxy.example:3128",
        default="none",
        applies=Applies.SERVICE,
        aliases=("rancher.network.https_proxy",),
        secret=True,  # it may have a password in it
    ),
    Key(
        "orlop.engine.no_proxy",
        kinds.NO_PROXY,
        "Hosts and networks that are asked without a proxy.",
        "[.example, 10.0.0.0/8]",
        default="this machine alone",
        applies=Applies.SERVICE,
        aliases=("rancher.network.no_proxy",),
    ),
    Key(
        "orlop.engine.log_driver",
        kinds_engine.LOG_DRIVER,
        "Where the output of containers goes that do not say it themselves.",
        "local",
        default="json-file",
        applies=Applies.SERVICE,
        aliases=("rancher.docker.log_driver",),
    ),
    Key(
        "orlop.engine.log_options",
        kinds_engine.LOG_OPTION_MAP,
        "Options of that driver.",
        "{max-size: 10m}",
        default="max-size 1m, max-file 2",
        applies=Applies.SERVICE,
        aliases=("rancher.docker.log_opts",),
    ),
    Key(
        "orlop.engine.default_ulimits",
        kinds_engine.ULIMIT_MAP,
        "Limits of containers' processes, for containers that set none themselves.",
        '{nofile: "1024:4096"}',
        default="the engine's own",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.dns",
        kinds.ADDRESSES,
        "Name servers of containers, instead of the machine's.",
        "[192.0.2.53]",
        default="the machine's",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.dns_search",
        kinds.DOMAINS,
        "Domains that containers search, instead of the machine's.",
        "[example]",
        default="the machine's",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.dns_options",
        kinds_engine.RESOLVER_OPTIONS,
        "Options of the containers' resolv.conf.",
        '["ndots:2"]',
        default="the machine's",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.bridge_address",
        kinds_engine.BRIDGE,
        "Address and network of the default bridge.",
        "172.30.0.1/16",
        default="the first of Docker's networks that is free",
        applies=Applies.BOOT,
        aliases=("rancher.docker.bip",),
    ),
    Key(
        "orlop.engine.mtu",
        kinds.number(576, 65535),
        "Largest packet on the default bridge, in bytes.",
        "1450",
        default="1500",
        applies=Applies.BOOT,
        aliases=("rancher.docker.mtu",),
    ),
    Key(
        "orlop.engine.address_pools",
        kinds_engine.POOLS,
        "Where networks of containers get their subnets from, and how large those are.",
        "[{base: 10.200.0.0/16, size: 24}]",
        default="Docker's",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.userns_remap",
        kinds_engine.REMAP,
        "Root in containers is user FIRST of the machine, and so on.",
        '"100000:65536"',
        default="none: root is root",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.labels",
        kinds_engine.LABELS,
        "Labels of the engine, for docker info.",
        "[rack=7]",
        default="none",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.preload_disk",
        kinds.BOOLEAN,
        "Whether images are loaded from a disk that is labelled ORLOP_LOAD.",
        "true",
        default="true; false where the TPM opens the state, or orlop.state.sealed is set",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.engine.debug",
        kinds.BOOLEAN,
        "Whether the engine writes every step into its log.",
        "true",
        default="false",
        applies=Applies.SERVICE,
        aliases=("rancher.docker.debug",),
    ),
)
