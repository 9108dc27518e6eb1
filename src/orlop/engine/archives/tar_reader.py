"""Unpacks a tar archive into the working directory, for workers that are confined to a root.

As dockerd unpacks: what is there is replaced, owners and modes are the archive's, links may lead
anywhere in the root, names with `..` are refused.
"""

from __future__ import annotations

import os
import posixpath
import shutil
import stat
import tarfile

CHUNK_BYTES = 1 << 20
MAX_NAME_BYTES = 4096


def unpack(source: int, owner: tuple[int, int] | None, *, keep_kind: bool) -> None:
    """Unpack what descriptor *source* gives, compressed or not.

    *owner* owns everything instead of who the archive says. With *keep_kind* a directory is not
    replaced by something else, nor the reverse.

    Raises:
        OSError: the disk. ValueError: the archive, or what *keep_kind* forbids.
    """
    directories: list[tuple[str, tarfile.TarInfo]] = []
    with os.fdopen(source, "rb", closefd=False) as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|*", bufsize=CHUNK_BYTES) as archive:
                while (entry := archive.next()) is not None:
                    # The library would remember every entry for random access.
                    archive.members = []  # type: ignore[attr-defined]  # typeshed lacks it
                    path = _clean(entry.name)
                    _unpack_entry(archive, entry, path, owner, keep_kind=keep_kind)
                    if entry.isdir():
                        directories.append((path, entry))
        except tarfile.ReadError as error:
            if str(error) != "empty file":  # nothing at all is an archive of nothing, as for Go
                raise ValueError(str(error)) from error
        except (tarfile.TarError, EOFError) as error:
            raise ValueError(str(error)) from error
    # Content changes a directory's time.
    for path, entry in reversed(directories):
        os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)


def _clean(name: str) -> str:
    path = posixpath.normpath(name.lstrip("/") or ".")
    if path.startswith("../") or path == ".." or len(os.fsencode(path)) > MAX_NAME_BYTES:
        raise ValueError(f"{name[:200]!r} is outside of the directory")
    return path


def _unpack_entry(
    archive: tarfile.TarFile,
    entry: tarfile.TarInfo,
    path: str,
    owner: tuple[int, int] | None,
    *,
    keep_kind: bool,
) -> None:
    parent = posixpath.dirname(path)
    if parent:
        os.makedirs(parent, 0o755, exist_ok=True)
    if _make_room(path, entry, keep_kind=keep_kind):
        _make(archive, entry, path)
    uid, gid = owner or (entry.uid, entry.gid)
    os.lchown(path, uid, gid)
    if entry.issym():
        os.utime(path, (entry.mtime, entry.mtime), follow_symlinks=False)
        return
    if entry.islnk():
        return
    for key, value in entry.pax_headers.items():
        if key.startswith("SCHILY.xattr."):
            data = value.encode("utf-8", "surrogateescape")
            try:
                os.setxattr(path, key.removeprefix("SCHILY.xattr."), data, follow_symlinks=False)
            except OSError as error:
                if error.errno not in (95, 1):  # ENOTSUP, EPERM: not every file system has them
                    raise
    os.chmod(path, stat.S_IMODE(entry.mode))
    os.utime(path, (entry.mtime, entry.mtime))


def _make_room(path: str, entry: tarfile.TarInfo, *, keep_kind: bool) -> bool:
    """Remove what is in the way; false when *entry* is a directory that is there."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return True
    is_directory = stat.S_ISDIR(status.st_mode)
    if is_directory and entry.isdir():
        return False
    if keep_kind and is_directory:
        raise ValueError(f'cannot overwrite directory "{path}" with non-directory')
    if keep_kind and entry.isdir():
        raise ValueError(f'cannot overwrite non-directory "{path}" with directory')
    if is_directory:
        shutil.rmtree(path)
    else:
        os.unlink(path)
    return True


def _make(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
    if entry.isdir():
        os.mkdir(path, 0o700)
    elif entry.issym():
        os.symlink(entry.linkname, path)
    elif entry.islnk():
        os.link(_clean(entry.linkname), path, follow_symlinks=False)
    elif entry.isfile():
        _make_file(archive, entry, path)
    elif entry.isfifo():
        os.mkfifo(path, 0o600)
    elif entry.ischr() or entry.isblk():
        kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
        os.mknod(path, kind | 0o600, os.makedev(entry.devmajor, entry.devminor))
    else:
        raise ValueError(f"unhandled tar header type {entry.type!r}")


def _make_file(archive: tarfile.TarFile, entry: tarfile.TarInfo, path: str) -> None:
    content = archive.extractfile(entry)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as target:
        if content is None:
            return
        while data := content.read(CHUNK_BYTES):
            target.write(data)
        if os.fstat(descriptor).st_size != entry.size:
            raise ValueError("unexpected end of archive")
