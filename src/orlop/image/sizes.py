"""Where the bytes are: the files of the system image sorted into groups, each content counted once.

What a file costs in the compressed image cannot be read off it, since it is packed in clusters with
its neighbours. So each content is compressed alone, quickly, and these numbers are scaled to the
size the image really has: good to a few per cent for a group, not for a small file.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from orlop.image.images import IMAGES_FOLDER
from orlop.image.pymodules import OWN, PROGRAM_FOLDER, STDLIB

_ZLIB_LEVEL = 1  # for proportions only: the fastest will do
SHARED = "shared by services"


@dataclass(frozen=True, slots=True)
class Row:
    """A path of the system image, from `root.contents_rows`."""

    path: str
    size_bytes: int
    origin: str
    digest: str


@dataclass(frozen=True, slots=True)
class Group:
    """`raw_bytes` is what the files hold, `image_bytes` their estimated share of the image."""

    name: str
    files: int
    raw_bytes: int
    image_bytes: int


def estimate_shares(
    contents: Iterable[Row], read: Callable[[str], bytes], image_bytes: int
) -> dict[str, int]:
    """The share of *image_bytes* of each content, by digest."""
    alone = {
        row.digest: len(zlib.compress(read(row.digest), _ZLIB_LEVEL))
        for row in {row.digest: row for row in contents}.values()
    }
    total = sum(alone.values()) or 1
    return {digest: size * image_bytes // total for digest, size in alone.items()}


def group_files(rows: Sequence[Row], shares: Mapping[str, int]) -> list[Group]:
    """Sort *rows* into groups, largest first. A content belongs to the base root if that has it, to
    the one service that has it, or to `SHARED`."""
    owners: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        owners[row.digest].append(row)
    groups: dict[str, list[Row]] = defaultdict(list)
    for users in owners.values():
        base = [row for row in users if not row.path.startswith(IMAGES_FOLDER + "/")]
        services = {service_of(row.path) for row in users}
        if base:
            groups[base_group(base[0])].append(base[0])
        else:
            name = f"service {min(services)}" if len(services) == 1 else SHARED
            groups[name].append(users[0])
    found = [
        Group(
            name,
            len(members),
            sum(row.size_bytes for row in members),
            sum(shares[row.digest] for row in members),
        )
        for name, members in groups.items()
    ]
    return sorted(found, key=lambda group: (-group.image_bytes, group.name))


def service_totals(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Per service the bytes of all its files, and of those that nothing else has."""
    users: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        users[row.digest].add(service_of(row.path))
    totals: dict[str, tuple[int, int]] = {}
    seen: set[tuple[str, str]] = set()
    for row in rows:
        service = service_of(row.path)
        if not service or (service, row.digest) in seen:
            continue
        seen.add((service, row.digest))
        whole, own = totals.get(service, (0, 0))
        alone = row.size_bytes if users[row.digest] == {service} else 0
        totals[service] = (whole + row.size_bytes, own + alone)
    return dict(sorted(totals.items()))


def service_of(path: str) -> str:
    """The service whose image *path* is in; empty for the base root."""
    if not path.startswith(IMAGES_FOLDER + "/"):
        return ""
    return path[len(IMAGES_FOLDER) + 1 :].partition("/")[0]


def base_group(row: Row) -> str:
    """The group of a file of the base root."""
    path = row.path
    if path.startswith("/usr/lib/modules/"):
        return "kernel modules"
    if path.startswith("/usr/bin/python"):
        return "Python interpreter"
    if path.startswith(STDLIB + "/"):
        return "Python standard library"
    if path.startswith(PROGRAM_FOLDER + "/"):
        return "PID 1 and engine" if row.origin == OWN else "Python libraries"
    if ".so" in path:
        return "libraries"
    return "programs and data"
