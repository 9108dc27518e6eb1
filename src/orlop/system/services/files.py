"""What the system gives a service besides its image: sockets, its configuration, names.

The `x-orlop` keys `syslog`, `power`, `api`, `user_api` and `config` become mounts here. The files
are in /run: written by PID 1, small, and made again whenever they are needed and not there.
"""

from __future__ import annotations

import json
import os

# Not hashlib: that loads OpenSSL's library, six megabytes that PID 1 has no other use for.
from _sha2 import sha256  # type: ignore[import-not-found,unused-ignore]
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.system.config import files
from orlop.system.storage import persistence
from orlop.wire.compose_model import ConfigDelivery, Mount, MountKind

if TYPE_CHECKING:
    from orlop.system.config.configuration import Configuration
    from orlop.wire.compose_model import Json, ServiceDefinition

RUN = "/run/orlop"
ETC = f"{RUN}/etc"
API_SOCKET = f"{RUN}/system.sock"
USER_API_DIRECTORY = f"{RUN}/docker"
"""Where the user's engine makes its socket: the directory, because each engine makes a new one."""
USER_DIRECTORY = f"{RUN}/user"
POWER_SOCKET = f"{RUN}/power.sock"
SYSLOG_DIRECTORY = f"{RUN}/syslog"
SYSLOG_LINK = f"{RUN}/dev-log"
"""A symbolic link to the socket: copied to /dev/log of a container, it keeps its meaning when the
syslog service makes the socket anew."""


USER_SOCKET_LINK = f"{RUN}/user-docker.sock"
"""A symbolic link to the socket of the user's engine, as `SYSLOG_LINK` is one."""

_USER_SOCKETS = ("/var/run/docker.sock", "/run/docker.sock")
_SYSTEM_SOCKETS = ("/var/run/system-docker.sock", "/run/system-docker.sock")
"""What files for Docker and RancherOS call the sockets; the machine itself has others."""


def with_sockets(definition: ServiceDefinition) -> ServiceDefinition:
    """*definition* with the sockets of this machine in the place of Docker's and RancherOS's."""
    mounts = tuple(_socket(mount) for mount in definition.mounts)
    user_api = any(mount.source == USER_SOCKET_LINK for mount in mounts)
    return replace(definition, mounts=mounts, user_api=definition.user_api or user_api)


def _socket(mount: Mount) -> Mount:
    if mount.source in _USER_SOCKETS:
        return Mount(MountKind.BIND, mount.target, USER_SOCKET_LINK, copy_symlink=True)
    return replace(mount, source=API_SOCKET) if mount.source in _SYSTEM_SOCKETS else mount


def extra_mounts(definition: ServiceDefinition) -> tuple[Mount, ...]:
    """The mounts that the `x-orlop` keys of *definition* stand for."""
    wanted: list[Mount] = []
    if definition.syslog:
        wanted.append(_bind(SYSLOG_DIRECTORY, read_only=True))
        if not definition.host_dev:  # the machine's own /dev has the link already
            wanted.append(Mount(MountKind.BIND, "/dev/log", SYSLOG_LINK, copy_symlink=True))
    if definition.power:
        wanted.append(_bind(POWER_SOCKET))
    if definition.api:
        wanted.append(_bind(API_SOCKET))
    if definition.user_api:
        wanted.append(_bind(USER_API_DIRECTORY, read_only=True))
    if definition.config is not ConfigDelivery.NONE:
        wanted.append(Mount(MountKind.BIND, "/run/config.json", config_path(definition.name), True))
    wanted += persistence.mounts(definition.name)
    wanted += files.mounts(definition.name)
    taken = {mount.target for mount in definition.mounts}
    return tuple(mount for mount in wanted if mount.target not in taken)


def _bind(path: str, *, read_only: bool = False) -> Mount:
    return Mount(MountKind.BIND, path, path, read_only)


def config_path(name: str) -> str:
    return f"{RUN}/config/{name}.json"


def service_configuration(
    name: str, configuration: Configuration, consoles: tuple[str, ...], *, recovery: bool = False
) -> dict[str, Json]:
    """The part of the configuration that service *name* is told; pure."""
    part = configuration.get(f"orlop.{name}")
    data: dict[str, Json] = dict(part) if isinstance(part, dict) else {}
    if name == "engine":
        data.pop("name", None)  # which engine it is, nobody has to tell it
    if name == "ssh":
        data["disable_root"] = configuration.get("disable_root") is True
        _tell_ssh(data, configuration)
    elif name == "network" and configuration.hostname is not None:
        data["hostname"] = configuration.hostname
    elif name == "console":
        data["consoles"] = list(consoles)
        data["recovery"] = recovery
    return data


def _tell_ssh(data: dict[str, Json], configuration: Configuration) -> None:
    """All who are logged in can read it: of the host keys there is only which they are."""
    keys = data.pop("host_keys", None)
    if isinstance(keys, dict):
        data["host_keys"] = {
            kind: sha256(str(text).encode()).hexdigest() for kind, text in keys.items()
        }
    if "authorized_keys_url" in data:
        wanted = ("http_proxy", "https_proxy", "no_proxy")
        found = {name: configuration.get(f"orlop.engine.{name}") for name in wanted}
        data["proxies"] = {name: value for name, value in found.items() if value is not None}


def write_configuration(name: str, data: dict[str, Json], directory: str = f"{RUN}/config") -> bool:
    """Write the service's file; whether its content changed.

    In place and not by rename: a running container has this very file mounted. Readable for all,
    because the service may run as any user; the directory around it is root's alone.
    """
    path = f"{directory}/{name}.json"
    content = json.dumps(data, indent=1, sort_keys=True).encode() + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if os.pread(descriptor, len(content) + 1, 0) == content:
            return False
        os.pwrite(descriptor, content, 0)
        os.ftruncate(descriptor, len(content))
    finally:
        os.close(descriptor)
    return True


def write_names(hostname: str, directory: str = ETC, *, fqdn: str = "") -> None:
    """Write hostname, and hosts with *fqdn* as the first name.

    Makes an empty resolv.conf, which then is the network service's.
    """
    wanted = (fqdn, hostname, hostname.partition(".")[0])
    names = " ".join(dict.fromkeys(filter(None, wanted)))
    hosts = (
        "127.0.0.1 localhost\n"
        "::1 localhost ip6-localhost ip6-loopback\n"
        f"127.0.1.1 {names}\n"
        "ff02::1 ip6-allnodes\n"
        "ff02::2 ip6-allrouters\n"
    )
    _replace(f"{directory}/hostname", f"{hostname}\n")
    _replace(f"{directory}/hosts", hosts)
    try:
        os.close(os.open(f"{directory}/resolv.conf", os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except FileExistsError:
        pass


def _replace(path: str, text: str) -> None:
    """Write *path* by rename. The network service may write into the directory too: what it has
    put in the way, a link or a pipe, is neither followed nor opened."""
    temporary = f"{path}.new"
    try:
        os.unlink(temporary)
    except FileNotFoundError:
        pass
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with open(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
        os.fchmod(descriptor, 0o644)
    os.rename(temporary, path)


def make_links(owner: tuple[int, int], device_directory: str = "/dev") -> None:
    """The directory of the syslog socket, which is *owner*'s, and the links that lead to it and to
    the user's engine. May run twice."""
    os.makedirs(SYSLOG_DIRECTORY, mode=0o755, exist_ok=True)
    os.chown(SYSLOG_DIRECTORY, *owner)
    for link, name in (
        (SYSLOG_LINK, f"{SYSLOG_DIRECTORY}/log"),
        (f"{device_directory}/log", f"{SYSLOG_DIRECTORY}/log"),
        (USER_SOCKET_LINK, f"{USER_API_DIRECTORY}/docker.sock"),
    ):
        try:
            os.symlink(name, link)
        except FileExistsError:
            pass
