"""Service files of RancherOS: Compose of the first version, with what System Docker gave.

What runs there is to run here: such a service has the capabilities that Docker gives by default and
the machine's network, and may be privileged, all of which our own files have to ask for. Pure.

Source: RancherOS 1.5.8 and os-services; Compose file version 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from orlop.wire.compose_labels import CRON, NAMES, RANCHER, labels_of

if TYPE_CHECKING:
    from orlop.wire.compose_labels import Notice

DOCKER_CAPABILITIES = (
    *("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD"),
    *("NET_BIND_SERVICE", "NET_RAW", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT"),
)
"""What Docker gives by default."""

PRIVILEGED_CAPABILITIES = (
    *DOCKER_CAPABILITIES,
    *("AUDIT_CONTROL", "AUDIT_READ", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE"),
    *("DAC_READ_SEARCH", "IPC_LOCK", "IPC_OWNER", "LEASE", "LINUX_IMMUTABLE", "NET_ADMIN"),
    *("NET_BROADCAST", "PERFMON", "SYSLOG", "SYS_ADMIN", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE"),
    *("SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM"),
)
"""All but those that load modules, end the machine or change mandatory access control."""

VOLUMES_FROM: Mapping[str, tuple[str, ...]] = {
    "command-volumes": (),
    "container-data-volumes": ("/var/lib/docker:/var/lib/docker",),
    "media-volumes": ("/var/mnt:/mnt:rslave",),
    "system-volumes": ("/var/log:/var/log", "/run/orlop/etc:/run/orlop/etc:ro"),
    "user-volumes": (
        "/var/lib/orlop/root:/root",
        "/var/lib/orlop/home:/home",
        "/var/lib/orlop/persist/opt:/opt",
    ),
}
"""The containers of RancherOS that held directories of the machine, and what is like them here."""

ALL_VOLUMES = "all-volumes"
VARIABLES: Mapping[str, str] = {"REGISTRY_DOMAIN": "docker.io", "SUFFIX": ""}
"""What the names of RancherOS's own images are made with."""

_DROPPED = (
    *("cpu_quota", "cpu_period", "cpuset", "dns", "dns_search", "domainname", "external_links"),
    *("extra_hosts", "links", "log_driver", "log_opt", "logging", "mac_address", "memswap_limit"),
    *("mem_swappiness", "networks", "shm_size", "volume_driver", "userns_mode", "isolation"),
)


def is_flat(data: Mapping[str, object]) -> bool:
    """Whether services are at the top of the file."""
    return "services" not in data and any(
        isinstance(value, Mapping) and ("image" in value or "build" in value)
        for value in data.values()
    )


def has_labels(labels: object) -> bool:
    """Whether a service was written for RancherOS."""
    return any(name.startswith(RANCHER) or name == CRON for name in labels_of(labels))


def translate(
    data: Mapping[str, object], notice: Notice, environment: Mapping[str, str]
) -> dict[str, object]:
    """The service *data* in our keys."""
    mapping = dict(data)
    if isinstance(image := mapping.get("image"), str):
        # With nothing for ${REGISTRY_DOMAIN} the name begins with a slash.
        mapping["image"] = image.removeprefix("/")
    _take_network(mapping, notice)
    for key in _DROPPED:
        if mapping.pop(key, None) is not None:
            notice((key,), "is not supported, ignoring")
    labels = labels_of(mapping.get("labels"))
    if f"{RANCHER}scope" not in labels and "org.orlop.scope" not in labels:
        notice((), "runs as a system service, where `docker ps` does not show it")
    if "labels" in mapping:
        mapping["labels"] = {k: v for k, v in labels.items() if not k.startswith("io.docker.")}
    _take_environment(mapping, environment)
    _take_volumes(mapping, notice)
    _take_privileges(mapping, notice)
    depends = mapping.get("depends_on")
    if isinstance(depends, list):
        mapping["depends_on"] = [NAMES.get(str(name), name) for name in depends]
    return mapping


def _take_network(mapping: dict[str, object], notice: Notice) -> None:
    net = mapping.pop("net", None) or mapping.get("network_mode")
    if net not in ("host", "none"):
        notice((), "shares the machine's network: there is no other for a system service")
        net = "host"
    mapping["network_mode"] = net


def _take_environment(mapping: dict[str, object], environment: Mapping[str, str]) -> None:
    """Names without a value are of the machine's environment; values may be of any kind."""
    written = mapping.get("environment")
    if isinstance(written, list):
        pairs = [item.partition("=") for item in written if isinstance(item, str)]
        mapping["environment"] = {
            name: value if equals else environment.get(name, "")
            for name, equals, value in pairs
            if equals or name in environment
        }
    elif isinstance(written, dict):
        mapping["environment"] = {
            name: environment.get(str(name), "") if value is None else _plain(value)
            for name, value in written.items()
        }


def _plain(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def _take_volumes(mapping: dict[str, object], notice: Notice) -> None:
    names = mapping.pop("volumes_from", None)
    if not isinstance(names, list):
        return
    written = mapping.get("volumes")
    volumes = list(written) if isinstance(written, list) else []
    taken = {str(item).split(":")[1] for item in volumes if ":" in str(item)}
    for name in map(str, names):
        known = VOLUMES_FROM.get(name)
        if name == ALL_VOLUMES:
            known = tuple(volume for group in VOLUMES_FROM.values() for volume in group)
        if known is None:
            notice(("volumes_from",), f"{name}: there is no such container, ignoring")
            continue
        for volume in known:
            target = volume.split(":")[1]
            if target not in taken:
                taken.add(target)
                volumes.append(volume)
    mapping["volumes"] = volumes


def _take_privileges(mapping: dict[str, object], notice: Notice) -> None:
    extension = mapping.get("x-orlop")
    extension = dict(extension) if isinstance(extension, dict) else {}
    added = mapping.get("cap_add")
    wanted = [str(name) for name in added] if isinstance(added, list) else []
    if mapping.pop("privileged", False) or "ALL" in wanted:
        notice((), "is privileged: it can do all but load modules and end the machine")
        mapping["cap_add"] = [*PRIVILEGED_CAPABILITIES]
        extension = {"host_dev": True, "host_sys": "rw", "seccomp": "none", **extension}
    else:
        dropped = mapping.get("cap_drop")
        without = {str(name).upper() for name in dropped} if isinstance(dropped, list) else set()
        base = () if "ALL" in without else DOCKER_CAPABILITIES
        mapping["cap_add"] = [*(c for c in base if c not in without), *wanted]
    _take_security(mapping, extension, notice)
    mapping["x-orlop"] = extension


def _take_security(
    mapping: dict[str, object], extension: dict[str, object], notice: Notice
) -> None:
    """Docker's options that have an equal here; profiles of others have none."""
    written = mapping.get("security_opt")
    kept: list[object] = []
    for option in written if isinstance(written, list) else []:
        name, _, value = str(option).replace("=", ":", 1).partition(":")
        if name == "seccomp" and value == "unconfined":
            extension.setdefault("seccomp", "none")
        elif name in ("seccomp", "apparmor", "label"):
            notice(("security_opt",), f"{option} means nothing here, ignoring")
        else:
            kept.append(option)
    mapping["security_opt"] = kept or ["no-new-privileges:false"]
