"""The worker behind `docker cp`: `worker archive REQUEST`, with REQUEST a JSON object.

    {"op": "stat" | "get" | "put", "path": PATH, "root": DIRECTORY or "",
     "mounts": [[SOURCE, SUBPATH, TARGET, READ_ONLY, IS_VOLUME], ...], "read_only": BOOL,
     "owner": [UID, GID] or null, "keep_kind": BOOL}

Without *root* descriptor 3 is the root of a container that runs, its mounts included. Else the
container does not run, and its mounts are made here, in a mount namespace of this process. Then
the process changes its root to the container's, so no link in it leads out, and gives up every
privilege but over files. Only then does it look at PATH, or read an archive from standard input.

The answer on standard output is one line of JSON: {"stat": …} or {"error": KIND, "message": …};
for `get` the archive follows. An archive is whole only if the exit status is 0.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
import time
from typing import TYPE_CHECKING

from orlop.engine.archives import tar_reader, tar_writer
from orlop.lib import mount
from orlop.lib.file_worker import confine, enter_userns, fd_links, is_userns
from orlop.lib.linux import open_in_root
from orlop.lib.mount import MountFlag

if TYPE_CHECKING:
    from typing import Any

ROOT_FD = 3
USERNS_FD = 4
"""The container's user namespace, if it has one of its own: owners are as they are there."""

_GO_KINDS = {
    stat.S_IFDIR: 1 << 31,
    stat.S_IFLNK: 1 << 27,
    stat.S_IFBLK: 1 << 26,
    stat.S_IFCHR: 1 << 26 | 1 << 21,
    stat.S_IFIFO: 1 << 25,
    stat.S_IFSOCK: 1 << 24,
}
_GO_BITS = ((stat.S_ISUID, 1 << 23), (stat.S_ISGID, 1 << 22), (stat.S_ISVTX, 1 << 20))


class Refused(Exception):
    """The request cannot be done; *kind* is a class of `lib.errors`."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def main(argv: list[str]) -> int:
    """Do what is asked; 1 when it was refused or failed."""
    request = json.loads(argv[0])
    try:
        fd_links()
        owners = is_userns(USERNS_FD)
        enter_root(request, shifted=owners)
        if owners:
            enter_userns(USERNS_FD)
        confine()
        os.umask(0)
        if request["op"] == "put":
            put(request)
            answer({})
        else:
            status = stat_path(request["path"])
            answer({"stat": status})
            if request["op"] == "get":
                tar_writer.write_tree(1, request["path"], base_name(request["path"]))
    except Refused as error:
        answer({"error": error.kind, "message": str(error)})
        return 1
    except OSError as error:
        answer({"error": _kind_of(error), "message": _describe(error)})
        return 1
    except (ValueError, MemoryError, RecursionError) as error:
        answer({"error": "InvalidArgument", "message": f"Error processing tar file: {error}"})
        return 1
    return 0


def answer(value: dict[str, Any]) -> None:
    """The one line that says how it went."""
    data = json.dumps(value).encode() + b"\n"
    while data:
        data = data[os.write(1, data) :]


def _kind_of(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "Forbidden"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "ResourceExhausted"
    return "NotFound" if error.errno in (errno.ENOENT, errno.ENOTDIR) else "Internal"


def _describe(error: OSError) -> str:
    if error.errno == errno.EROFS:
        return "container rootfs or mounted volume is marked read-only"
    return f"{error.filename or 'archive'}: {error.strerror}"


def enter_root(request: dict[str, Any], *, shifted: bool = False) -> None:
    """Change the root to the container's; *shifted*: volumes get the owners of its namespace.

    Raises:
        OSError: it cannot be entered.
    """
    if not request["root"]:
        os.fchdir(ROOT_FD)
        os.chroot(".")
        os.close(ROOT_FD)
        return
    root = request["root"]
    os.unshare(os.CLONE_NEWNS)
    mount.mount(None, "/", None, MountFlag.REC | MountFlag.PRIVATE)
    for source, subpath, target, read_only, is_volume in request["mounts"]:
        owners = USERNS_FD if shifted and is_volume else -1
        bind(root, source, subpath, target, read_only=read_only, userns_fd=owners)
    if request["read_only"]:
        mount.mount(None, root, None, MountFlag.REMOUNT | MountFlag.BIND | MountFlag.RDONLY)
    os.chroot(root)
    os.chdir("/")


def bind(
    root: str, source: str, subpath: str, target: str, *, read_only: bool, userns_fd: int = -1
) -> None:
    """Mount *source* at *target* as seen from *root*, whatever links are in either.

    Raises:
        OSError: the kernel's reason.
    """
    inside = open_in_root(source, subpath, os.O_PATH) if subpath else os.open(source, os.O_PATH)
    try:
        place = ensure_target(root, target, is_directory=stat.S_ISDIR(os.fstat(inside).st_mode))
        try:
            from_, to = f"/proc/self/fd/{inside}", f"/proc/self/fd/{place}"
            if userns_fd >= 0:
                mount.bind_idmapped(from_, to, userns_fd)
            else:
                mount.mount(from_, to, None, MountFlag.BIND | MountFlag.REC)
        finally:
            os.close(place)
        if read_only:
            # The descriptor is of what is below the new mount: look the place up again.
            place = open_in_root(root, target, os.O_PATH)
            try:
                flags = MountFlag.REMOUNT | MountFlag.BIND | MountFlag.RDONLY
                mount.mount(None, f"/proc/self/fd/{place}", None, flags)
            finally:
                os.close(place)
    finally:
        os.close(inside)


def ensure_target(root: str, target: str, *, is_directory: bool) -> int:
    """A descriptor of *target* in *root*, which is made if need be, as the runtime would."""
    try:
        return open_in_root(root, target, os.O_PATH)
    except FileNotFoundError:
        pass
    parts = [part for part in target.split("/") if part]
    for index, part in enumerate(parts):
        parent = open_in_root(root, "/" + "/".join(parts[:index]), os.O_PATH | os.O_DIRECTORY)
        try:
            if index == len(parts) - 1 and not is_directory:
                # Exclusive, as that follows no link: this process still has the host's root.
                flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                os.close(os.open(part, flags, 0o755, dir_fd=parent))
            else:
                os.mkdir(part, 0o755, dir_fd=parent)
        except FileExistsError:
            pass
        finally:
            os.close(parent)
    return open_in_root(root, target, os.O_PATH)


def base_name(path: str) -> str:
    """What Docker calls the last part of *path*: `.` after a slash stays, `/` is itself."""
    if path.endswith("/.") or path == ".":
        return "."
    return path.rstrip("/").rpartition("/")[2] or "/"


def stat_path(path: str) -> dict[str, Any]:
    """Docker's description of *path*; a link at its end is not followed.

    Raises:
        Refused: it does not exist.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENOTDIR:
            raise Refused("Internal", f"lstat {path}: not a directory") from error
        if error.errno in (errno.ENOENT, errno.ELOOP):
            raise Refused("NotFound", f"Could not find the file {path}") from error
        raise
    link = os.path.realpath(path) if stat.S_ISLNK(status.st_mode) else ""
    return {
        "name": base_name(path),
        "size": status.st_size,
        "mode": go_mode(status.st_mode),
        "mtime": _time(status.st_mtime_ns),
        "linkTarget": link,
    }


def go_mode(mode: int) -> int:
    """A file mode as Go's os.FileMode has it."""
    value = mode & 0o777 | _GO_KINDS.get(stat.S_IFMT(mode), 0)
    for bit, go_bit in _GO_BITS:
        if mode & bit:
            value |= go_bit
    return value


def _time(time_ns: int) -> str:
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    fraction = f".{fraction_ns:09d}".rstrip("0") if fraction_ns else ""
    return f"{text}{fraction}Z"


def put(request: dict[str, Any]) -> None:
    """Unpack standard input into the directory at the path.

    Raises:
        Refused: there is no such directory. OSError, ValueError: the archive, or the disk.
    """
    path = request["path"]
    try:
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        raise Refused("InvalidArgument", "extraction point is not a directory") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            raise Refused("NotFound", f"Could not find the file {path}") from error
        raise
    os.fchdir(directory)
    os.close(directory)
    if os.statvfs(".").f_flag & os.ST_RDONLY:
        raise Refused("Forbidden", _describe(OSError(errno.EROFS, "")))
    owner = request["owner"]
    tar_reader.unpack(0, tuple(owner) if owner else None, keep_kind=request["keep_kind"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
