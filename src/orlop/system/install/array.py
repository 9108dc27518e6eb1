"""The mirror that an installation makes of the state's partitions: RAID 1 of Linux, by mdadm.

Everything that is ever read of it is written through it, to both halves: they begin as they are,
without a copy of what nobody has written, and each of them is complete at once. Only in the
worker, but for `prepare`.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.children import run_with_children
from orlop.lib.disk_layout import STATE_LABEL
from orlop.lib.errors import Conflict, OrlopError, ResourceExhausted
from orlop.system.storage import extras
from orlop.system.storage.assembly import MDADM_DIRECTORY
from orlop.system.storage.block_devices import SYS_BLOCK

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from orlop.lib.children import Children

MODULES = ("md_mod", "raid1")
NOTE = "/run/orlop/install-array"
"""Has the name of an array that a worker has made, until it is stopped."""

EXTRAS_WAIT_S = 15.0
TIMEOUT_S = 300.0
NUMBERS = range(127, 99, -1)
"""Those that mdadm takes for arrays that have none."""

OPTIONS = (
    *("--run", "--level=1", "--metadata=1.2", "--assume-clean", "--homehost=<none>"),
    # Which parts differ after a power cut, or on a disk that was away for a moment.
    "--bitmap=internal",
    f"--name={STATE_LABEL}",
)


async def prepare(children: Children, *, patient: bool) -> None:
    """Have what makes a mirror, before anything is touched for it.

    Raises:
        Conflict: it is not here.
    """
    from orlop.system.storage.late_disks import patiently

    try:
        await patiently(extras.ensure, children, EXTRAS_WAIT_S if patient else 0.0)
        await extras.load_modules(children, MODULES)
    except OrlopError as error:
        raise Conflict(
            f"the state cannot be mirrored: {error}",
            hint="orlop-extras.erofs of this build, on a disk or a stick: docs/storage.md",
        ) from None


@contextmanager
def made(parts: Sequence[str]) -> Iterator[str]:
    """The device of a new array of *parts* for a block: what was on them is gone.

    Raises:
        OrlopError: mdadm refuses.
    """
    name = _free_name()
    os.makedirs(MDADM_DIRECTORY, mode=0o700, exist_ok=True)
    Path(NOTE).write_text(name, encoding="ascii")
    device = f"/dev/{name}"
    _mdadm("--create", device, *OPTIONS, f"--raid-devices={len(parts)}", *parts)
    try:
        yield device
    finally:
        stop_leftover()


def stop_leftover() -> None:
    """Stop an array that a worker has made and, if that was killed, left."""
    try:
        name = Path(NOTE).read_text(encoding="ascii")
    except OSError:
        return
    if os.path.isdir(f"{SYS_BLOCK}/{name}/md"):
        _mdadm("--stop", f"/dev/{name}")
    os.unlink(NOTE)


@contextmanager
def read_from(device: str, part: str) -> Iterator[None]:
    """Let everything that is read of the array *device* come from *part*, for a block."""
    directory = f"{SYS_BLOCK}/{os.path.basename(device)}/md"
    own = f"dev-{os.path.basename(part)}"
    others = [n for n in os.listdir(directory) if n.startswith("dev-") and n != own]
    try:
        for name in others:
            Path(f"{directory}/{name}/state").write_text("writemostly", encoding="ascii")
        yield
    finally:
        for name in others:
            Path(f"{directory}/{name}/state").write_text("-writemostly", encoding="ascii")


def forget_broken(device: str) -> None:
    """Let the array *device* have no parts that failed, or whose disk is gone."""
    for word in ("failed", "detached"):
        with suppress(OrlopError):  # there is none
            _mdadm("--manage", device, "--remove", word)


def add(device: str, part: str, *, anew: bool = False) -> None:
    """Let *part* be filled as what the array *device* lacks. What it has is used if it was a part,
    unless *anew*: of one that was written to alone the kernel would copy what has changed on the
    other side only.

    Raises:
        OrlopError: mdadm refuses.
    """
    os.makedirs(MDADM_DIRECTORY, mode=0o700, exist_ok=True)
    if not anew:
        with suppress(OrlopError):  # it is too old
            _mdadm("--manage", device, "--add", part)
            return
    _mdadm("--zero-superblock", part)
    _mdadm("--manage", device, "--add", part)


def _free_name() -> str:
    for number in NUMBERS:
        if not os.path.exists(f"{SYS_BLOCK}/md{number}"):
            return f"md{number}"
    raise ResourceExhausted("there are too many arrays on this machine")


def _mdadm(*words: str) -> None:
    run_with_children(lambda it: extras.run(it, "mdadm", *words, timeout_s=TIMEOUT_S))
