"""What a container is asked to be, fixed at its creation.

`ContainerConfig` is the engine's own form. It is made from a service definition of the system
(`from_service`), from a Docker API request (`engine.api.create_request`), or by a test. It is
stored as JSON beside the container (`engine.container.record`).

Values that mean "as the image says" are None or empty here and are resolved at each start by
`engine.runtime.spec`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.container.endpoints import Networking
from orlop.wire.compose_model import (
    Device,
    HealthCheck,
    LogLimits,
    Mount,
    RestartPolicy,
    Seccomp,
    SysAccess,
    Ulimit,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.wire.compose_model import ServiceDefinition

SERVICE_LABEL = "org.orlop.service"
"""Label of every container made from a service definition; its value is the service's name."""


NO_RESTART = RestartPolicy()
NO_NETWORKING = Networking()


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """Access to device numbers; -1 is any. *kind* is `c`, `b` or `a` for both."""

    kind: str
    major: int
    minor: int
    access: str


@dataclass(frozen=True, slots=True)
class IoLimit:
    """What a block device may do; *kind* is `rbps`, `wbps`, `riops` or `wiops`."""

    path: str
    kind: str
    rate: int


@dataclass(frozen=True, slots=True)
class IoWeight:
    """The share of a block device, 10 to 1000."""

    path: str
    weight: int


@dataclass(frozen=True, slots=True)
class VolumeRequest:
    """How to make the volume of a mount if there is none; *target* says which mount."""

    target: str
    driver: str = ""
    options: tuple[tuple[str, str], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Resources:
    """Limits of the container's cgroup. None: not set; *pids_limit* -1: none at all."""

    memory_bytes: int | None = None
    memory_reservation_bytes: int | None = None
    memory_swap_bytes: int | None = None
    """Memory and swap together, as Docker counts; -1 is unlimited swap."""
    cpus: float | None = None
    cpu_quota_usec: int | None = None
    """Says the same as *cpus*, with a period of its own; only one of them is set."""
    cpu_period_usec: int | None = None
    cpu_shares: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    blkio_weight: int | None = None
    io_weights: tuple[IoWeight, ...] = ()
    io_limits: tuple[IoLimit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """Everything that a start of the container depends on, besides the image itself."""

    name: str
    image: str
    entrypoint: tuple[str, ...] | None = None
    command: tuple[str, ...] = ()
    user: str = ""
    group_add: tuple[str, ...] = ()
    working_dir: str = ""
    environment: tuple[tuple[str, str], ...] = ()
    environment_unset: tuple[str, ...] = ()
    """Variables that the image sets and the container is not to have."""
    hostname: str = ""
    domainname: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    tty: bool = False
    console_size: tuple[int, int] | None = None
    """Height and width of the terminal at the start."""
    stdin_open: bool = False
    stdin_once: bool = False
    stop_signal: str = ""
    stop_grace_period_s: float = 10.0
    healthcheck: HealthCheck | None = None
    """None: the image's. One with an empty command: none at all."""
    restart: RestartPolicy = NO_RESTART
    auto_remove: bool = False
    network: str = "none"
    """`none`, `host`, `container:ID`, or the name or id of a network."""
    networking: Networking = NO_NETWORKING
    pid: str = "private"
    ipc: str = "private"
    uts: str = "private"
    cgroupns: str = "private"
    read_only: bool = False
    privileged: bool = False
    no_new_privileges: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    seccomp: Seccomp = Seccomp.DEFAULT
    seccomp_profile: str = ""
    """A profile instead of the default one, as JSON."""
    apparmor: str = ""
    masked_paths: tuple[str, ...] | None = None
    """None: the usual ones."""
    readonly_paths: tuple[str, ...] | None = None
    mounts: tuple[Mount, ...] = ()
    volume_requests: tuple[VolumeRequest, ...] = ()
    """For volumes among *mounts* that are yet to be made; empty once the container exists."""
    volumes_from: tuple[str, ...] = ()
    """Likewise."""
    devices: tuple[Device, ...] = ()
    device_rules: tuple[DeviceRule, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    sysctls: tuple[tuple[str, str], ...] = ()
    resources: Resources = Resources()
    oom_score_adj: int | None = None
    shm_size_bytes: int = 64 << 20
    log_limits: LogLimits | None = None
    """None: the engine's default."""
    log_driver: str = ""
    """Empty: the engine's own, `local`."""
    log_options: tuple[tuple[str, str], ...] = ()
    init: bool = False
    """Run the command under a small init that reaps and forwards signals."""
    userns: str = ""
    """`host`: no user namespace although the engine remaps."""
    uid_map: tuple[int, ...] = ()
    """First number and count on the host of the users and groups in it; empty: the same."""
    cgroup_parent: str = ""
    annotations: tuple[tuple[str, str], ...] = ()
    requested: str = ""
    """The request it was made from, as compact JSON without what was not set: for `inspect`."""
    extra_hosts: tuple[tuple[str, str], ...] = ()
    manage_etc: bool = True
    """Give the container its own /etc/hostname, /etc/hosts and /etc/resolv.conf, as Docker does."""
    sysfs: bool = True
    """Mount /sys and /sys/fs/cgroup, read-only unless privileged."""
    host_dev: bool = False
    host_sys: SysAccess = SysAccess.NONE
    host_proc: bool = False
    cgroup_writable: bool = False


def from_service(
    service: ServiceDefinition,
    *,
    extra_mounts: Sequence[Mount] = (),
    extra_environment: Sequence[tuple[str, str]] = (),
) -> ContainerConfig:
    """The container for a system service.

    What `x-orlop` asks of the *system* (syslog, power, api, config, conditions, stage) is not
    looked at: the caller turns it into *extra_mounts* and into the order of starting. All
    capabilities are dropped but those in `cap_add`. The files under /etc are the image's own, and
    there is no /sys unless `host_sys` or `cgroup_writable` asks for one.
    """
    return ContainerConfig(
        name=service.name,
        image=service.image,
        entrypoint=service.entrypoint,
        command=service.command,
        user=service.user,
        group_add=service.group_add,
        working_dir=service.working_dir,
        environment=(*service.environment, *extra_environment),
        hostname=service.hostname or "",
        labels=(*service.labels, (SERVICE_LABEL, service.name)),
        init=service.init,
        tty=service.tty,
        stdin_open=service.stdin_open,
        stop_signal=service.stop_signal,
        stop_grace_period_s=service.stop_grace_period_s,
        healthcheck=service.healthcheck,
        restart=service.restart,
        network=service.network_mode,
        pid=service.pid_mode,
        ipc=service.ipc_mode,
        uts=service.uts_mode,
        cgroupns=service.cgroupns_mode,
        read_only=service.read_only,
        no_new_privileges=service.no_new_privileges,
        cap_add=service.cap_add,
        cap_drop=("ALL",),
        seccomp=service.seccomp,
        mounts=(*service.mounts, *extra_mounts),
        devices=service.devices,
        ulimits=service.ulimits,
        sysctls=service.sysctls,
        resources=Resources(
            memory_bytes=service.memory_limit_bytes,
            memory_reservation_bytes=service.memory_reservation_bytes,
            cpus=service.cpus,
            cpu_shares=service.cpu_shares,
            pids_limit=service.pids_limit,
        ),
        oom_score_adj=service.oom_score_adj,
        log_limits=service.log_limits,
        manage_etc=False,
        sysfs=service.cgroup_writable,
        host_dev=service.host_dev,
        host_sys=service.host_sys,
        host_proc=service.host_proc,
        cgroup_writable=service.cgroup_writable,
    )
