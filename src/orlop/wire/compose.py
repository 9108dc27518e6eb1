"""Reads one Compose service mapping into a `ServiceDefinition`, strictly.

Unknown keys, wrong types and values out of range are errors which name the service and the key and,
where there is one, the nearest right word. Defaults are those of a system service: no capability,
no network, no new privileges.

Source: Compose Specification, services element; `x-orlop` is described in docs/services.md.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import (
    Condition,
    ConditionKind,
    ConfigDelivery,
    Dependency,
    DependencyCondition,
    Device,
    HealthCheck,
    LogLimits,
    Mount,
    MountKind,
    Propagation,
    RestartMode,
    RestartPolicy,
    Seccomp,
    ServiceDefinition,
    Stage,
    SysAccess,
    Ulimit,
    to_json,
)
from orlop.wire.compose_mounts import absolute, parse_mounts
from orlop.wire.compose_ports import parse_ports, schedule_text
from orlop.wire.compose_values import Fields, Locate, nearest

__all__ = [
    "CAPABILITIES",
    "Condition",
    "ConditionKind",
    "ConfigDelivery",
    "Dependency",
    "DependencyCondition",
    "Device",
    "HealthCheck",
    "LogLimits",
    "Mount",
    "MountKind",
    "Propagation",
    "RestartMode",
    "RestartPolicy",
    "Seccomp",
    "ServiceDefinition",
    "Stage",
    "SysAccess",
    "Ulimit",
    "parse_service",
    "parse_services",
    "to_json",
]

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*")
_USER = re.compile(r"\d{1,10}(:\d{1,10})?|[a-z_][a-z0-9_-]*(:[a-z_][a-z0-9_-]*)?")
_PERMISSIONS = re.compile(r"r?w?m?")

# Source: Linux 6.12 include/uapi/linux/capability.h, without the CAP_ prefix, in order of number.
CAPABILITIES = (
    *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID"),
    *("SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW"),
    *("IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT"),
    *("SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD"),
    *("LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG"),
    *("WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE"),
)

_ULIMITS = (
    *("core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
    *("rss", "rtprio", "rttime", "sigpending", "stack", "as"),
)
_MAX_INT = (1 << 63) - 1


def parse_service(
    name: str, data: Mapping[str, object], locate: Locate | None = None
) -> ServiceDefinition:
    """Check the Compose mapping *data* of service *name*.

    *locate* turns a path of keys into a prefix for errors, such as file and line.

    Raises:
        InvalidArgument: names the service, the key, what is wrong and what may have been meant.
    """
    what = f"service {name}"
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise InvalidArgument(
            f"{what}: not a service name", hint="use up to 63 of a-z, 0-9, dot, dash, underscore"
        )
    fields = Fields(what, data, (), locate)
    _refuse_privileges(fields)
    extension = fields.nested("x-orlop") or Fields(what, {}, ("x-orlop",), locate)
    service = ServiceDefinition(
        name=name,
        image=fields.string("image", name),
        command=_command(fields, "command") or (),
        entrypoint=_command(fields, "entrypoint"),
        user=_matching(fields, "user", "0:0", _USER, "a user such as 100:101 or syslog"),
        group_add=fields.strings("group_add"),
        working_dir=_working_dir(fields),
        environment=fields.pairs("environment"),
        network_mode=_one_of(fields, "network_mode", ("none", "host")),
        pid_mode=_one_of(fields, "pid", ("private", "host")),
        ipc_mode=_one_of(fields, "ipc", ("private", "host")),
        uts_mode=_one_of(fields, "uts", ("private", "host")),
        cgroupns_mode=_one_of(fields, "cgroup", ("private", "host")),
        hostname=_matching(fields, "hostname", "", _HOSTNAME, "a host name") or None,
        read_only=fields.boolean("read_only"),
        cap_add=_capabilities(fields),
        no_new_privileges=_no_new_privileges(fields),
        mounts=parse_mounts(fields),
        devices=_devices(fields),
        ulimits=(*_ulimits(fields, "ulimits"), *_ulimits(extension, "rlimits")),
        memory_limit_bytes=fields.size_bytes("mem_limit"),
        memory_reservation_bytes=fields.size_bytes("mem_reservation"),
        cpus=fields.number("cpus", 0.01, 4096),
        cpu_shares=fields.integer("cpu_shares", 2, 262144),
        pids_limit=fields.integer("pids_limit", -1, 1 << 22),
        oom_score_adj=fields.integer("oom_score_adj", -1000, 1000),
        depends_on=_dependencies(fields, name),
        restart=_restart(fields),
        stop_signal=_signal(fields),
        stop_grace_period_s=fields.duration_s("stop_grace_period", 10.0),
        healthcheck=_healthcheck(fields),
        labels=fields.pairs("labels"),
        init=fields.boolean("init"),
        sysctls=fields.pairs("sysctls"),
        tty=fields.boolean("tty"),
        stdin_open=fields.boolean("stdin_open"),
        log_limits=_log_limits(fields),
        conditions=_conditions(extension),
        stage=extension.choice("stage", Stage.NORMAL),
        host_dev=extension.boolean("host_dev"),
        host_sys=extension.choice("host_sys", SysAccess.NONE),
        host_proc=extension.boolean("host_proc"),
        syslog=extension.boolean("syslog", True),
        power=extension.boolean("power"),
        api=extension.boolean("api"),
        user_api=extension.boolean("user_api"),
        config=_config_delivery(extension),
        cgroup_writable=extension.boolean("cgroup_writable"),
        seccomp=extension.choice("seccomp", Seccomp.DEFAULT),
        ports=parse_ports(fields),
        schedule=schedule_text(extension),
        before=extension.strings("before"),
        detach=extension.boolean("detach", True),
        create_only=extension.boolean("create_only"),
        reload_config=extension.boolean("reload_config"),
    )
    fields.finish()
    extension.finish()
    return service


def parse_services(
    data: Mapping[str, object], locate: Locate | None = None
) -> list[ServiceDefinition]:
    """Check a whole file: `services: {NAME: {...}}`, nothing else (`name`, `version` are ignored).

    Raises:
        InvalidArgument: as `parse_service`, at the first error.
    """
    fields = Fields("services file", data, (), locate)
    fields.string("name")
    fields.string("version")
    services = fields.take("services")
    fields.finish()
    if not isinstance(services, Mapping) or not services:
        fields.fail("services", "must be a map of services")

    def inside(name: str) -> Locate | None:
        return None if locate is None else lambda path: locate(("services", name, *path))

    found: list[ServiceDefinition] = []
    for name, service in services.items():
        found.append(parse_service(name, service, inside(str(name))))
    return found


def _refuse_privileges(fields: Fields) -> None:
    if fields.boolean("privileged"):
        fields.fail("privileged", "a system service has no privileged mode", "use cap_add")
    for capability in fields.strings("cap_drop"):
        if capability.upper() != "ALL" and _capability(capability) not in CAPABILITIES:
            fields.fail("cap_drop", f"unknown capability {capability}")


def _one_of(fields: Fields, key: str, words: tuple[str, ...]) -> str:
    value = fields.string(key, words[0])
    if value not in words:
        fields.fail(key, f"must be one of {', '.join(words)}, not {value!r}")
    return value


def _matching(fields: Fields, key: str, default: str, pattern: re.Pattern[str], what: str) -> str:
    value = fields.string(key, default)
    if value and pattern.fullmatch(value) is None:
        fields.fail(key, f"must be {what}, not {value!r}")
    return value


def _working_dir(fields: Fields) -> str:
    """An empty one is the image's."""
    value = fields.string("working_dir", "/")
    return absolute(fields, "working_dir", value) if value else ""


def _command(fields: Fields, key: str) -> tuple[str, ...] | None:
    """A list as it is; a string is split as a shell would, without a shell."""
    value = fields.take(key)
    if value is None:
        return None
    if not isinstance(value, str):
        return fields.check_strings(key, value)
    import shlex  # not needed for definitions in normal form, so PID 1 never loads it

    try:
        return tuple(shlex.split(value))
    except ValueError as error:
        fields.fail(key, f"cannot be split into words: {error}")


def _capability(name: str) -> str:
    return name.upper().removeprefix("CAP_")


def _capabilities(fields: Fields) -> tuple[str, ...]:
    names = [_capability(name) for name in fields.strings("cap_add")]
    for name in names:
        if name not in CAPABILITIES:
            guess = nearest(name, CAPABILITIES)
            fields.fail(
                "cap_add",
                f"unknown capability {name}",
                f"did you mean {guess}?" if guess else None,
            )
    return tuple(dict.fromkeys(names))


def _no_new_privileges(fields: Fields) -> bool:
    value = True
    for option in fields.strings("security_opt"):
        name, _, argument = option.replace("=", ":", 1).partition(":")
        if name != "no-new-privileges" or argument not in ("", "true", "false"):
            fields.fail(
                "security_opt", f"unknown option {option!r}", "seccomp is set by x-orlop.seccomp"
            )
        value = argument != "false"
    return value


def _devices(fields: Fields) -> tuple[Device, ...]:
    found: list[Device] = []
    for text in fields.strings("devices"):
        source, _, rest = text.partition(":")
        target, _, permissions = rest.partition(":")
        if _PERMISSIONS.fullmatch(permissions) is None:
            fields.fail("devices", f"permissions are of r, w, m in that order, not {permissions!r}")
        target = absolute(fields, "devices", target or source)
        found.append(Device(absolute(fields, "devices", source), target, permissions or "rwm"))
    return tuple(found)


def _ulimits(fields: Fields, key: str) -> tuple[Ulimit, ...]:
    found: list[Ulimit] = []
    for name, value in fields.children(key).items():
        place = f"{key}.{name}"
        word = name.lower().removeprefix("rlimit_")
        if word not in _ULIMITS:
            guess = nearest(word, _ULIMITS)
            fields.fail(place, "unknown limit", f"did you mean {guess}?" if guess else None)
        if isinstance(value, Fields):
            soft, hard = value.integer("soft", -1, _MAX_INT), value.integer("hard", -1, _MAX_INT)
            value.finish()
            if soft is None or hard is None:
                fields.fail(place, "must have both soft and hard")
        else:
            soft = hard = fields.check_integer(place, value)
        found.append(Ulimit(word, soft, hard))
    return tuple(found)


def _dependencies(fields: Fields, name: str) -> tuple[Dependency, ...]:
    found: list[Dependency] = []
    value = fields.take("depends_on")
    if value is None:
        return ()
    if isinstance(value, Mapping):
        for other, item in value.items():
            inner = fields.inner(f"depends_on.{other}", item or {})
            condition = inner.choice("condition", DependencyCondition.STARTED)
            found.append(Dependency(str(other), condition, inner.boolean("required", True)))
            inner.finish()
    else:
        found += [Dependency(other) for other in fields.check_strings("depends_on", value)]
    if any(dependency.service == name for dependency in found):
        fields.fail("depends_on", "a service cannot depend on itself")
    return tuple(found)


def _restart(fields: Fields) -> RestartPolicy:
    value = fields.take("restart")
    if value is None or value is False:  # YAML reads an unquoted `no` as a boolean
        return RestartPolicy()
    word, _, retries = fields.check_string("restart", value).partition(":")
    mode = fields.check_choice("restart", word, RestartMode)
    if not retries:
        return RestartPolicy(mode)
    if mode is not RestartMode.ON_FAILURE or not retries.isdecimal():
        fields.fail("restart", f"only on-failure takes a number of retries, not {value!r}")
    return RestartPolicy(mode, int(retries))


def _signal(fields: Fields) -> str:
    value = fields.string("stop_signal", "SIGTERM").upper()
    if not value:
        return ""  # the image's
    if value.isdecimal():
        if not 0 < int(value) < signal.NSIG:
            fields.fail("stop_signal", f"there is no signal {value}")
        return value
    name = value if value.startswith("SIG") else f"SIG{value}"
    known = [member.name for member in signal.Signals]
    if name not in known:
        guess = nearest(name, known)
        hint = f"did you mean {guess}?" if guess else None
        fields.fail("stop_signal", f"there is no signal {value}", hint)
    return name


def _healthcheck(fields: Fields) -> HealthCheck | None:
    inner = fields.nested("healthcheck")
    if inner is None:
        return None
    disabled = inner.boolean("disable")
    test = inner.take("test")
    command: tuple[str, ...] = ()
    if isinstance(test, str):
        command = ("/bin/sh", "-c", test)
    elif test is not None:
        words = inner.check_strings("test", test)
        match words:
            case ("NONE",):
                disabled = True
            case ("CMD", _, *_):
                command = words[1:]
            case ("CMD-SHELL", line):
                command = ("/bin/sh", "-c", line)
            case _:
                inner.fail("test", "must be [CMD, ...], [CMD-SHELL, line] or [NONE]")
    check = HealthCheck(
        command=command,
        interval_s=inner.duration_s("interval", 30.0),
        timeout_s=inner.duration_s("timeout", 30.0),
        start_period_s=inner.duration_s("start_period", 0.0),
        start_interval_s=inner.duration_s("start_interval", 5.0),
        retries=inner.integer("retries", 1, 1000) or 3,
    )
    if min(check.interval_s, check.timeout_s, check.start_interval_s) < 0.1:
        inner.fail("", "intervals and timeout must be 100ms or more")
    inner.finish()
    if disabled:
        return None
    if not command:
        inner.fail("test", "is missing")
    return check


def _log_limits(fields: Fields) -> LogLimits:
    inner = fields.nested("logging")
    if inner is None:
        return LogLimits()
    driver = inner.string("driver", "local")
    if driver not in ("local", "json-file"):
        inner.fail("driver", f"must be local, not {driver!r}")
    options = inner.nested("options") or Fields(fields.what, {})
    limits = LogLimits(
        size_bytes=options.size_bytes("max-size") or LogLimits().size_bytes,
        files=options.integer("max-file", 1, 100) or LogLimits().files,
    )
    options.finish()
    inner.finish()
    return limits


def _conditions(extension: Fields) -> tuple[Condition, ...]:
    inner = extension.nested("condition")
    if inner is None:
        return ()
    found = [
        Condition(kind, value) for kind in ConditionKind for value in inner.strings(kind.value)
    ]
    inner.finish()
    return tuple(found)


def _config_delivery(extension: Fields) -> ConfigDelivery:
    value = extension.take("config")
    if isinstance(value, bool):
        return ConfigDelivery.RESTART if value else ConfigDelivery.NONE
    if value is None:
        return ConfigDelivery.NONE
    return extension.check_choice("config", value, ConfigDelivery)
