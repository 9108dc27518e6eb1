"""Keys of the user's engine."""

from __future__ import annotations

from orlop.wire.config import kinds
from orlop.wire.config.row import Applies, Key

_REGISTRY = "orlop.engine.registries.NAME"

KEYS: tuple[Key, ...] = (
    Key(
        "orlop.engine.registry_mirrors",
        kinds.MIRRORS,
        "Registries that are asked first for images of Docker's own, in this order.",
        "[https://mirror.example]",
        default="none",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.insecure_registries",
        kinds.INSECURE_REGISTRIES,
        "Registries whose certificates are not checked, or that have none.",
        '["registry.example:5000", 10.0.0.0/8]',
        default="this machine's own addresses",
        applies=Applies.SERVICE,
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
)
