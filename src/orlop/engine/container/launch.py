"""Everything a container's start needs on disk: its root mounted, its bundle written."""

from __future__ import annotations

import functools
import json
import os
import resource
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.engine import disk
from orlop.engine.container import joining
from orlop.engine.container.config import SERVICE_LABEL
from orlop.engine.runtime import capabilities, rootfs, seccomp, spec, users
from orlop.lib.errors import InvalidArgument, ResourceExhausted
from orlop.wire.compose_model import MountKind, Seccomp

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.engine.container.config import ContainerConfig, Resources
    from orlop.engine.container.layout import Layout
    from orlop.engine.container.record import Record
    from orlop.engine.host import Host
    from orlop.engine.images import Image
    from orlop.wire import oci
    from orlop.wire.compose_model import Device, Mount

_USER_FILES = ("/etc/passwd", "/etc/group")
MAX_HOST_DEVICES = 512
"""Nodes a privileged container gets: more than machines have, and no reason to hang if not."""

OTHER_INITS = tuple(
    map(Path, ("/usr/bin/docker-init", "/usr/bin/tini-static", "/usr/libexec/podman/catatonit"))
)
"""What other distributions have for `--init`: static, and called the same way."""

_NOT_FOR_CONTAINERS = frozenset({"pts", "shm", "mqueue", "fd", "hugepages", "console", "ptmx"})


def prepare(
    host: Host,
    layout: Layout,
    record: Record,
    image: Image,
    volumes: tuple[tuple[str, str], ...] = (),
    *,
    root_is_mounted: bool = False,
    userns_fd: int = -1,
) -> None:
    """Mount the root file system and write the bundle. *volumes*: see `HostFacts`.

    Raises:
        OrlopError: what *record* asks for cannot be had here.
    """
    config = record.config
    try:
        layout.run.mkdir(parents=True, exist_ok=True, mode=0o711)
        layout.data.mkdir(parents=True, exist_ok=True, mode=0o710)
        if not root_is_mounted:
            mount_root(layout, image, config, userns_fd)
        joining.mount_shm(config, layout)
        facts = gather_facts(host, layout, record, image, volumes=volumes)
        if host.networks is not None:
            facts = host.networks.sandboxes.add_facts(facts, record, layout)
        bundle, warnings = spec.plan_bundle(config, image, facts)
        for warning in warnings:
            host.warn(warning)
        (layout.run / "config.json").write_text(json.dumps(bundle, separators=(",", ":")))
    except OSError as error:
        raise ResourceExhausted(f"cannot prepare container {config.name}: {error}") from error


def mount_root(layout: Layout, image: Image, config: ContainerConfig, userns_fd: int = -1) -> None:
    """Mount the root file system of a container made from *image*.

    *userns_fd* is a user namespace with the container's numbers, if it has others than the host.

    Raises:
        OrlopError: with the kernel's reason.
    """
    owner = config.uid_map[0] if config.uid_map else 0
    if config.uid_map:
        rootfs.mount_rootfs(layout, image.lower, userns_fd=userns_fd, owner=owner)
    else:
        rootfs.mount_rootfs(layout, image.lower)
    if config.manage_etc:
        rootfs.make_stubs(layout.rootfs, owner)


def identify(layout: Layout, user: str, groups: tuple[str, ...] = ()) -> users.Identity:
    """Who *user* is in a container that is mounted.

    Raises:
        InvalidArgument: nobody.
    """
    passwd, group = (users.read_in_root(layout.rootfs, path) for path in _USER_FILES)
    return users.resolve(user, passwd, group, groups)


def gather_facts(
    host: Host,
    layout: Layout,
    record: Record,
    image: Image,
    *,
    user: str = "",
    volumes: tuple[tuple[str, str], ...] | None = None,
) -> spec.HostFacts:
    """Look up what `spec` needs to know of this host; *user* instead of the configured one.

    Without *volumes* the facts are for a further process: what only a start needs is left out.
    """
    config = record.config
    starting = volumes is not None
    namespaces, shm_dir = joining.find_joined(config, layout, host.find) if starting else ((), None)
    hostname = plan_hostname(config, record.id)
    identity = identify(layout, user or config.user or image.user, config.group_add)
    return spec.HostFacts(
        rootfs=layout.rootfs,
        cgroup=host.cgroup_for_runtime(record.cgroup_name),
        identity=identity,
        hostname=hostname,
        pids_limit=host.settings.pids_limit,
        open_files=_open_files_limit(),
        capabilities=host.capabilities,
        devices=tuple(find_devices(config)) if starting else (),
        namespaces=namespaces,
        shm_dir=shm_dir,
        init=_init_program(host, config) if starting else None,
        volumes=volumes or (),
        seccomp=_seccomp(host, config),
        controllers=host.controllers,
        etc_dir=_write_etc(layout, config, hostname) if starting and config.manage_etc else None,
    )


def _open_files_limit() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return spec.DEFAULT_OPEN_FILES[1] if hard == resource.RLIM_INFINITY else hard


def plan_hostname(config: ContainerConfig, container_id: str) -> str:
    """The configured name, the host's own in its UTS or network namespace, or the short id."""
    if config.uts == "host" or (config.network == "host" and not config.hostname):
        return os.uname().nodename
    return config.hostname or container_id[:12]


def _seccomp(host: Host, config: ContainerConfig) -> oci.Seccomp | None:
    if config.seccomp is Seccomp.NONE:
        return None
    if config.seccomp_profile:
        chosen = capabilities.effective(
            config.cap_add,
            config.cap_drop,
            privileged=config.privileged,
            available=host.capabilities,
        )
        return seccomp.resolve_text(config.seccomp_profile, os.uname().machine, chosen)
    if config.privileged:
        return None
    return host.seccomp_for(
        capabilities.effective(config.cap_add, config.cap_drop, available=host.capabilities)
    )


def _init_program(host: Host, config: ContainerConfig) -> Path | None:
    if not config.init:
        return None
    program = host.settings.init_program
    found = next((path for path in (program, *OTHER_INITS) if path.exists()), None)
    if found is None:
        raise InvalidArgument(f"init binary {program} not found: start without --init")
    return found


async def make_bind_sources(config: ContainerConfig) -> None:
    """Make what is to be bound and is not there.

    Raises:
        OrlopError: it may not be made, or its disk does not let it be or does not answer.
    """
    for mount in config.mounts:
        if mount.kind is MountKind.BIND:
            await disk.look(mount.source, functools.partial(_make_bind_source, config, mount))


def _make_bind_source(config: ContainerConfig, mount: Mount) -> None:
    if os.path.lexists(mount.source):
        return
    if not mount.create_host_path:
        raise InvalidArgument(f"bind source path does not exist: {mount.source}")
    try:
        os.makedirs(mount.source, mode=0o755, exist_ok=True)
        _give_to_service(mount.source, config)
    except OSError as error:
        raise ResourceExhausted(f"cannot prepare container {config.name}: {error}") from error


def _give_to_service(directory: str, config: ContainerConfig) -> None:
    """A directory made for a system service belongs to the user it runs as, which must be a number.

    Docker leaves such a directory to root; a service without root could not use it, and nobody else
    is there to hand it over.
    """
    user, _, group = config.user.partition(":")
    if SERVICE_LABEL in dict(config.labels) and user.isdecimal() and group.isdecimal():
        os.chown(directory, int(user), int(group))


def find_devices(config: ContainerConfig) -> Iterator[spec.HostDevice]:
    """The nodes of the host that the container is to have.

    Raises:
        InvalidArgument: one that was named does not exist or is no device.
    """
    if config.host_dev:
        return
    if config.privileged:
        yield from _all_devices()
    for device in config.devices:
        yield from _find_device(device)


def _find_device(device: Device) -> Iterator[spec.HostDevice]:
    """One node, or all below a directory."""
    if os.path.isdir(device.source):
        below = list(_all_devices(device.source))
        for found in below:
            path = device.target + found.path.removeprefix(device.source)
            yield replace(found, path=path, permissions=device.permissions)
        if below:
            return
    node = _device(device.source, device.target, device.permissions)
    if node is None:
        reason = "no such file or directory"
        if os.path.lexists(device.source):
            reason = "not a device node"
        raise InvalidArgument(
            "error gathering device information while adding custom device "
            f'"{device.source}": {reason}'
        )
    yield node


def find_io_devices(limits: Resources) -> Iterator[tuple[str, int, int]]:
    """Path, major and minor number of the block devices that limits name.

    Raises:
        InvalidArgument: one is no block device.
    """
    paths = [item.path for item in limits.io_weights]
    paths += [item.path for item in limits.io_limits]
    for path in dict.fromkeys(paths):
        found = _device(path, path, "rwm")
        if found is None or found.kind != "b":
            raise InvalidArgument(f"no such block device: {path[:200]}")
        yield path, found.major, found.minor


def _all_devices(base: str = "/dev") -> Iterator[spec.HostDevice]:
    count = 0
    for directory, names, files in os.walk(base):
        names[:] = [name for name in names if name not in _NOT_FOR_CONTAINERS]
        for name in files:
            path = os.path.join(directory, name)
            if name in _NOT_FOR_CONTAINERS or os.path.islink(path):
                continue
            found = _device(path, path, "rwm")
            if found is not None:
                yield found
                count += 1
                if count >= MAX_HOST_DEVICES:
                    return


def _device(source: str, target: str, permissions: str) -> spec.HostDevice | None:
    try:
        status = os.stat(source)
    except OSError:
        return None
    if stat.S_ISCHR(status.st_mode):
        kind = "c"
    elif stat.S_ISBLK(status.st_mode):
        kind = "b"
    else:
        return None
    return spec.HostDevice(
        target,
        kind,
        os.major(status.st_rdev),
        os.minor(status.st_rdev),
        stat.S_IMODE(status.st_mode),
        status.st_uid,
        status.st_gid,
        permissions,
    )


def _write_etc(layout: Layout, config: ContainerConfig, hostname: str) -> Path:
    layout.etc.mkdir(mode=0o755, exist_ok=True)
    lines = ["127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    lines += [f"{address}\t{name}" for name, address in config.extra_hosts]
    lines.append(f"127.0.1.1\t{hostname}")
    (layout.etc / "hostname").write_text(hostname + "\n")
    (layout.etc / "hosts").write_text("\n".join(lines) + "\n")
    (layout.etc / "resolv.conf").write_bytes(
        _host_resolv_conf() if config.network == "host" else b""
    )
    return layout.etc


def _host_resolv_conf() -> bytes:
    try:
        with open("/etc/resolv.conf", "rb") as stream:
            return stream.read(users.MAX_FILE_BYTES)
    except OSError:
        return b""
