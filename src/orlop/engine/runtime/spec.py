"""From a container's configuration to the runtime's config.json. Pure: touches nothing.

What the host contributes (user lookup, device numbers, seccomp rules, controllers that exist) is
gathered by the caller into `HostFacts`, so that this can be tested without root.

Defaults follow Docker's documentation of `docker run`. What differs: the number of processes is
limited by default, and a service of the system gets neither /sys nor capabilities unless it asks.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orlop.engine.runtime import capabilities
from orlop.engine.runtime.spec_mounts import INIT_TARGET, plan_mounts
from orlop.engine.runtime.spec_resources import plan_resources
from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import Propagation

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.images import Image
    from orlop.engine.runtime.users import Identity
    from orlop.wire import oci

OCI_VERSION = "1.0.2"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_OPEN_FILES = (1024, 524_288)
"""Soft and hard limit. A soft one above 1024 breaks programs that use select(2)."""

UNLIMITED = (1 << 64) - 1
NETWORK_SYSCTLS = {
    "net.ipv4.ping_group_range": "0 2147483647",
    "net.ipv4.ip_unprivileged_port_start": "0",
}

MASKED_PATHS = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
READONLY_PATHS = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)


@dataclass(frozen=True, slots=True)
class HostDevice:
    """A device node of the host, to be made in the container."""

    path: str
    kind: str
    """`c` or `b`."""
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What is looked up for one start."""

    rootfs: Path
    cgroup: str
    """Path below the cgroup2 mount point, beginning with a slash."""
    identity: Identity
    hostname: str
    pids_limit: int
    open_files: int = DEFAULT_OPEN_FILES[1]
    """The engine's own hard limit, above which a default may not go without CAP_SYS_RESOURCE."""
    capabilities: tuple[str, ...] = capabilities.ALL
    """Those the engine itself has."""
    devices: tuple[HostDevice, ...] = ()
    namespaces: tuple[tuple[str, str], ...] = ()
    """Those of other containers: the kind as the runtime has it, and the path to join it by."""
    shm_dir: Path | None = None
    """Where /dev/shm is, when it is shared with other containers."""
    init: Path | None = None
    """The program to run the command under, on the host; None: the command is the first process."""
    volumes: tuple[tuple[str, str], ...] = ()
    """Where the volumes of the configured mounts are: target and directory."""
    seccomp: oci.Seccomp | None = None
    controllers: frozenset[str] = frozenset({"cpu", "cpuset", "io", "memory", "pids"})
    environment: tuple[tuple[str, str], ...] = ()
    """What links add; the image and the container may say otherwise."""
    etc_dir: Path | None = None
    """Where the engine wrote `ETC_FILES` for this container; None: the image's own are used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRequest:
    """What differs between the container's own process and one that `exec` adds."""

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...] = ()
    working_dir: str = ""
    terminal: bool = False
    privileged: bool = False
    console_size: tuple[int, int] | None = None
    """Height and width in characters."""


def plan_arguments(config: ContainerConfig, image: Image) -> tuple[str, ...]:
    """Entry point and command, as Docker combines them with the image's.

    Raises:
        InvalidArgument: neither says what to run.
    """
    if config.entrypoint is None:
        arguments = image.entrypoint + (config.command or image.command)
    else:
        arguments = config.entrypoint + config.command
    if not arguments:
        raise InvalidArgument("no command specified")
    return arguments


def merged_environment(config: ContainerConfig, image: Image) -> dict[str, str]:
    """The container's variables, then those of the image that it does not set or unset itself."""
    own = dict(config.environment)
    known = own.keys() | set(config.environment_unset)
    return own | {name: value for name, value in image.environment if name not in known}


def plan_environment(
    config: ContainerConfig, image: Image, facts: HostFacts, request: ProcessRequest
) -> list[str]:
    """PATH, HOSTNAME, TERM and HOME unless set; the image's, the container's, the request's."""
    environment = {"PATH": DEFAULT_PATH, "HOSTNAME": facts.hostname}
    if request.terminal:
        environment["TERM"] = "xterm"
    environment.update(facts.environment)
    environment.update(merged_environment(config, image))
    for name in config.environment_unset:
        environment.pop(name, None)
    environment.update(request.environment)
    if not environment.get("HOME"):
        environment["HOME"] = facts.identity.home
    return [f"{key}={value}" for key, value in environment.items()]


def plan_process(
    config: ContainerConfig, image: Image, facts: HostFacts, request: ProcessRequest
) -> oci.Process:
    """A process of the container, its first or a further one."""
    chosen = capabilities.effective(
        config.cap_add,
        config.cap_drop,
        privileged=config.privileged or request.privileged,
        available=facts.capabilities,
    )
    is_root = facts.identity.uid == 0
    process: oci.Process = {
        "terminal": request.terminal,
        "user": {
            "uid": facts.identity.uid,
            "gid": facts.identity.gid,
            "additionalGids": list(facts.identity.groups),
        },
        "args": list(request.arguments),
        "env": plan_environment(config, image, facts, request),
        "cwd": request.working_dir or config.working_dir or image.working_dir or "/",
        "capabilities": {
            "bounding": chosen,
            # A service that is not root gets what its definition grants through the ambient set;
            # where the set is a default nobody asked for, Docker gives such a user none.
            "effective": chosen if is_root or _is_chosen(config) else [],
            "permitted": chosen if is_root or _is_chosen(config) else [],
            "inheritable": chosen if not is_root and _is_chosen(config) else [],
            "ambient": chosen if not is_root and _is_chosen(config) else [],
        },
        "rlimits": _rlimits(config, facts),
        "noNewPrivileges": config.no_new_privileges,
        "oomScoreAdj": config.oom_score_adj or 0,
    }
    if config.apparmor:
        process["apparmorProfile"] = config.apparmor
    if request.terminal and request.console_size is not None:
        height, width = request.console_size
        process["consoleSize"] = {"height": height, "width": width}
    return process


def _is_chosen(config: ContainerConfig) -> bool:
    """Whether the capabilities are those that were asked for one by one."""
    return "ALL" in (capabilities.normalise(name) for name in config.cap_drop)


def _rlimits(config: ContainerConfig, facts: HostFacts) -> list[oci.Rlimit]:
    soft, hard = (min(limit, facts.open_files) for limit in DEFAULT_OPEN_FILES)
    limits = {"nofile": (soft, hard)}
    limits.update((limit.name, (limit.soft, limit.hard)) for limit in config.ulimits)
    return [
        {
            "type": f"RLIMIT_{name.upper()}",
            "soft": UNLIMITED if soft < 0 else soft,
            "hard": UNLIMITED if hard < 0 else hard,
        }
        for name, (soft, hard) in limits.items()
    ]


def plan_bundle(
    config: ContainerConfig, image: Image, facts: HostFacts
) -> tuple[oci.Config, list[str]]:
    """config.json for a start, and warnings about what this host cannot do."""
    arguments = plan_arguments(config, image)
    if facts.init is not None:
        arguments = (INIT_TARGET, "--", *arguments)
    request = ProcessRequest(
        arguments=arguments, terminal=config.tty, console_size=config.console_size
    )
    resources, warnings = plan_resources(config, facts)
    linux: oci.Linux = {
        "namespaces": _namespaces(config, facts),
        "devices": [_device(device) for device in facts.devices],
        "cgroupsPath": facts.cgroup,
        "resources": resources,
        "sysctl": _sysctls(config),
        "maskedPaths": _paths(config, config.masked_paths, MASKED_PATHS),
        "readonlyPaths": _paths(config, config.readonly_paths, READONLY_PATHS),
    }
    if facts.seccomp is not None:
        linux["seccomp"] = facts.seccomp
    if config.uid_map and "user" not in dict(facts.namespaces):
        first, count = config.uid_map
        mapping: oci.IdMapping = {"containerID": 0, "hostID": first, "size": count}
        linux["uidMappings"] = linux["gidMappings"] = [mapping]
    if propagation := _root_propagation(config):
        linux["rootfsPropagation"] = propagation
    bundle: oci.Config = {
        "ociVersion": OCI_VERSION,
        "process": plan_process(config, image, facts, request),
        "root": {"path": os.fspath(facts.rootfs), "readonly": config.read_only},
        "mounts": plan_mounts(config, facts),
        "linux": linux,
    }
    if config.annotations:
        bundle["annotations"] = dict(config.annotations)
    if config.uts == "private":
        bundle["hostname"] = facts.hostname
        if config.domainname:
            bundle["domainname"] = config.domainname
    return bundle, warnings


def _sysctls(config: ContainerConfig) -> dict[str, str]:
    """What was asked for, over what dockerd sets in a network namespace of the container's own.

    Programs that are not root listen on port 80 and ping there: images count on it.
    """
    if not config.requested or config.network == "host" or ":" in config.network:
        return dict(config.sysctls)
    if config.uid_map:
        # Group numbers do not reach that far there, and a namespace that we made is not its own.
        ports = "net.ipv4.ip_unprivileged_port_start"
        usual = {ports: NETWORK_SYSCTLS[ports]} if config.network == "none" else {}
        return {**usual, **dict(config.sysctls)}
    return {**NETWORK_SYSCTLS, **dict(config.sysctls)}


def _root_propagation(config: ContainerConfig) -> Literal["slave", "shared"] | None:
    """What the mounts of *config* need of the root: one that is shared needs it to be, too."""
    wanted = {mount.propagation for mount in config.mounts}
    if Propagation.SHARED in wanted:
        return "shared"
    return "slave" if Propagation.SLAVE in wanted else None


def _paths(
    config: ContainerConfig, chosen: tuple[str, ...] | None, usual: tuple[str, ...]
) -> list[str]:
    if config.privileged or config.host_proc:
        return []
    return list(usual if chosen is None else chosen)


def _namespaces(config: ContainerConfig, facts: HostFacts) -> list[oci.Namespace]:
    kinds = [("network", config.network), ("pid", config.pid), ("ipc", config.ipc)]
    kinds += [("uts", config.uts), ("cgroup", config.cgroupns)]
    chosen: list[oci.Namespace] = [{"type": "mount"}]
    joined = dict(facts.namespaces)
    if "user" in joined:
        chosen.append({"type": "user", "path": joined["user"]})
    elif config.uid_map:
        chosen.append({"type": "user"})
    for kind, mode in kinds:
        if kind in joined:
            chosen.append({"type": kind, "path": joined[kind]})
        elif mode != "host":
            chosen.append({"type": kind})
    return chosen


def _device(device: HostDevice) -> oci.Device:
    return {
        "path": device.path,
        "type": device.kind,
        "major": device.major,
        "minor": device.minor,
        "fileMode": device.mode,
        "uid": device.uid,
        "gid": device.gid,
    }


def parse_signal(text: str) -> int:
    """`SIGTERM`, `TERM`, `15` or `RTMIN+3`.

    Raises:
        InvalidArgument: no such signal.
    """
    if text.isascii() and text.isdigit() and 0 < int(text) < signal.NSIG:
        return int(text)
    name = text.upper().removeprefix("SIG")
    base, plus, offset = name.partition("+")
    if base == "RTMIN" and (not plus or offset.isdigit()):
        number = signal.SIGRTMIN + int(offset or 0)
        if number <= signal.SIGRTMAX:
            return number
    if name.isalnum() and f"SIG{name}" in signal.Signals.__members__:
        return int(signal.Signals[f"SIG{name}"])
    raise InvalidArgument(f"invalid signal: {text}")
