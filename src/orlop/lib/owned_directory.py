"""Temporary directories that belong to a living process and vanish after it.

A directory NAME in a work directory is owned by whoever holds a shared flock on NAME.lock beside
it. A flock ends with its process, however that ends, so what nobody holds is rubbish and the
next one to come along removes it: nothing has to run at the death of the owner.

Used by the launcher too, on the host's Python: keep it to Python 3.11.
"""

import fcntl
import os
import shutil
from pathlib import Path


def try_lock(descriptor: int, operation: int) -> bool:
    """flock(2) without waiting; False if another process is in the way."""
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def own(work: Path, name: str) -> tuple[Path, int]:
    """Make (or join) the directory *name* in *work*.

    Returns it and the descriptor of its lock: it is owned until that is closed.
    """
    lock = work / f"{name}.lock"
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        # Between open and flock a cleaner may have taken the lock for a dead one and unlinked it.
        if _same_file(lock, descriptor):
            break
        os.close(descriptor)
    directory = work / name
    directory.mkdir(exist_ok=True)
    return directory, descriptor


def remove_unowned(work: Path) -> list[Path]:
    """Remove everything in *work* that no living process owns; returns what it was."""
    removed = []
    for lock in work.glob("*.lock"):
        try:
            descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # another cleaner was faster
        try:
            if try_lock(descriptor, fcntl.LOCK_EX) and _same_file(lock, descriptor):
                remove_tree(lock.with_suffix(""))
                lock.unlink()
                removed.append(lock.with_suffix(""))
        finally:
            os.close(descriptor)
    for left in work.iterdir():
        if left.suffix != ".lock" and not left.with_name(f"{left.name}.lock").exists():
            remove_tree(left)
            removed.append(left)
    return removed


def remove_tree(path: Path) -> None:
    """Remove *path* and all below it, if it exists; a link is removed, not followed."""
    if path.is_symlink() or path.is_file():
        path.unlink()
        return
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        if path.exists():  # somebody else is removing it as well: finish what is left
            shutil.rmtree(path, ignore_errors=True)


def _same_file(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False
