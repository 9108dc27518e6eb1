"""From the body of `POST /containers/create` to a `ContainerConfig`.

What this engine cannot do is refused when asked for, and passed over when it is a default that
every client sends.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING

from orlop.engine.config import ContainerConfig, Resources
from orlop.lib.errors import InvalidArgument, NotImplementedYet
from orlop.lib.units import parse_size_bytes
from orlop.wire.compose_model import (
    Device,
    HealthCheck,
    LogLimits,
    Mount,
    MountKind,
    Propagation,
    RestartMode,
    RestartPolicy,
    Seccomp,
    Ulimit,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.wire.docker.fields import Object

SHELL = ("/bin/sh", "-c")
_NS = 1_000_000_000
_PROPAGATIONS = {
    "": Propagation.PRIVATE,
    "private": Propagation.PRIVATE,
    "rprivate": Propagation.PRIVATE,
    "slave": Propagation.SLAVE,
    "rslave": Propagation.SLAVE,
    "shared": Propagation.SHARED,
    "rshared": Propagation.SHARED,
}


def parse_create(body: Object, name: str) -> ContainerConfig:
    """The container that *body* describes.

    Raises:
        InvalidArgument, NotImplementedYet: with the field and the reason.
    """
    host = body.section("HostConfig")
    security = _parse_security(host)
    restart = parse_restart(host.section("RestartPolicy"))
    auto_remove = host.flag("AutoRemove")
    if auto_remove and restart.mode is not RestartMode.NO:
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    if host.flag("Init"):
        raise NotImplementedYet("an init process of the engine's is not supported yet")
    return ContainerConfig(
        name=name,
        image=body.text("Image"),
        entrypoint=_parse_entrypoint(body),
        command=body.text_or_texts("Cmd") or (),
        user=body.text("User"),
        group_add=host.texts("GroupAdd"),
        working_dir=body.text("WorkingDir"),
        environment=parse_environment(body.texts("Env")),
        hostname=body.text("Hostname"),
        domainname=body.text("Domainname"),
        labels=body.text_map("Labels"),
        tty=body.flag("Tty"),
        stdin_open=body.flag("OpenStdin"),
        stdin_once=body.flag("StdinOnce"),
        stop_signal=body.text("StopSignal"),
        stop_grace_period_s=float(body.integer("StopTimeout", 10)),
        healthcheck=_parse_healthcheck(body.section("Healthcheck")),
        restart=restart,
        auto_remove=auto_remove,
        network=_parse_network(host.text("NetworkMode"), disabled=body.flag("NetworkDisabled")),
        pid=_parse_namespace(host, "PidMode"),
        ipc=_parse_namespace(host, "IpcMode"),
        uts=_parse_namespace(host, "UTSMode"),
        cgroupns=_parse_namespace(host, "CgroupnsMode"),
        read_only=host.flag("ReadonlyRootfs"),
        privileged=host.flag("Privileged"),
        no_new_privileges=security[0],
        seccomp=security[1],
        cap_add=host.texts("CapAdd"),
        cap_drop=host.texts("CapDrop"),
        mounts=tuple(_parse_mounts(body, host)),
        devices=tuple(_parse_devices(host)),
        ulimits=tuple(
            Ulimit(item.text("Name"), item.integer("Soft"), item.integer("Hard"))
            for item in host.sections("Ulimits")
        ),
        sysctls=host.text_map("Sysctls"),
        resources=parse_resources(host),
        oom_score_adj=host.integer("OomScoreAdj") or None,
        shm_size_bytes=host.integer("ShmSize") or 64 << 20,
        log_limits=_parse_log(host.section("LogConfig")),
        extra_hosts=tuple(_parse_extra_hosts(host.texts("ExtraHosts"))),
    )


def parse_environment(items: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`KEY=VALUE` each; a key alone is passed over, as there is no environment to take it from."""
    pairs = []
    for item in items:
        key, equals, value = item.partition("=")
        if not key:
            raise InvalidArgument(f"invalid environment variable: {item[:80]}")
        if equals:
            pairs.append((key, value))
    return tuple(pairs)


def parse_restart(policy: Object) -> RestartPolicy:
    """`RestartPolicy`; an empty name is `no`."""
    name = policy.text("Name") or "no"
    if name not in RestartMode:
        raise InvalidArgument(f"invalid restart policy: unknown policy '{name}'")
    retries = policy.integer("MaximumRetryCount")
    if retries and name != RestartMode.ON_FAILURE:
        raise InvalidArgument(
            "invalid restart policy: maximum retry count can only be used with 'on-failure'"
        )
    return RestartPolicy(RestartMode(name), max(retries, 0))


def parse_resources(host: Object) -> Resources:
    """The limits of a `HostConfig`, or of an update request, which has them at the top."""
    cpus: float | None = None
    if nano := host.integer("NanoCpus"):
        cpus = nano / 1e9
    elif quota := host.integer("CpuQuota"):
        cpus = quota / (host.integer("CpuPeriod") or 100_000)
    memory = host.integer("Memory")
    if memory < 0 or (cpus is not None and cpus < 0):
        raise InvalidArgument("invalid request: limits cannot be negative")
    if 0 < memory < 6 << 20:
        raise InvalidArgument("Minimum memory limit allowed is 6MB")
    pids = host.integer("PidsLimit")
    return Resources(
        memory_bytes=memory or None,
        memory_reservation_bytes=host.integer("MemoryReservation") or None,
        memory_swap_bytes=host.integer("MemorySwap") or None,
        cpus=cpus,
        cpu_shares=host.integer("CpuShares") or None,
        cpuset_cpus=host.text("CpusetCpus"),
        cpuset_mems=host.text("CpusetMems"),
        pids_limit=None if pids == 0 else pids,
    )


def _parse_entrypoint(body: Object) -> tuple[str, ...] | None:
    words = body.text_or_texts("Entrypoint")
    if words is None:
        return None
    # `--entrypoint ""` arrives as one empty string and means: none, not even the image's.
    return () if words in ((), ("",)) else words


def _parse_healthcheck(check: Object) -> HealthCheck | None:
    test = check.texts("Test")
    if not test:
        return None
    match test[0]:
        case "NONE":
            return HealthCheck(())
        case "CMD":
            command = test[1:]
        case "CMD-SHELL":
            command = (*SHELL, *test[1:])
        case _:
            raise InvalidArgument(f"Unknown healthcheck type '{test[0][:40]}' (expected 'CMD')")

    def seconds(key: str, default_s: float) -> float:
        return check.integer(key) / _NS or default_s

    return HealthCheck(
        command,
        interval_s=seconds("Interval", 30.0),
        timeout_s=seconds("Timeout", 30.0),
        start_period_s=seconds("StartPeriod", 0.0),
        start_interval_s=seconds("StartInterval", 5.0),
        retries=check.integer("Retries") or 3,
    )


def _parse_network(mode: str, *, disabled: bool) -> str:
    if mode in ("", "default", "none") or disabled:
        return "none"
    if mode == "host":
        return "host"
    raise NotImplementedYet(
        f"network mode {mode[:80]!r} is not supported yet", hint="use --network host or none"
    )


def _parse_namespace(host: Object, key: str) -> str:
    mode = host.text(key)
    if mode in ("", "private", "shareable"):
        return "private"
    if mode == "host":
        return "host"
    raise NotImplementedYet(f"{host.path(key)}: {mode[:80]!r} is not supported yet")


def _parse_security(host: Object) -> tuple[bool, Seccomp]:
    no_new_privileges, filter_ = False, Seccomp.DEFAULT
    for option in host.texts("SecurityOpt"):
        key, _, value = option.replace(":", "=", 1).partition("=")
        match key:
            case "no-new-privileges":
                no_new_privileges = value in ("", "true")
            case "seccomp" if value == "unconfined":
                filter_ = Seccomp.NONE
            case "seccomp" if value in ("builtin", "default"):
                filter_ = Seccomp.DEFAULT
            case "apparmor" if value == "unconfined":
                pass
            case "label" | "systempaths":
                pass
            case _:
                raise NotImplementedYet(f"security option {option[:80]!r} is not supported yet")
    return no_new_privileges, filter_


def _parse_mounts(body: Object, host: Object) -> Iterator[Mount]:
    for bind in host.texts("Binds"):
        yield parse_bind(bind)
    for target, options in host.text_map("Tmpfs"):
        yield _parse_tmpfs(target, options)
    for item in host.sections("Mounts"):
        yield _parse_mount(item)
    for target in body.keys("Volumes"):
        raise NotImplementedYet(f"volumes are not supported yet: {target[:80]}")


def parse_bind(text: str) -> Mount:
    """`/source:/target[:ro,rslave …]`."""
    parts = text.split(":")
    if len(parts) not in (2, 3):
        raise InvalidArgument(f"invalid volume specification: '{text[:200]}'")
    source, target = parts[0], parts[1]
    if not source.startswith("/"):
        raise NotImplementedYet(f"named volumes are not supported yet: {source[:80]}")
    read_only, propagation = False, Propagation.PRIVATE
    for option in parts[2].split(",") if len(parts) == 3 else ():
        if option in ("ro", "rw"):
            read_only = option == "ro"
        elif option in _PROPAGATIONS:
            propagation = _PROPAGATIONS[option]
        elif option not in ("z", "Z", "nocopy", "cached", "delegated", "consistent"):
            raise InvalidArgument(f"invalid mode: {option[:40]}")
    return Mount(MountKind.BIND, _target(target), source, read_only, True, propagation=propagation)


def _parse_tmpfs(target: str, options: str) -> Mount:
    size: int | None = None
    mode: int | None = None
    read_only = False
    for option in filter(None, options.split(",")):
        key, _, value = option.partition("=")
        if key == "size":
            size = parse_size_bytes(value)
        elif key == "mode":
            try:
                mode = int(value, 8)
            except ValueError:
                raise InvalidArgument(f"invalid tmpfs mode {value[:40]!r}") from None
        elif key == "ro":
            read_only = True
    return Mount(MountKind.TMPFS, _target(target), read_only=read_only, size_bytes=size, mode=mode)


def _parse_mount(item: Object) -> Mount:
    kind = item.text("Type")
    target = _target(item.text("Target"))
    read_only = item.flag("ReadOnly")
    match kind:
        case "bind":
            options = item.section("BindOptions")
            propagation = options.text("Propagation")
            if propagation not in _PROPAGATIONS:
                raise InvalidArgument(f"invalid propagation: {propagation[:40]}")
            source = item.text("Source")
            if not source.startswith("/"):
                raise InvalidArgument(f"invalid mount path: '{source[:200]}' must be absolute")
            return Mount(
                MountKind.BIND,
                target,
                source,
                read_only,
                options.flag("CreateMountpoint"),
                propagation=_PROPAGATIONS[propagation],
            )
        case "tmpfs":
            options = item.section("TmpfsOptions")
            return Mount(
                MountKind.TMPFS,
                target,
                read_only=read_only,
                size_bytes=options.integer("SizeBytes") or None,
                mode=options.integer("Mode") or None,
            )
        case _:
            raise NotImplementedYet(f"mounts of type {kind[:40]!r} are not supported yet")


def _target(path: str) -> str:
    if not path.startswith("/"):
        raise InvalidArgument(f"invalid mount path: '{path[:200]}' mount path must be absolute")
    clean = posixpath.normpath(path)
    if clean == "/":
        raise InvalidArgument("invalid specification: destination can't be '/'")
    return clean


def _parse_devices(host: Object) -> Iterator[Device]:
    for item in host.sections("Devices"):
        source = item.text("PathOnHost")
        permissions = item.text("CgroupPermissions") or "rwm"
        if not source.startswith("/") or set(permissions) - set("rwm"):
            raise InvalidArgument(f"invalid device {source[:200]!r} with {permissions[:10]!r}")
        yield Device(source, item.text("PathInContainer") or source, permissions)


def _parse_log(log: Object) -> LogLimits | None:
    driver, options = log.text("Type"), dict(log.text_map("Config"))
    if driver not in ("", "local", "json-file"):
        raise NotImplementedYet(f"logging driver {driver[:40]!r} is not supported yet")
    if not options:
        return None
    size, files = options.get("max-size", ""), options.get("max-file", "")
    if files and not files.isdigit():
        raise InvalidArgument(f"max-file: {files[:40]!r} is not a number")
    default = LogLimits()
    return LogLimits(
        parse_size_bytes(size) if size and size != "-1" else default.size_bytes,
        max(int(files), 1) if files else default.files,
    )


def _parse_extra_hosts(items: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for item in items:
        separator = "=" if "=" in item else ":"
        name, _, address = item.partition(separator)
        if not name or not address:
            raise InvalidArgument(f"bad format for add-host: {item[:200]!r}")
        yield name, address
