"""Two disks of which each is to have everything: which the second is, and what speaks against it.

All of it is pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError
from orlop.system.install.disks import ONLY, choose, choose_first, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from orlop.system.install.disks import Disk

SMALLER_BY = 100
"""One of so many parts may lack on the second disk: two of a size are never quite the same."""


def choose_disks(request: Mapping[str, Any], disks: Sequence[Disk]) -> tuple[Disk, ...]:
    """The disk of *request*, and its mirror if there is to be one.

    Raises:
        OrlopError: there is none, or it may not be installed on.
    """
    first = choose_first(request["disk"], disks)
    flags = {name: request[name] for name in ("wipe", "keep_state", "unattended")}
    refused = refusal(first, **flags)
    if refused is not None:
        raise refused
    if not request.get("mirror"):
        return (first,)
    second = choose_second(request["mirror"], first, disks)
    refused = None if is_unfinished_pair(first, second) else refusal(second, **flags)
    refused = refused or pair_refusal(first, second)
    if refused is not None:
        raise refused
    return first, second


def choose_second(references: Sequence[str], first: Disk, disks: Sequence[Disk]) -> Disk:
    """The disk to have what *first* has: the first of *references* that is there; `only`, the only
    other one.

    Raises:
        NotFound, Conflict, InvalidArgument: as `choose_first`; or it is *first* itself.
    """
    others = [disk for disk in disks if disk is not first]
    try:
        return choose_first(references, others)
    except NotFound:
        if any(r != ONLY and choose(r, disks) is first for r in references):
            text = f"{first.device} ({first.label}) is named twice: a mirror needs another disk"
            raise InvalidArgument(text) from None
        raise


def pair_refusal(first: Disk, second: Disk) -> OrlopError | None:
    """Why *second* cannot have the same as *first*, if that is so; pure."""
    what = f"{second.device} ({second.label})"
    if first.sector_bytes != second.sector_bytes:
        return Conflict(
            f"{first.device} has sectors of {first.sector_bytes} bytes, {what} of "
            f"{second.sector_bytes}: one cannot mirror the other"
        )
    if second.size_bytes < first.size_bytes - first.size_bytes // SMALLER_BY:
        sizes = f"{second.size_bytes >> 20} MiB, not {first.size_bytes >> 20}"
        return Conflict(
            f"{what} is too small to mirror {first.device}: {sizes}",
            hint="name the smaller one as the disk, and the larger as its mirror",
        )
    return None


def is_unfinished_pair(first: Disk, second: Disk) -> bool:
    """Whether an installation on both was interrupted when *second* was whole already; pure."""
    is_noted = bool(first.waits_for) and first.waits_for == second.guid
    return is_noted and not (second.busy or second.problem)
