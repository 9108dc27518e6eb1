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
from typing import TYPE_CHECKING

from orlop.engine import capabilities
from orlop.engine.config import SERVICE_LABEL
from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import MountKind, SysAccess

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.config import ContainerConfig, Resources
    from orlop.engine.images import Image
    from orlop.engine.users import Identity
    from orlop.wire import oci
    from orlop.wire.compose_model import Mount

OCI_VERSION = "1.0.2"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
CPU_PERIOD_USEC = 100_000
DEFAULT_OPEN_FILES = (1024, 524_288)
"""Soft and hard limit. A soft one above 1024 breaks programs that use select(2)."""

UNLIMITED = (1 << 64) - 1

MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
READONLY_PATHS = (
    "/proc/bus",
    "/proc/fs",
    "/proc/irq",
    "/proc/sys",
    "/proc/sysrq-trigger",
)
ETC_FILES = ("hostname", "hosts", "resolv.conf")


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
    seccomp: oci.Seccomp | None = None
    controllers: frozenset[str] = frozenset({"cpu", "cpuset", "io", "memory", "pids"})
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


def plan_environment(
    config: ContainerConfig, image: Image, facts: HostFacts, request: ProcessRequest
) -> list[str]:
    """PATH, HOSTNAME, TERM and HOME unless set; the image's, the container's, the request's."""
    environment = {"PATH": DEFAULT_PATH, "HOSTNAME": facts.hostname}
    if request.terminal:
        environment["TERM"] = "xterm"
    environment.update(image.environment)
    environment.update(config.environment)
    environment.update(request.environment)
    environment.setdefault("HOME", facts.identity.home)
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
    request = ProcessRequest(arguments=plan_arguments(config, image), terminal=config.tty)
    resources, warnings = _resources(config, facts)
    unrestricted = config.privileged or config.host_proc
    linux: oci.Linux = {
        "namespaces": _namespaces(config),
        "devices": [_device(device) for device in facts.devices],
        "cgroupsPath": facts.cgroup,
        "resources": resources,
        "sysctl": dict(config.sysctls),
        "maskedPaths": [] if unrestricted else list(MASKED_PATHS),
        "readonlyPaths": [] if unrestricted else list(READONLY_PATHS),
    }
    if facts.seccomp is not None:
        linux["seccomp"] = facts.seccomp
    if any(mount.propagation.value != "rprivate" for mount in config.mounts):
        linux["rootfsPropagation"] = "slave"
    bundle: oci.Config = {
        "ociVersion": OCI_VERSION,
        "process": plan_process(config, image, facts, request),
        "root": {"path": os.fspath(facts.rootfs), "readonly": config.read_only},
        "mounts": plan_mounts(config, facts),
        "linux": linux,
    }
    if config.uts == "private":
        bundle["hostname"] = facts.hostname
        if config.domainname:
            bundle["domainname"] = config.domainname
    return bundle, warnings


def _namespaces(config: ContainerConfig) -> list[oci.Namespace]:
    kinds = [("network", config.network), ("pid", config.pid), ("ipc", config.ipc)]
    kinds += [("uts", config.uts), ("cgroup", config.cgroupns)]
    chosen: list[oci.Namespace] = [{"type": kind} for kind, mode in kinds if mode != "host"]
    return [{"type": "mount"}, *chosen]


def plan_mounts(config: ContainerConfig, facts: HostFacts) -> list[oci.Mount]:
    """All mounts in the order they are made: the system's own, then the configured by depth."""
    mounts = [*_proc_and_dev(config), *_sys(config)]
    if facts.etc_dir is not None:
        flags = ["rbind", "rprivate", *(["ro"] if config.read_only else [])]
        mounts += [
            _mount(f"/etc/{name}", "bind", os.fspath(facts.etc_dir / name), *flags)
            for name in ETC_FILES
        ]
    ordered = sorted(config.mounts, key=lambda mount: mount.target.rstrip("/").count("/"))
    mounts += [_configured_mount(mount) for mount in ordered]
    # A mount given for one of the standard places is what counts there.
    latest = {mount["destination"]: mount for mount in mounts}
    return [mount for mount in mounts if latest[mount["destination"]] is mount]


def _mount(destination: str, kind: str, source: str, *options: str) -> oci.Mount:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _proc_and_dev(config: ContainerConfig) -> list[oci.Mount]:
    restricted = ("nosuid", "noexec", "nodev")
    mounts = (
        [_mount("/proc", "bind", "/proc", "rbind", "rslave")]
        if config.host_proc and config.pid == "host"
        else [_mount("/proc", "proc", "proc", *restricted)]
    )
    if config.host_dev:
        return [*mounts, _mount("/dev", "bind", "/dev", "rbind", "rslave")]
    shm_size = f"size={config.shm_size_bytes}"
    mounts += [
        _mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            "nosuid",
            "noexec",
            "newinstance",
            "ptmxmode=0666",
            "mode=0620",
            "gid=5",
        ),
        _mount("/dev/mqueue", "mqueue", "mqueue", *restricted),
    ]
    if config.ipc == "host":
        return [*mounts, _mount("/dev/shm", "bind", "/dev/shm", "rbind", "rprivate")]
    return [*mounts, _mount("/dev/shm", "tmpfs", "shm", *restricted, "mode=1777", shm_size)]


def _sys(config: ContainerConfig) -> list[oci.Mount]:
    if config.host_sys is not SysAccess.NONE:
        access = "rw" if config.host_sys is SysAccess.READ_WRITE else "ro"
        return [_mount("/sys", "bind", "/sys", "rbind", "rslave", access)]
    if not config.sysfs:
        return []
    access = "rw" if config.privileged else "ro"
    cgroup_access = "rw" if config.privileged or config.cgroup_writable else "ro"
    restricted = ("nosuid", "noexec", "nodev")
    return [
        _mount("/sys", "sysfs", "sysfs", *restricted, access),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *restricted, "relatime", cgroup_access),
    ]


def _configured_mount(mount: Mount) -> oci.Mount:
    access = "ro" if mount.read_only else "rw"
    if mount.kind is MountKind.BIND:
        options = ["rbind", mount.propagation.value, access]
        if mount.copy_symlink:
            options.append("copy-symlink")
        return _mount(mount.target, "bind", mount.source, *options)
    options = ["nosuid", "nodev", "noexec", access]
    if mount.size_bytes is not None:
        options.append(f"size={mount.size_bytes}")
    options.append(f"mode={0o1777 if mount.mode is None else mount.mode:o}")
    return _mount(mount.target, "tmpfs", "tmpfs", *options)


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


def _device_rules(config: ContainerConfig, facts: HostFacts) -> list[oci.DeviceRule]:
    """All refused but those of the container; the runtime itself adds null, zero, tty and so on."""
    if config.privileged or config.host_dev:
        return [{"allow": True, "access": "rwm"}]
    rules: list[oci.DeviceRule] = [{"allow": False, "access": "rwm"}]
    # mknod alone gives no access to the device.
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in ("c", "b")]
    for device in facts.devices:
        rules.append(
            {
                "allow": True,
                "type": device.kind,
                "major": device.major,
                "minor": device.minor,
                "access": device.permissions,
            }
        )
    return rules


def _resources(config: ContainerConfig, facts: HostFacts) -> tuple[oci.Resources, list[str]]:
    wanted = config.resources
    result: oci.Resources = {"devices": _device_rules(config, facts)}
    warnings: list[str] = []

    def have(controller: str, asked: bool) -> bool:
        if controller in facts.controllers:
            return asked
        if asked:
            warnings.append(f"this host has no {controller} controller: its limits are not applied")
        return False

    limits = memory_limits(wanted)
    if have("memory", bool(limits)):
        result["memory"] = limits
        if wanted.memory_bytes is not None and SERVICE_LABEL in dict(config.labels):
            # Half a service is worse than none: its restart policy brings back the whole.
            result["unified"] = {"memory.oom.group": "1"}
    cpu = cpu_limits(wanted) if have("cpu", bool(cpu_limits(wanted))) else {}
    if have("cpuset", bool(cpuset_limits(wanted))):
        cpu |= cpuset_limits(wanted)
    if cpu:
        result["cpu"] = cpu
    pids = facts.pids_limit if wanted.pids_limit is None else wanted.pids_limit
    if have("pids", pids > 0):
        result["pids"] = {"limit": pids}
    return result, warnings


def cpuset_limits(wanted: Resources) -> oci.Cpu:
    """Processors and memory nodes in the runtime's terms."""
    cpuset: oci.Cpu = {}
    if wanted.cpuset_cpus:
        cpuset["cpus"] = wanted.cpuset_cpus
    if wanted.cpuset_mems:
        cpuset["mems"] = wanted.cpuset_mems
    return cpuset


def memory_limits(wanted: Resources) -> oci.Memory:
    """Memory in the runtime's terms."""
    memory: oci.Memory = {}
    if wanted.memory_bytes is not None:
        memory["limit"] = wanted.memory_bytes
        if wanted.memory_swap_bytes is not None:
            memory["swap"] = wanted.memory_swap_bytes
    if wanted.memory_reservation_bytes is not None:
        memory["reservation"] = wanted.memory_reservation_bytes
    return memory


def cpu_limits(wanted: Resources) -> oci.Cpu:
    """Processor time in the runtime's terms."""
    cpu: oci.Cpu = {}
    if wanted.cpus is not None:
        cpu["quota"] = round(wanted.cpus * CPU_PERIOD_USEC)
        cpu["period"] = CPU_PERIOD_USEC
    if wanted.cpu_shares is not None:
        cpu["shares"] = wanted.cpu_shares
    return cpu


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
