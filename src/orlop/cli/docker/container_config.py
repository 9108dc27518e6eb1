"""From the flags of `run` and `create` to the body that asks the engine for a container.

Pure but for the files that flags name. What is not asked for has the value that docker's own
command sends, because an engine may look at it.
"""

from __future__ import annotations

from orlop.cli.docker import ports
from orlop.cli.docker import run_values as values_of
from orlop.cli.docker.flags import parse_bytes, parse_duration_ns, parse_nano_cpus
from orlop.cli.docker.mounts import parse_mount, split_volume

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object


def create_body(values: Values, image: str, command: list[str]) -> Object:
    """The body of POST /containers/create.

    Raises:
        ValueError: docker's text for what is wrong.
    """
    if values.flag("rm") and values.text("restart") not in ("", "no"):
        raise ValueError("Conflicting options: --restart and --rm")
    exposed, bindings = ports.publish(values.many("publish"))
    exposed |= ports.expose(values.many("expose"))
    binds, anonymous = _volumes(values)
    config = _config(values, image, command)
    config |= {"ExposedPorts": exposed, "Volumes": anonymous}
    host = _host(values)
    host |= {"Binds": binds, "PortBindings": bindings, **_resources(values)}
    host["NetworkMode"], endpoints = _networks(values)
    return config | {"HostConfig": host, "NetworkingConfig": {"EndpointsConfig": endpoints}}


def _config(values: Values, image: str, command: list[str]) -> Object:
    attach = [stream.lower() for stream in values.many("attach")]
    interactive = values.flag("interactive")
    if not attach:
        attach = ["stdout", "stderr", *(["stdin"] if interactive else [])]
    entrypoint = values.text("entrypoint")
    config: Object = {
        "Hostname": values.text("hostname"),
        "Domainname": values.text("domainname"),
        "User": values.text("user"),
        "AttachStdin": "stdin" in attach,
        "AttachStdout": "stdout" in attach,
        "AttachStderr": "stderr" in attach,
        "Tty": values.flag("tty"),
        "OpenStdin": interactive,
        "StdinOnce": interactive and "stdin" in attach,
        "Env": values_of.environment(values.many("env"), values.many("env-file")),
        "Cmd": command or None,
        "Image": image,
        "WorkingDir": values.text("workdir"),
        "Entrypoint": ([entrypoint] if entrypoint else [""])
        if values.given("entrypoint")
        else None,
        "OnBuild": None,
        "Labels": values_of.labels(values.many("label"), values.many("label-file")),
    }
    if values.given("stop-signal"):
        config["StopSignal"] = values.text("stop-signal")
    if values.given("stop-timeout"):
        config["StopTimeout"] = values.number("stop-timeout")
    health = _health(values)
    if health is not None:
        config["Healthcheck"] = health
    return config


def _health(values: Values) -> Object | None:
    durations = {
        "Interval": "health-interval",
        "Timeout": "health-timeout",
        "StartPeriod": "health-start-period",
        "StartInterval": "health-start-interval",
    }
    given = {
        key: parse_duration_ns(values.text(name))
        for key, name in durations.items()
        if values.given(name)
    }
    for key, number in given.items():
        if number < 0:
            raise ValueError(f"--{durations[key]} cannot be negative")
    retries = values.number("health-retries")
    if retries < 0:
        raise ValueError("--health-retries cannot be negative")
    has_more = bool(values.text("health-cmd") or any(given.values()) or retries)
    if values.flag("no-healthcheck"):
        if has_more:
            raise ValueError("--no-healthcheck conflicts with --health-* options")
        return {"Test": ["NONE"]}
    if not has_more:
        return None
    health: Object = {key: number for key, number in given.items() if number}
    if values.text("health-cmd"):
        health["Test"] = ["CMD-SHELL", values.text("health-cmd")]
    if retries:
        health["Retries"] = retries
    return health


def _volumes(values: Values) -> tuple[list[str] | None, Object]:
    binds: list[str] = []
    anonymous: Object = {}
    for text in values.many("volume"):
        bind, path = split_volume(text)
        if bind is not None:
            binds.append(bind)
        else:
            anonymous[path] = {}
    return binds or None, anonymous


def _host(values: Values) -> Object:
    security = values.many("security-opt")
    host: Object = {
        "ContainerIDFile": values.text("cidfile"),
        "LogConfig": {
            "Type": values.text("log-driver"),
            "Config": values_of.key_values(values.many("log-opt")),
        },
        "RestartPolicy": values_of.restart_policy(values.text("restart")),
        "AutoRemove": values.flag("rm"),
        "VolumeDriver": values.text("volume-driver"),
        "VolumesFrom": values.many("volumes-from") or None,
        "ConsoleSize": [0, 0],
        "CapAdd": values.many("cap-add") or None,
        "CapDrop": values.many("cap-drop") or None,
        "CgroupnsMode": values.text("cgroupns"),
        "Dns": values.many("dns"),
        "DnsOptions": values.many("dns-opt") + values.many("dns-option"),
        "DnsSearch": values.many("dns-search"),
        "ExtraHosts": [_extra_host(text) for text in values.many("add-host")] or None,
        "GroupAdd": values.many("group-add") or None,
        "IpcMode": values.text("ipc"),
        "Cgroup": "",
        "Links": values.many("link") or None,
        "OomScoreAdj": values.number("oom-score-adj"),
        "PidMode": values.text("pid"),
        "Privileged": values.flag("privileged"),
        "PublishAllPorts": values.flag("publish-all"),
        "ReadonlyRootfs": values.flag("read-only"),
        "SecurityOpt": values_of.security_options(security) or None,
        "UTSMode": values.text("uts"),
        "UsernsMode": values.text("userns"),
        "ShmSize": _size(values, "shm-size"),
        "Isolation": values.text("isolation"),
        "MaskedPaths": [] if "systempaths=unconfined" in security else None,
        "ReadonlyPaths": [] if "systempaths=unconfined" in security else None,
    }
    optional: Object = {
        "Annotations": values_of.key_values(values.many("annotation")),
        "Mounts": [parse_mount(text) for text in values.many("mount")],
        "StorageOpt": values_of.key_values(values.many("storage-opt")),
        "Sysctls": values_of.key_values(values.many("sysctl")),
        "Tmpfs": {path: rest for path, _, rest in (t.partition(":") for t in values.many("tmpfs"))},
        "Runtime": values.text("runtime"),
    }
    host |= {name: value for name, value in optional.items() if value}
    if values.given("init"):
        host["Init"] = values.flag("init")
    return host


def _extra_host(text: str) -> str:
    """`NAME=ADDRESS` and `NAME:[ADDRESS]` are `NAME:ADDRESS` for the API."""
    name, _, address = text.partition("=" if "=" in text.partition(":")[0] else ":")
    return f"{name}:{address.removeprefix('[').removesuffix(']')}"


def _size(values: Values, name: str) -> int:
    return parse_bytes(values.text(name)) if values.given(name) else 0


def _resources(values: Values) -> Object:
    swappiness = values.number("memory-swappiness", -1)
    if swappiness != -1 and not 0 <= swappiness <= 100:
        raise ValueError(f"invalid value: {swappiness}. Valid memory swappiness range is 0-100")
    gpus = values.text("gpus")
    found: Object = {
        **limits(values),
        "CgroupParent": values.text("cgroup-parent"),
        "BlkioWeightDevice": [
            values_of.weight_device(t) for t in values.many("blkio-weight-device")
        ],
        "BlkioDeviceReadBps": _throttles(values, "device-read-bps"),
        "BlkioDeviceWriteBps": _throttles(values, "device-write-bps"),
        "BlkioDeviceReadIOps": _throttles(values, "device-read-iops"),
        "BlkioDeviceWriteIOps": _throttles(values, "device-write-iops"),
        "Devices": [values_of.device(text) for text in values.many("device")],
        "DeviceCgroupRules": values.many("device-cgroup-rule") or None,
        "DeviceRequests": values_of.gpus(gpus) if gpus else None,
        "MemorySwappiness": swappiness,
        "OomKillDisable": values.flag("oom-kill-disable"),
        "Ulimits": values_of.gather_ulimits(values.many("ulimit")),
        "CpuCount": values.number("cpu-count"),
        "CpuPercent": values.number("cpu-percent"),
        "IOMaximumIOps": values.number("io-maxiops"),
        "IOMaximumBandwidth": _size(values, "io-maxbandwidth"),
    }
    return found


def _throttles(values: Values, name: str) -> list[Object]:
    return [values_of.throttle(t, is_size=name.endswith("bps")) for t in values.many(name)]


def limits(values: Values) -> Object:
    """What `update` can change too."""
    return {
        "CpuShares": values.number("cpu-shares"),
        "Memory": _size(values, "memory"),
        "NanoCpus": parse_nano_cpus(values.text("cpus")) if values.given("cpus") else 0,
        "BlkioWeight": values.number("blkio-weight"),
        "CpuPeriod": values.number("cpu-period"),
        "CpuQuota": values.number("cpu-quota"),
        "CpuRealtimePeriod": values.number("cpu-rt-period"),
        "CpuRealtimeRuntime": values.number("cpu-rt-runtime"),
        "CpusetCpus": values.text("cpuset-cpus"),
        "CpusetMems": values.text("cpuset-mems"),
        "MemoryReservation": _size(values, "memory-reservation"),
        "MemorySwap": _size(values, "memory-swap"),
        "PidsLimit": values.number("pids-limit"),
    }


_CONFLICTS = (
    ("alias", "network-alias", "per-network alias"),
    ("ip", "ip", "per-network IPv4 address"),
    ("ip6", "ip6", "per-network IPv6 address"),
    ("link-local-ip", "link-local-ip", "per-network link-local IP addresses"),
    ("mac-address", "mac-address", "per-network MAC address"),
)
_OWN_MODES = ("default", "bridge", "host", "none")


def _networks(values: Values) -> tuple[str, Object]:
    """The network mode and the endpoints, by network.

    `--network-alias`, `--ip` and the like are for the first network.
    """
    options = [values_of.network_option(t) for t in values.many("net") + values.many("network")]
    options = options or [{"name": ["default"]}]
    modes = [option["name"][-1] for option in options]
    if len(set(map(_is_own, modes))) > 1:
        raise ValueError(
            "conflicting options: cannot attach both user-defined and non-user-defined"
            " network-modes"
        )
    given = _given(values, options[0])
    if modes[0] == "default":
        given.pop("link", None)  # links of the default network are the host's configuration
    options[0] = options[0] | given
    endpoints: Object = {}
    for mode, option in zip(modes, options, strict=True):
        if mode in endpoints:
            raise ValueError(f'network "{mode}" is specified multiple times')
        endpoint = _endpoint(option)
        if _is_own(mode):
            _refuse_names(endpoint)
        if any(endpoint.values()) or len(options) > 1:
            endpoints[mode] = endpoint
    return modes[0], endpoints


def _is_own(mode: str) -> bool:
    """Is *mode* one of the engine's own and not the name of a network?"""
    return mode in _OWN_MODES or mode.startswith("container:")


def _given(values: Values, option: dict[str, list[str]]) -> dict[str, list[str]]:
    """What flags of their own say about the first network, which *option* may not say again."""
    single = {
        "alias": values.many("net-alias") + values.many("network-alias"),
        "link": values.many("link"),
        "link-local-ip": values.many("link-local-ip"),
    }
    for name in ("ip", "ip6", "mac-address"):
        single[name] = [values.text(name)] if values.text(name) else []
    for key, flag, what in _CONFLICTS:
        if single[key] and key in option:
            raise ValueError(f"conflicting options: cannot specify both --{flag} and {what}")
    return {key: found for key, found in single.items() if found}


def _refuse_names(endpoint: Object) -> None:
    for key, what in (("Aliases", "network-scoped aliases"), ("Links", "links")):
        if endpoint[key]:
            raise ValueError(f"{what} are only supported for user-defined networks")


def _endpoint(option: dict[str, list[str]]) -> Object:
    ipam: Object = {}
    for key, name in (("ip", "IPv4Address"), ("ip6", "IPv6Address")):
        if option.get(key):
            ipam[name] = option[key][-1]
    if option.get("link-local-ip"):
        ipam["LinkLocalIPs"] = option["link-local-ip"]
    drivers = option.get("driver-opt")
    return {
        "IPAMConfig": ipam or None,
        "Links": option.get("link"),
        "Aliases": option.get("alias"),
        "MacAddress": (option.get("mac-address") or [""])[-1],
        "DriverOpts": values_of.key_values(drivers) if drivers else None,
    }
