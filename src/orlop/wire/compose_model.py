"""What one service is, after validation: frozen values, and their normal form as JSON.

Only data and its encoding live here; `compose` reads a Compose mapping into these types. The
normal form is itself a valid Compose mapping in the long syntax, so reading it again gives an
equal value. The builder stores that form in each image as `service.json`.

Source: Compose Specification, services element; the `x-orlop` keys are described in
docs/services.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None


class MountKind(StrEnum):
    """Where the content of a mount comes from."""

    BIND = "bind"
    TMPFS = "tmpfs"
    VOLUME = "volume"
    """*source* is the volume's name."""


class Propagation(StrEnum):
    """Mount propagation of a bind."""

    PRIVATE = "rprivate"
    SLAVE = "rslave"
    SHARED = "rshared"


class DependencyCondition(StrEnum):
    """What a service waits for in another one."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


class RestartMode(StrEnum):
    """When a container that ended is started again."""

    NO = "no"
    ALWAYS = "always"
    ON_FAILURE = "on-failure"
    UNLESS_STOPPED = "unless-stopped"


class ConditionKind(StrEnum):
    """What a service's start is made to depend on, besides other services."""

    PATH = "path"
    VIRTIO_PORT = "virtio_port"
    KERNEL_PARAMETER = "kernel_parameter"
    CONFIGURED = "configured"


class Stage(StrEnum):
    """When a service starts: `early` ones before all others."""

    EARLY = "early"
    NORMAL = "normal"


class ConfigDelivery(StrEnum):
    """What happens to a service when its part of the configuration changes."""

    NONE = "none"
    RESTART = "restart"
    RELOAD = "reload"


class SysAccess(StrEnum):
    """The host's /sys in a container: absent, read-only or writable."""

    NONE = "none"
    READ_ONLY = "ro"
    READ_WRITE = "rw"


class Seccomp(StrEnum):
    """The system call filter of a container."""

    DEFAULT = "default"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount in the container. *source* is empty for a tmpfs."""

    kind: MountKind
    target: str
    source: str = ""
    read_only: bool = False
    create_host_path: bool = False
    propagation: Propagation = Propagation.PRIVATE
    size_bytes: int | None = None
    mode: int | None = None
    copy_symlink: bool = False
    """*source* is a symbolic link and the link itself is wanted; never said in a file."""
    recursive: bool = True
    """What is mounted below the source of a bind comes with it, and is read-only with it."""
    read_only_recursive: bool = True
    no_copy: bool = False
    """A new volume is not filled with what the image has at its place."""
    subpath: str = ""
    """The part of a volume that is mounted."""
    options: tuple[str, ...] = ()
    """Of a tmpfs, all of them, instead of those that follow from the fields above."""
    mode_text: str = ""
    """How the request said it, for `inspect`."""
    listed: bool = True
    """Whether `inspect` shows it among the mounts."""

    def to_json(self) -> dict[str, Json]:
        data: dict[str, Json] = {"type": self.kind.value, "target": self.target}
        if self.kind is MountKind.BIND:
            data["source"] = self.source
            data["bind"] = {
                "create_host_path": self.create_host_path,
                "propagation": self.propagation.value,
            }
        elif self.kind is MountKind.VOLUME:
            data["source"] = self.source
        else:
            tmpfs: dict[str, Json] = {}
            if self.size_bytes is not None:
                tmpfs["size"] = self.size_bytes
            if self.mode is not None:
                tmpfs["mode"] = self.mode
            data["tmpfs"] = tmpfs
        if self.read_only:
            data["read_only"] = True
        return data


@dataclass(frozen=True, slots=True)
class Device:
    """A device node of the host made visible. *permissions* is a subset of `rwm`."""

    source: str
    target: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True)
class Ulimit:
    """A resource limit; -1 is unlimited. *name* has no `RLIMIT_` prefix and is lower case."""

    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True)
class Dependency:
    """Start after *service* has met *condition*; *required* false: only if it is defined."""

    service: str
    condition: DependencyCondition = DependencyCondition.STARTED
    required: bool = True


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When to start again; *max_retries* 0 is without limit and counts for on-failure only."""

    mode: RestartMode = RestartMode.NO
    max_retries: int = 0

    def __str__(self) -> str:
        suffix = f":{self.max_retries}" if self.max_retries else ""
        return self.mode.value + suffix


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A command run in the container; exit status 0 is healthy."""

    command: tuple[str, ...]
    interval_s: float = 30.0
    timeout_s: float = 30.0
    start_period_s: float = 0.0
    start_interval_s: float = 5.0
    retries: int = 3

    def to_json(self) -> dict[str, Json]:
        return {
            "test": ["CMD", *self.command],
            "interval": f"{self.interval_s:g}s",
            "timeout": f"{self.timeout_s:g}s",
            "start_period": f"{self.start_period_s:g}s",
            "start_interval": f"{self.start_interval_s:g}s",
            "retries": self.retries,
        }


@dataclass(frozen=True, slots=True)
class LogLimits:
    """How much of a container's output is kept: *files* files of *size_bytes*."""

    size_bytes: int = 1 << 20
    files: int = 2


@dataclass(frozen=True, slots=True)
class Condition:
    """A fact that must hold for the service to start; see `ConditionKind`."""

    kind: ConditionKind
    value: str


@dataclass(frozen=True, slots=True)
class Port:
    """A port of the machine that a service listens on; *protocol* is `tcp` or `udp`.

    *address* is empty for all of the machine's.
    """

    number: int
    protocol: str = "tcp"
    address: str = ""

    def __str__(self) -> str:
        place = f"[{self.address}]" if ":" in self.address else self.address
        before = f"{place}:{self.number}:" if place else ""
        return f"{before}{self.number}/{self.protocol}"

    def clashes_with(self, other: Port) -> bool:
        """Whether one machine cannot have both."""
        same = self.number == other.number and self.protocol == other.protocol
        return same and (self.address == other.address or not self.address or not other.address)


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """One system service. Every field is checked; lists keep the order of the file."""

    name: str
    image: str
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    user: str = "0:0"
    group_add: tuple[str, ...] = ()
    working_dir: str = "/"
    environment: tuple[tuple[str, str], ...] = ()
    network_mode: str = "none"
    pid_mode: str = "private"
    ipc_mode: str = "private"
    uts_mode: str = "private"
    cgroupns_mode: str = "private"
    hostname: str | None = None
    read_only: bool = False
    cap_add: tuple[str, ...] = ()
    no_new_privileges: bool = True
    mounts: tuple[Mount, ...] = ()
    devices: tuple[Device, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    memory_limit_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    cpus: float | None = None
    cpu_shares: int | None = None
    pids_limit: int | None = None
    oom_score_adj: int | None = None
    depends_on: tuple[Dependency, ...] = ()
    restart: RestartPolicy = RestartPolicy()
    stop_signal: str = "SIGTERM"
    stop_grace_period_s: float = 10.0
    healthcheck: HealthCheck | None = None
    labels: tuple[tuple[str, str], ...] = ()
    init: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()
    tty: bool = False
    stdin_open: bool = False
    log_limits: LogLimits = LogLimits()
    conditions: tuple[Condition, ...] = ()
    stage: Stage = Stage.NORMAL
    host_dev: bool = False
    host_sys: SysAccess = SysAccess.NONE
    host_proc: bool = False
    syslog: bool = True
    power: bool = False
    api: bool = False
    user_api: bool = False
    config: ConfigDelivery = ConfigDelivery.NONE
    cgroup_writable: bool = False
    seccomp: Seccomp = Seccomp.DEFAULT
    ports: tuple[Port, ...] = ()
    schedule: str = ""
    """When it is started, as `wire.schedule` reads it; empty: at the boot."""
    before: tuple[str, ...] = ()
    """Services that wait for this one, if they are there."""
    detach: bool = True
    """False: whatever depends on it waits for its end."""
    create_only: bool = False
    """It is never started."""
    reload_config: bool = False
    """The configuration is read again when it has ended well."""


def to_json(service: ServiceDefinition) -> dict[str, Json]:
    """The normal form of *service*: a Compose service mapping without its name.

    Optional values at their default are left out where the default is "not set".
    """
    data: dict[str, Json] = {
        "image": service.image,
        "user": service.user,
        "working_dir": service.working_dir,
        "network_mode": service.network_mode,
        "read_only": service.read_only,
        "restart": str(service.restart),
        "stop_signal": service.stop_signal,
        "stop_grace_period": f"{service.stop_grace_period_s:g}s",
        "security_opt": [f"no-new-privileges:{str(service.no_new_privileges).lower()}"],
        "logging": {
            "driver": "local",
            "options": {
                "max-size": str(service.log_limits.size_bytes),
                "max-file": str(service.log_limits.files),
            },
        },
        "init": service.init,
        "tty": service.tty,
        "stdin_open": service.stdin_open,
        "x-orlop": _extension_to_json(service),
    }
    modes = (
        ("pid", service.pid_mode),
        ("ipc", service.ipc_mode),
        ("uts", service.uts_mode),
        ("cgroup", service.cgroupns_mode),
    )
    data.update((key, mode) for key, mode in modes if mode != "private")
    if service.entrypoint is not None:
        data["entrypoint"] = list(service.entrypoint)
    if service.healthcheck is not None:
        data["healthcheck"] = service.healthcheck.to_json()
    lists: tuple[tuple[str, list[Json]], ...] = (
        ("command", list(service.command)),
        ("group_add", list(service.group_add)),
        ("cap_add", list(service.cap_add)),
        ("volumes", [mount.to_json() for mount in service.mounts]),
        ("ports", [str(port) for port in service.ports]),
        ("devices", [f"{d.source}:{d.target}:{d.permissions}" for d in service.devices]),
    )
    data.update((key, items) for key, items in lists if items)
    maps: tuple[tuple[str, dict[str, Json]], ...] = (
        ("environment", dict(service.environment)),
        ("labels", dict(service.labels)),
        ("sysctls", dict(service.sysctls)),
        ("ulimits", {u.name: {"soft": u.soft, "hard": u.hard} for u in service.ulimits}),
        (
            "depends_on",
            {
                d.service: {"condition": d.condition.value, "required": d.required}
                for d in service.depends_on
            },
        ),
    )
    data.update((key, items) for key, items in maps if items)
    optional: tuple[tuple[str, Json], ...] = (
        ("hostname", service.hostname),
        ("mem_limit", service.memory_limit_bytes),
        ("mem_reservation", service.memory_reservation_bytes),
        ("cpus", service.cpus),
        ("cpu_shares", service.cpu_shares),
        ("pids_limit", service.pids_limit),
        ("oom_score_adj", service.oom_score_adj),
    )
    data.update((key, value) for key, value in optional if value is not None)
    return data


def _extension_to_json(service: ServiceDefinition) -> dict[str, Json]:
    conditions: dict[str, Json] = {}
    for kind in ConditionKind:
        values: list[Json] = [c.value for c in service.conditions if c.kind is kind]
        if values:
            conditions[kind.value] = values
    data: dict[str, Json] = {
        "stage": service.stage.value,
        "host_dev": service.host_dev,
        "host_sys": service.host_sys.value,
        "host_proc": service.host_proc,
        "syslog": service.syslog,
        "power": service.power,
        "api": service.api,
        "user_api": service.user_api,
        "config": service.config.value,
        "cgroup_writable": service.cgroup_writable,
        "seccomp": service.seccomp.value,
    }
    if conditions:
        data["condition"] = conditions
    if service.schedule:
        data["schedule"] = service.schedule
    if service.before:
        data["before"] = list(service.before)
    flags = (
        ("detach", service.detach, True),
        ("create_only", service.create_only, False),
        ("reload_config", service.reload_config, False),
    )
    data.update((key, value) for key, value, default in flags if value is not default)
    return data
