"""What a RUN changed, as a layer; without what was only there for its mounts."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from orlop.engine.build.roots import mounted_layers
from orlop.engine.build.trees import DirectoryTree, EmptyTree
from orlop.engine.runtime import rootfs
from orlop.engine.store import container_tree
from orlop.engine.store.child_image import EMPTY_LAYER
from orlop.wire.tar import Kind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.engine.build.builder import Build
    from orlop.engine.build.step_images import StageState
    from orlop.engine.build.trees import Tree
    from orlop.engine.container.container import Container
    from orlop.wire.tar import Header

STUBS = tuple(f"/{name}" for name in rootfs.STUB_FILES)

OPAQUE_XATTR = "trusted.overlay.opaque"


async def commit_upper(
    build: Build, state: StageState, container: Container, targets: Sequence[str]
) -> str | None:
    """Store what *container*, which has ended, has changed; None: nothing.

    *targets* are where it had mounts: a directory that the runtime made for one is no change.

    Raises:
        OrlopError: it could not be stored.
    """
    async with mounted_layers(build.store, state.layers, build.directory) as root:
        upper = os.open(container.layout.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            remove_mount_points(upper, root, (*targets, *STUBS))
        finally:
            os.close(upper)
    async with container_tree.diff(container) as descriptor:
        added = await build.session.add_layer(descriptor)
    diff_id = added.layer.diff_id
    return None if diff_id == EMPTY_LAYER else diff_id


def remove_mount_points(upper: int, below: os.PathLike[str] | None, targets: Sequence[str]) -> None:
    """Take empty files and directories at *targets* out of the directory *upper*.

    So are the directories that lead there, as far as the image *below* has none of that name, or
    one that is the same but for its time.
    """
    with contextlib.ExitStack() as stack:
        tree: Tree = EmptyTree()
        if below is not None:
            root = os.open(below, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, root)
            tree = DirectoryTree(root)
        for target in sorted(targets, key=len, reverse=True):
            path = target.strip("/")
            while path and _remove_empty(upper, path, tree.lstat(path)):
                path = path.rpartition("/")[0]


def _remove_empty(upper: int, path: str, below: Header | None) -> bool:
    """Remove what is at *path* if it is empty and says nothing; whether it is gone."""
    with contextlib.ExitStack() as stack:
        directory = upper
        *above, name = path.split("/")
        try:
            for part in above:
                # A link here is the container's: it leads nowhere that concerns us.
                flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                directory = os.open(part, flags, dir_fd=directory)
                stack.callback(os.close, directory)
            status = os.lstat(name, dir_fd=directory)
            if stat.S_ISREG(status.st_mode) and not status.st_size and below is None:
                os.unlink(name, dir_fd=directory)
            elif _is_same(status, below) and not _is_opaque(f"/proc/self/fd/{directory}/{name}"):
                os.rmdir(name, dir_fd=directory)
            else:
                return False
        except FileNotFoundError:
            # It was not made, or is gone already: what leads there may be empty still.
            return True
        except OSError:
            return False
        return True


def _is_same(status: os.stat_result, below: Header | None) -> bool:
    """Whether a directory is one that the image has not, or has just like that."""
    if not stat.S_ISDIR(status.st_mode):
        return False
    if below is None:
        return True
    found = (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid)
    return below.kind is Kind.DIRECTORY and found == (below.mode, below.uid, below.gid)


def _is_opaque(path: str) -> bool:
    """Whether a directory hides what the image has at its place."""
    try:
        os.getxattr(path, OPAQUE_XATTR, follow_symlinks=False)
    except OSError:
        return False
    return True
