"""From the body of `POST /containers/create` to a `ContainerConfig`.

What this engine cannot do is refused when asked for, and passed over when it is a default that
every client sends.
"""

from __future__ import annotations

import json
import os
import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.engine.api.request_health import TIMES, parse_healthcheck, with_times
from orlop.engine.api.request_log import parse_log
from orlop.engine.api.request_mounts import parse_mounts, parse_volumes_from
from orlop.engine.api.request_resources import (
    parse_device_rules,
    parse_devices,
    parse_resources,
    parse_restart,
    parse_ulimits,
    refuse_device_requests,
)
from orlop.engine.api.request_security import (
    check_sysctls,
    parse_cgroupns,
    parse_ipc,
    parse_namespace,
    parse_security,
)
from orlop.engine.container.config import NO_NETWORKING, ContainerConfig
from orlop.engine.runtime import capabilities
from orlop.lib.errors import InvalidArgument, NotFound, NotImplementedYet
from orlop.wire.compose_model import RestartMode
from orlop.wire.docker.fields import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.engine.container.endpoints import Networking
    from orlop.engine.images import Image
    from orlop.wire.docker.fields import Object


_BESIDE_CONFIG = ("HostConfig", "NetworkingConfig")
RUNTIMES = ("", "crun", "io.containerd.crun.v2", "runc", "io.containerd.runc.v2")
"""All of them are crun: clients that know Docker alone ask for what it has by default."""

ECHOED = (
    *("AttachStdin", "AttachStdout", "AttachStderr", "ExposedPorts", "OnBuild", "Volumes"),
    *("StopTimeout", "Healthcheck"),
)
"""Of the request's top level: means nothing to us, but is shown by `inspect`."""


def parse_create(body: Object, name: str, *, networks: bool = False) -> ContainerConfig:
    """The container that *body* describes. Without *networks* the engine has host and none only.

    Raises:
        InvalidArgument, NotImplementedYet: with the field and the reason.
    """
    host = body.section("HostConfig")
    _refuse_what_cannot_be(body, host)
    security = parse_security(host)
    restart = parse_restart(host.section("RestartPolicy"))
    auto_remove = host.flag("AutoRemove")
    if auto_remove and restart.mode is not RestartMode.NO:
        raise InvalidArgument("can't create 'AutoRemove' container with restart policy")
    network, networking = _parse_networks(body, host, networks=networks)
    ipc, uts = parse_ipc(host), parse_namespace(host, "UTSMode", "UTS")
    mounts, volume_requests = parse_mounts(body, host)
    masked, readonly = _parse_paths(host, unmasked=security.unmasked)
    log = parse_log(host.section("LogConfig"))
    return ContainerConfig(
        name=name,
        image=body.text("Image"),
        entrypoint=_parse_entrypoint(body),
        command=body.text_or_texts("Cmd") or (),
        user=body.text("User"),
        group_add=host.texts("GroupAdd"),
        working_dir=_parse_directory(body.text("WorkingDir")),
        environment=parse_environment(body.texts("Env")),
        environment_unset=tuple(dict.fromkeys(t for t in body.texts("Env") if "=" not in t)),
        hostname=body.text("Hostname"),
        domainname=body.text("Domainname"),
        labels=body.text_map("Labels"),
        tty=body.flag("Tty"),
        console_size=parse_console_size(host),
        stdin_open=body.flag("OpenStdin"),
        stdin_once=body.flag("StdinOnce"),
        stop_signal=body.text("StopSignal"),
        stop_grace_period_s=float(body.integer("StopTimeout", 10)),
        healthcheck=parse_healthcheck(body.section("Healthcheck")),
        restart=restart,
        auto_remove=auto_remove,
        network=network,
        networking=networking,
        pid=parse_namespace(host, "PidMode", "PID"),
        ipc=ipc,
        uts=uts,
        cgroupns=parse_cgroupns(host),
        userns=_parse_userns(host),
        read_only=host.flag("ReadonlyRootfs"),
        privileged=host.flag("Privileged"),
        no_new_privileges=security.no_new_privileges,
        seccomp=security.seccomp,
        seccomp_profile=security.seccomp_profile,
        apparmor=security.apparmor,
        masked_paths=masked,
        readonly_paths=readonly,
        cgroup_writable=security.cgroup_writable,
        cap_add=host.texts("CapAdd"),
        cap_drop=host.texts("CapDrop"),
        mounts=mounts,
        volume_requests=volume_requests,
        volumes_from=parse_volumes_from(host),
        devices=tuple(parse_devices(host)),
        device_rules=tuple(parse_device_rules(host)),
        ulimits=tuple(parse_ulimits(host)),
        sysctls=check_sysctls(host.text_map("Sysctls"), network=network, ipc=ipc, uts=uts),
        resources=parse_resources(host),
        oom_score_adj=host.integer("OomScoreAdj") or None,
        shm_size_bytes=host.integer("ShmSize") or 64 << 20,
        log_limits=log.limits,
        log_driver=log.driver,
        log_options=log.options,
        init=host.flag("Init"),
        cgroup_parent=_parse_cgroup_parent(host.text("CgroupParent")),
        annotations=_parse_annotations(host),
        requested=_compact(body),
        extra_hosts=tuple(_parse_extra_hosts(host.texts("ExtraHosts"))),
    )


def merge_image(config: ContainerConfig, body: Object, image: Image) -> ContainerConfig:
    """*config* with what dockerd stores of the image: labels, ports, times of the health check.

    A `Healthcheck` without a test changes the times of the image's.
    """
    labels = tuple({**dict(image.labels), **dict(config.labels)}.items())
    check, given = config.healthcheck, body.section("Healthcheck")
    if check is None and image.healthcheck is not None and any(key in given for key in TIMES):
        check = with_times(image.healthcheck, given)
    exposed = tuple(dict.fromkeys((*config.networking.exposed, *image.exposed_ports)))
    networking = replace(config.networking, exposed=exposed)
    return replace(config, labels=labels, healthcheck=check, networking=networking)


def check_platform(image: Image, name: str, wanted: str) -> None:
    """Refuse an image that is not for the platform that was asked for.

    Raises:
        NotFound: in dockerd's words; a client may pull the other one then.
    """
    if not wanted:
        return
    from orlop.wire.registry import platform

    host = platform.host_platform(os.uname().machine)
    known = image.document
    has = platform.normalize(
        known.get("os") or host.os,
        known.get("architecture") or host.architecture,
        known.get("variant") or "",
    )
    asked = platform.parse_platform(wanted, host)
    plain = platform.normalize(asked.os, asked.architecture)
    # Images of careless tools do not say their variant.
    if platform.rank(asked, has) is None and (known.get("variant") or has != plain):
        raise NotFound(
            f"image with reference {name} was found but its platform ({has}) does not match the "
            f"specified platform ({asked})"
        )


def _refuse_what_cannot_be(body: Object, host: Object) -> None:
    """Fields that are understood and cannot be honoured here, in dockerd's words."""
    if host.text("UTSMode") == "host" and body.text("Hostname"):
        raise InvalidArgument("conflicting options: hostname and the UTS mode")
    _refuse_empty(body)
    runtime, isolation = host.text("Runtime"), host.text("Isolation")
    if runtime not in RUNTIMES:
        raise InvalidArgument(f"unknown or invalid runtime name: {runtime[:80]}")
    if isolation not in ("", "default"):
        raise InvalidArgument(
            f"invalid isolation ({isolation[:80]}): linux only supports 'default'"
        )
    if host.text_map("StorageOpt"):
        raise InvalidArgument(
            "--storage-opt is supported only for overlay over xfs with 'pquota' mount option"
        )
    for key in ("CapAdd", "CapDrop"):
        for name in host.texts(key):
            try:
                capabilities.normalise(name)
            except InvalidArgument:
                full = name.upper() if name.upper().startswith("CAP_") else f"CAP_{name.upper()}"
                text = f'invalid {key}: unknown capability: "{full[:80]}"'
                raise InvalidArgument(text) from None
    adjustment = host.integer("OomScoreAdj")
    if not -1000 <= adjustment <= 1000:
        raise InvalidArgument(
            f"Invalid value {adjustment}, range for oom score adj is [-1000, 1000]"
        )
    if host.integer("ShmSize") < 0:
        raise InvalidArgument("SHM size can not be less than 0")
    refuse_device_requests(host)


def _refuse_empty(body: Object) -> None:
    if body.text("Image"):
        return
    if not any(key not in _BESIDE_CONFIG for key, _ in body.items()):
        raise InvalidArgument("config cannot be empty in order to create a container")
    if not body.text_or_texts("Cmd") and not body.text_or_texts("Entrypoint"):
        raise InvalidArgument("no command specified")


def _parse_directory(path: str) -> str:
    if path and not path.startswith("/"):
        raise InvalidArgument(
            f"the working directory '{path[:200]}' is invalid, it needs to be an absolute path"
        )
    return posixpath.normpath(f"/{path.lstrip('/')}") if path else ""


def _parse_annotations(host: Object) -> tuple[tuple[str, str], ...]:
    annotations = host.text_map("Annotations")
    if "" in dict(annotations):
        text = "the empty string is not permitted as an annotation key"
        raise InvalidArgument(f"invalid Annotations: {text}")
    return annotations


def _parse_paths(
    host: Object, *, unmasked: bool
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """`MaskedPaths` and `ReadonlyPaths`; null means the usual ones."""
    if unmasked:
        return (), ()
    masked = host.texts("MaskedPaths") if "MaskedPaths" in host else None
    readonly = host.texts("ReadonlyPaths") if "ReadonlyPaths" in host else None
    return masked, readonly


def _parse_userns(host: Object) -> str:
    mode = host.text("UsernsMode")
    if mode not in ("", "host"):
        raise InvalidArgument("invalid user namespace mode: " + mode[:80])
    return mode


def _parse_cgroup_parent(path: str) -> str:
    if ".." in path.split("/") or "\0" in path or len(path) > 255:
        raise InvalidArgument(f"invalid cgroup parent: {path[:80]!r}")
    return path


def _compact(body: Object) -> str:
    """What the request set, without what is null, zero or empty: for `inspect` to show."""
    host = body.section("HostConfig")
    kept = {
        "HostConfig": {key: value for key, value in host.items() if value},
        **{key: value for key, value in body.items() if key in ECHOED and value},
    }
    # The order of Docker's lists and maps is the request's.
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False)


def parse_environment(items: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """`KEY=VALUE` each. A key alone takes a variable away instead, and is passed over here."""
    pairs = []
    for item in items:
        key, equals, value = item.partition("=")
        if not key:
            raise InvalidArgument(f"invalid environment variable: {item[:80]}")
        if equals:
            pairs.append((key, value))
    return tuple(pairs)


def _parse_entrypoint(body: Object) -> tuple[str, ...] | None:
    words = body.text_or_texts("Entrypoint")
    if words is None:
        return None
    # `--entrypoint ""` arrives as one empty string and means: none, not even the image's.
    return () if words in ((), ("",)) else words


def parse_console_size(body: Object) -> tuple[int, int] | None:
    """`ConsoleSize`: height and width, or nothing."""
    if "ConsoleSize" not in body:
        return None
    sizes = body.integers("ConsoleSize")
    if len(sizes) != 2 or not all(0 <= size < 1 << 16 for size in sizes):
        raise InvalidArgument("ConsoleSize must be the height and width of a terminal")
    return (sizes[0], sizes[1]) if any(sizes) else None


def _parse_networks(body: Object, host: Object, *, networks: bool) -> tuple[str, Networking]:
    if networks:
        from orlop.engine.api.network_request import parse_networking

        return parse_networking(body, host)
    disabled = body.flag("NetworkDisabled")
    return _parse_network(host.text("NetworkMode"), disabled=disabled), NO_NETWORKING


def _parse_network(mode: str, *, disabled: bool) -> str:
    if mode in ("", "default", "none") or disabled:
        return "none"
    if mode == "host":
        return "host"
    raise NotImplementedYet(
        f"network mode {mode[:80]!r} is not supported yet", hint="use --network host or none"
    )


def _check_address(text: str) -> None:
    from orlop.engine.network.ipam import parse_address

    try:
        parse_address(text.removeprefix("[").removesuffix("]"))
    except InvalidArgument:
        raise InvalidArgument(f"invalid IP address in add-host: {quoted(text)}") from None


def _parse_extra_hosts(items: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for item in items:
        separator = "=" if "=" in item else ":"
        name, _, address = item.partition(separator)
        if not name or not address:
            raise InvalidArgument(f"bad format for add-host: {quoted(item)}")
        if address != "host-gateway":
            _check_address(address)
        yield name, address
