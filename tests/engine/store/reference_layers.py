"""The reference for layers: GNU tar unpacks them, and overlayfs's own form of whiteouts is put in.

What dockerd's overlay2 driver does with a layer, by other people's code. `random_layers` makes
layers in which everything happens that the format allows.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import struct
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

from orlop.engine.store import erofs, tar_reader, tree
from orlop.lib import mount
from tests.engine.store.archives import LayerBuilder

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NAMES = ("a", "b", "c", "etc", "x" * 120, "long-" + "y" * 250, "ü ñ", "sp ace\ttab")
CAPABILITY = struct.pack("<5I", 0x02000001, 1 << 10, 0, 0, 0)


def unpack(layer: Path, directory: Path) -> None:
    """Unpack entry by entry as dockerd does, with Python's tarfile as the reader."""
    directory.mkdir()
    times: dict[str, int] = {}
    with tarfile.open(layer) as archive:
        for member in archive:
            path = os.path.join(directory, os.path.normpath(member.name))
            if os.path.basename(path).startswith(".wh."):
                os.makedirs(os.path.dirname(path), exist_ok=True)
                if not os.path.lexists(path):
                    os.mknod(path, 0o600 | stat.S_IFREG)
                continue
            if _make(archive, member, path, directory, times):
                seconds, fraction = divmod(member.mtime, 1)
                time_ns = int(seconds) * 10**9 + round(fraction * 10**9)
                if member.isdir():
                    times[path] = time_ns
                else:
                    os.utime(path, ns=(time_ns, time_ns), follow_symlinks=False)
    for path, time_ns in times.items():
        os.utime(path, ns=(time_ns, time_ns))
    convert_whiteouts(directory)


def _make(
    archive: tarfile.TarFile,
    member: tarfile.TarInfo,
    path: str,
    top: Path,
    times: dict[str, int],
) -> bool:
    """Make one entry; whether it is an inode of its own."""
    if os.path.lexists(path) and not (
        member.isdir() and os.path.isdir(path) and not os.path.islink(path)
    ):
        if member.islnk() and os.path.samestat(os.lstat(path), os.lstat(top / member.linkname)):
            return False
        _remove(path)
        for gone in [key for key in times if f"{key}/".startswith(f"{path}/")]:
            del times[gone]
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if member.islnk():
        os.link(top / member.linkname, path, follow_symlinks=False)
        return False
    _make_inode(archive, member, path)
    os.lchown(path, member.uid, member.gid)
    if not member.issym():
        os.chmod(path, member.mode)
    for key, value in member.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            os.setxattr(path, key[13:], value.encode(), follow_symlinks=False)
    return True


def _make_inode(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    if member.isdir():
        os.makedirs(path, exist_ok=True)
    elif member.issym():
        os.symlink(member.linkname, path)
    elif member.isfile():
        content = archive.extractfile(member)
        assert content is not None
        with open(path, "wb") as stream:
            stream.write(content.read())
    else:
        kind = stat.S_IFIFO if member.isfifo() else stat.S_IFCHR
        os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)


def unpack_with_tar(layer: Path, directory: Path) -> None:
    """Unpack with GNU tar, for formats of its own."""
    directory.mkdir()
    subprocess.run(
        ["tar", "--extract", "--preserve-permissions", "--same-owner", "--numeric-owner",
         "--xattrs", "--xattrs-include=*", "--file", layer, "--directory", directory],
        check=True,
    )  # fmt: skip
    convert_whiteouts(directory)


def convert_whiteouts(directory: Path) -> None:
    """Turn `.wh.` files into what overlayfs understands."""
    for top, _, files in os.walk(directory, topdown=False):
        status = os.stat(top)
        for name in files:
            if name == ".wh..wh..opq":
                os.unlink(f"{top}/{name}")
                os.setxattr(top, "trusted.overlay.opaque", b"y")
            elif name.startswith(".wh."):
                os.unlink(f"{top}/{name}")
                hidden = f"{top}/{name[4:]}"
                if os.path.isdir(hidden) and not os.path.islink(hidden):
                    os.setxattr(hidden, "trusted.overlay.opaque", b"y")
                elif ".wh..wh..opq" not in files and not os.path.lexists(hidden):
                    os.mknod(hidden, stat.S_IFCHR, 0)
                    # So that overlayfs looks for whiteouts when it lists the directory.
                    os.setxattr(top, "trusted.overlay.origin", b"")
        os.utime(top, ns=(status.st_atime_ns, status.st_mtime_ns))


def mount_layer(layer: Path, target: Path) -> None:
    """Index and mount as the store does."""
    index = layer.with_suffix(".erofs")
    descriptor = os.open(layer, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        root = tree.build(tar_reader.entries(tar_reader.FileSource(descriptor)), size)
    finally:
        os.close(descriptor)
    with index.open("wb") as stream:
        written = erofs.write_index(root, stream, tar_bytes=size, uuid=bytes(16))
        assert stream.tell() == written
    target.mkdir()
    mount.mount(index, target, "erofs", mount.MountFlag.RDONLY, f"device={layer}")


def mount_overlay(lowers: Sequence[Path], target: Path) -> None:
    """*lowers* have the lowest layer first."""
    target.mkdir()
    # overlayfs wants two at least.
    empty = target.with_name(f"{target.name}-empty")
    empty.mkdir()
    options = ":".join(map(str, [*reversed(lowers), empty]))
    flags = mount.MountFlag.RDONLY
    mount.mount("overlay", target, "overlay", flags, f"lowerdir={options}")


def describe(top: Path) -> dict[str, Any]:
    """Everything that can be told about a tree, by path; names of one file have one value."""
    found: dict[str, Any] = {}
    inodes: dict[tuple[int, int], str] = {}
    for path in walk(top):
        status = os.lstat(path)
        name = os.path.relpath(path, top)
        kind = stat.S_IFMT(status.st_mode)
        mode = 0 if kind == stat.S_IFLNK else stat.S_IMODE(status.st_mode)
        entry: dict[str, Any] = {"kind": kind, "mode": mode, "ids": (status.st_uid, status.st_gid)}
        if name != ".":
            entry["mtime"] = status.st_mtime_ns
        if kind != stat.S_IFDIR:
            entry["links"] = status.st_nlink
            entry["same"] = inodes.setdefault((status.st_dev, status.st_ino), name)
        if kind == stat.S_IFREG:
            with open(path, "rb") as stream:
                entry["data"] = stream.read()
        elif kind == stat.S_IFLNK:
            entry["target"] = os.readlink(path)
        elif kind in (stat.S_IFCHR, stat.S_IFBLK):
            entry["device"] = status.st_rdev
        entry["xattrs"] = {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in os.listxattr(path, follow_symlinks=False)
            if not key.startswith("trusted.overlay.")
        }
        found[name] = entry
    return found


def walk(top: Path) -> Iterator[str]:
    yield str(top)
    for directory, names, files in os.walk(top):
        names.sort()
        for name in sorted(names + files):
            yield f"{directory}/{name}"


class RandomLayer:
    """Entries on a few names, so that they meet."""

    def __init__(self, source: random.Random) -> None:
        self._random = source
        formats = (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT)
        self._format = source.choice(formats)
        self._layer = LayerBuilder(self._format)
        self._kinds: dict[str, str] = {"": "dir"}

    def make(self, count: int) -> bytes:
        for _ in range(count):
            self._add()
        return self._layer.finish()

    def _add(self) -> None:
        choose = self._random
        parent = choose.choice([path for path, kind in self._kinds.items() if kind == "dir"])
        name = choose.choice(NAMES)
        path = f"{parent}/{name}" if parent else name
        if path.count("/") > 4:
            return
        kinds = ["file", "file", "dir", "dir", "link", "hard", "fifo", "char", "white", "opaque"]
        kind = choose.choice(kinds)
        getattr(self, f"_add_{kind}")(parent, name, path)

    def _fields(self, *, of_user: bool = False) -> dict[str, Any]:
        choose = self._random
        fields: dict[str, Any] = {
            "mode": choose.choice((0o644, 0o755, 0o4755, 0o1777, 0o000, 0o600)),
            "uid": choose.choice((0, 1000, 65534, 3_000_000_000)),
            "gid": choose.choice((0, 5, 2_097_152)),
            "mtime": choose.choice((0, 1, 1_700_000_000, 1 << 33)),
        }
        if self._format == tarfile.PAX_FORMAT and choose.random() < 0.3:
            fields["mtime"] = 1_600_000_000.25
            fields["pax_headers"] = {"SCHILY.xattr.trusted.own": "t" * choose.randrange(1, 40)}
            if of_user:
                fields["pax_headers"]["SCHILY.xattr.user.note"] = "value"
        return fields

    def _set(self, path: str, kind: str) -> None:
        for below in [key for key in self._kinds if key.startswith(f"{path}/")]:
            del self._kinds[below]
        self._kinds[path] = kind

    def _add_file(self, parent: str, name: str, path: str) -> None:
        size = self._random.choice((0, 1, 511, 512, 513, 5000, 70_000))
        self._layer.add(path, self._random.randbytes(size), **self._fields(of_user=True))
        self._set(path, "file")

    def _add_dir(self, parent: str, name: str, path: str) -> None:
        fields = self._fields(of_user=True)
        if fields["mode"] == 0o4755:
            fields["mode"] = 0o2755
        self._layer.directory(path, **fields)
        if self._kinds.get(path) != "dir":
            self._set(path, "dir")

    def _add_link(self, parent: str, name: str, path: str) -> None:
        target = self._random.choice(("a", "../b", "/etc/c", "z" * 200, "z" * 600))
        self._layer.link(path, target, **self._fields())
        self._set(path, "link")

    def _add_hard(self, parent: str, name: str, path: str) -> None:
        targets = [key for key, kind in self._kinds.items() if kind in ("file", "link", "fifo")]
        targets = [key for key in targets if key != path and not key.startswith(f"{path}/")]
        if targets and self._kinds.get(path) != "dir":
            target = self._random.choice(targets)
            self._layer.add(path, type=tarfile.LNKTYPE, linkname=target)
            self._set(path, self._kinds[target])

    def _add_fifo(self, parent: str, name: str, path: str) -> None:
        self._layer.add(path, type=tarfile.FIFOTYPE, **self._fields())
        self._set(path, "fifo")

    def _add_char(self, parent: str, name: str, path: str) -> None:
        minor = self._random.choice((3, 300, 70_000))
        fields = self._fields() | {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": minor}
        self._layer.add(path, **fields)
        self._set(path, "char")

    def _add_white(self, parent: str, name: str, path: str) -> None:
        if len(name) > 200:
            return
        self._layer.add(f"{parent}/.wh.{name}" if parent else f".wh.{name}")

    def _add_opaque(self, parent: str, name: str, path: str) -> None:
        if parent and self._random.random() < 0.3:
            self._layer.add(f"{parent}/.wh..wh..opq")
