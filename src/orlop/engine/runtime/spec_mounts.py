"""The mounts of a container in the order the runtime makes them. Pure, as `engine.runtime.spec`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.wire.compose_model import MountKind, SysAccess

if TYPE_CHECKING:
    from orlop.engine.container.config import ContainerConfig
    from orlop.engine.runtime.spec import HostFacts
    from orlop.wire import oci
    from orlop.wire.compose_model import Mount

ETC_FILES = ("hostname", "hosts", "resolv.conf")
INIT_TARGET = "/sbin/docker-init"
"""Where dockerd puts it too."""


def plan_mounts(config: ContainerConfig, facts: HostFacts) -> list[oci.Mount]:
    """All mounts in the order they are made: the system's own, then the configured by depth."""
    mounts = [*_proc_and_dev(config, facts), *_sys(config)]
    if facts.init is not None:
        flags = ["bind", "rprivate", "ro"]
        mounts.append(_mount(INIT_TARGET, "bind", os.fspath(facts.init), *flags))
    wanted = []
    if facts.etc_dir is not None:
        flags = ["rbind", "rprivate", *(["ro"] if config.read_only else [])]
        wanted += [
            _mount(f"/etc/{name}", "bind", os.fspath(facts.etc_dir / name), *flags)
            for name in ETC_FILES
        ]
    volumes = dict(facts.volumes)
    wanted += [_configured_mount(mount, volumes) for mount in config.mounts]
    mounts += sorted(wanted, key=lambda mount: mount["destination"].rstrip("/").count("/"))
    # A mount given for one of the standard places is what counts there.
    latest = {mount["destination"]: mount for mount in mounts}
    return [mount for mount in mounts if latest[mount["destination"]] is mount]


def _mount(destination: str, kind: str, source: str, *options: str) -> oci.Mount:
    return {"destination": destination, "type": kind, "source": source, "options": list(options)}


def _proc_and_dev(config: ContainerConfig, facts: HostFacts) -> list[oci.Mount]:
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
    if config.ipc == "none":
        return mounts
    if config.ipc == "host":
        return [*mounts, _mount("/dev/shm", "bind", "/dev/shm", "rbind", "rprivate")]
    if facts.shm_dir is not None:
        source = os.fspath(facts.shm_dir)
        return [*mounts, _mount("/dev/shm", "bind", source, "bind", "rprivate", *restricted)]
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


def _configured_mount(mount: Mount, volumes: dict[str, str]) -> oci.Mount:
    access = "ro" if mount.read_only else "rw"
    if mount.kind is MountKind.TMPFS:
        return _mount(mount.target, "tmpfs", "tmpfs", *_tmpfs_options(mount, access))
    source = volumes[mount.target] if mount.kind is MountKind.VOLUME else mount.source
    if mount.read_only and mount.recursive and mount.read_only_recursive:
        # What is mounted below is read-only as well: else "read-only" would be said too easily.
        access = "rro"
    kind, propagation = "rbind", mount.propagation.value
    if not mount.recursive:
        # With `rprivate` crun 1.21 takes what is mounted below along, whatever the kind.
        kind, propagation = "bind", propagation.removeprefix("r")
    options = [kind, propagation, access]
    if mount.copy_symlink:
        options.append("copy-symlink")
    return _mount(mount.target, "bind", source, *options)


def _tmpfs_options(mount: Mount, access: str) -> list[str]:
    if mount.options:
        return list(mount.options)
    options = ["nosuid", "nodev", "noexec", access]
    if mount.size_bytes is not None:
        options.append(f"size={mount.size_bytes}")
    options.append(f"mode={0o1777 if mount.mode is None else mount.mode:o}")
    return options
