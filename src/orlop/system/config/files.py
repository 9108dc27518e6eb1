"""`write_files`: files on the state partition, and files that a service finds in its root.

What is below /var, /root or /home is written where it says, for whoever has that directory.
Everything else of the machine is read-only: such a file is kept in /run/orlop/files/SERVICE and
mounted into the containers of the services it is for. All functions block.
"""

from __future__ import annotations

import os
from binascii import a2b_base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from orlop.lib.errors import InvalidArgument
from orlop.system.config.file_places import IMAGES, Places, obstacle
from orlop.wire.compose_model import Mount, MountKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from orlop.wire.compose_model import Json

DIRECTORY = "/run/orlop/files"
CONSOLES = ("console", "ssh", "bootcmd", "runcmd", "rc-local")
"""The services that a person or a command works in."""

READERS = (*CONSOLES, "shell")
"""Where a file goes that names no service: also into the console that somebody has chosen."""

HOMES = {"/root/": "/var/lib/orlop/root/", "/home/": "/var/lib/orlop/home/"}
"""What the consoles have there, and where that is on the machine."""

CERTIFICATES = "/etc/docker/certs.d/"
"""Of registries: for clients at a console, and for the engine, as where a console was its host."""
RESERVED = "/var/lib/orlop/"
"""What PID 1 keeps there is changed through it only."""

BELIEVERS = ("engine", "cloud")

HOST_KEYS = "/etc/ssh/host_key"
"""Where the SSH server finds keys that it was given, with the type at the end."""

MAX_NAME = 255

AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
PACKAGED_AUTHORITIES = IMAGES / "engine/rootfs/usr/share/ca-certificates/mozilla"


@dataclass(frozen=True, slots=True)
class File:
    """*service* is empty for a file of the machine itself."""

    service: str
    path: str
    data: bytes
    mode: int
    uid: int
    gid: int


def plan(entries: Json, images: Path = IMAGES) -> tuple[list[File], list[str]]:
    """The files that `write_files`, as the worker has checked it, stands for; what cannot be."""
    found: list[File] = []
    problems: list[str] = []
    places = Places()
    for entry in entries if isinstance(entries, list) else []:
        try:
            files = _plan_one(entry if isinstance(entry, dict) else {}, images)
            if not all(places.take(file.service, file.path) for file in files):
                raise InvalidArgument(f"{files[0].path}: another file is above or below it")
            found += files
        except (ValueError, OSError, InvalidArgument) as error:
            problems.append(f"write_files: {error}")
    return found, problems


def refuse_new(new: Json, old: Json) -> None:
    """Refuse *new* `write_files` with what cannot be, unless *old* ones have it too.

    Raises:
        InvalidArgument: with the first such.
    """
    if new == old:
        return
    known = plan(old)[1]
    for problem in plan(new)[1]:
        if problem not in known:
            raise InvalidArgument(problem)


def _plan_one(entry: dict[str, Json], images: Path) -> list[File]:
    path, text = str(entry["path"]), str(entry["content"])
    data = a2b_base64(text) if entry.get("encoding") == "base64" else text.encode()
    uid, _, gid = str(entry["owner"]).partition(":")
    mode = int(str(entry["permissions"]), 8)
    service = str(entry.get("container") or "")
    if not service and path.startswith((*HOMES, "/var/")):
        if path.startswith(RESERVED):
            raise InvalidArgument(f"{path} is the machine's own")
        for home, place in HOMES.items():
            if path.startswith(home):
                path = place + path.removeprefix(home)
                break
        return [File("", path, data, mode, int(uid), int(gid))]
    if len(quote(path, safe="")) > MAX_NAME:
        raise InvalidArgument(f"{path} is too long")
    readers = _readers(service, path)
    for reader in readers:
        if reason := obstacle(reader, path, images):
            raise InvalidArgument(f"{path} in {reader}: {reason}")
    return [File(name, path, data, mode, int(uid), int(gid)) for name in readers]


def _readers(service: str, path: str) -> tuple[str, ...]:
    if service:
        return (service,)
    return (*READERS, "engine") if path.startswith(CERTIFICATES) else READERS


def host_keys(keys: Json) -> list[File]:
    """The host keys of the SSH server that the configuration has."""
    found = keys if isinstance(keys, dict) else {}
    return [
        File("ssh", f"{HOST_KEYS}_{kind}", str(text).encode(), 0o600, 0, 0)
        for kind, text in found.items()
    ]


def authorities(
    trusted: Sequence[str],
    believers: Sequence[str] = BELIEVERS,
    packaged: Path = PACKAGED_AUTHORITIES,
) -> list[File]:
    """The file of whom *believers* believe by HTTPS: Debian's authorities, and *trusted*."""
    texts = [path.read_text("ascii", "ignore") for path in sorted(packaged.glob("*.crt"))]
    data = "".join(f"{text.strip()}\n" for text in (*texts, *trusted)).encode()
    return [File(name, AUTHORITIES, data, 0o644, 0, 0) for name in believers]


def write(files: Sequence[File], directory: str = DIRECTORY) -> tuple[set[str], list[str]]:
    """Write *files*, and take those away that services had before.

    Returns the services whose mounts are others now, and what could not be written.
    """
    problems: list[str] = []
    for file in files:
        try:
            if not file.service:
                write_below(file.path, file)
        except OSError as error:
            problems.append(f"write_files: {file.path}: {error.strerror}")
    changed: set[str] = set()
    for service in {*_list(directory), *(file.service for file in files if file.service)}:
        wanted = {file.path: file for file in files if file.service == service}
        try:
            if _write_service(f"{directory}/{service}", wanted):
                changed.add(service)
        except OSError as error:
            problems.append(f"write_files: files of service {service}: {error.strerror}")
    return changed, problems


def _write_service(directory: str, wanted: dict[str, File]) -> bool:
    """Whether the set of files is another one; contents are changed in place, under the mounts."""
    present = set(_list(directory))
    names = {quote(path, safe=""): file for path, file in wanted.items()}
    for name in present - names.keys():
        os.unlink(f"{directory}/{name}")
    if names:
        os.makedirs(directory, mode=0o700, exist_ok=True)
    for name, file in names.items():
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(f"{directory}/{name}", flags, 0o600)
        try:
            os.pwrite(descriptor, file.data, 0)
            os.ftruncate(descriptor, len(file.data))
            os.fchown(descriptor, file.uid, file.gid)
            os.fchmod(descriptor, file.mode)
        finally:
            os.close(descriptor)
    return present != names.keys()


def remounted(files: Sequence[File], directory: str = DIRECTORY) -> set[str]:
    """The services whose mounts `write` would change."""
    wanted: dict[str, set[str]] = {service: set() for service in _list(directory)}
    for file in files:
        if file.service:
            wanted.setdefault(file.service, set()).add(quote(file.path, safe=""))
    return {name for name, names in wanted.items() if names != set(_list(f"{directory}/{name}"))}


def mounts(service: str, directory: str = DIRECTORY) -> Iterable[Mount]:
    """The mounts through which *service* has its files."""
    for name in sorted(_list(f"{directory}/{service}")):
        source = f"{directory}/{service}/{name}"
        yield Mount(MountKind.BIND, unquote(name), source, read_only=True)


def _list(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def write_below(path: str, file: File) -> None:
    """Write *file* at *path*, by rename, unless it is so already; directories are made.

    No link on the way is followed: others may write there.

    Raises:
        OSError: the disk is full or read-only, or something that is no directory is in the way.
    """
    *parents, name = path.strip("/").split("/")
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.open("/", flags)
    try:
        for parent in parents:
            try:
                os.mkdir(parent, 0o755, dir_fd=directory)
                is_new = path.startswith(HOMES["/home/"])
            except FileExistsError:
                is_new = False
            inner = os.open(parent, flags, dir_fd=directory)
            if is_new:  # in a person's home it is that person's, as the file is
                os.fchown(inner, file.uid, file.gid)
            os.close(directory)
            directory = inner
        if not _is_so(directory, name, file):
            _replace(directory, name, file)
    finally:
        os.close(directory)


def _is_so(directory: int, name: str, file: File) -> bool:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=directory)
    except OSError:
        return False
    try:
        status = os.fstat(descriptor)
        same = (status.st_mode & 0o7777, status.st_uid, status.st_gid, status.st_size) == (
            file.mode, file.uid, file.gid, len(file.data)
        )  # fmt: skip
        return same and os.pread(descriptor, len(file.data) + 1, 0) == file.data
    finally:
        os.close(descriptor)


def _replace(directory: int, name: str, file: File) -> None:
    temporary = f".orlop-{os.urandom(8).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(file.data)
            stream.flush()
            os.fchown(stream.fileno(), file.uid, file.gid)
            os.fchmod(stream.fileno(), file.mode)
            os.fsync(stream.fileno())
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(temporary, dir_fd=directory)
        raise
    os.fsync(directory)
