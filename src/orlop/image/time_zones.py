"""The table of time zones in the image, made of Debian's tzdata: names, and the present rules."""

import posixpath
from collections.abc import Callable

from orlop.image.blobs import Digest
from orlop.image.packages import Package
from orlop.lib.errors import Unavailable
from orlop.wire.time_zone import rule_of

TABLE_PATH = "/usr/lib/orlop/timezones"
PACKAGE = "tzdata"
_DIRECTORY = "/usr/share/zoneinfo/"
_ALIASES = ("posix/", "right/")
"""The same zones again, with and without leap seconds."""


def zone_table(package: Package, read: Callable[[Digest], bytes]) -> bytes:
    """`NAME RULE` lines, sorted; a link is a name of its own.

    Raises:
        Unavailable: the package has no zones: it is not what it was.
    """
    rules: dict[str, str] = {}
    links: dict[str, str] = {}
    for entry in package.entries:
        name = entry.path.removeprefix(_DIRECTORY)
        if name == entry.path or name.startswith(_ALIASES):
            continue
        if entry.target:
            links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), entry.target))
        elif entry.digest is not None and (rule := rule_of(read(entry.digest))):
            rules[name] = rule
    for name in links:
        found = name
        for _ in range(4):  # a link may lead to a link
            found = links.get(found, found)
        if found in rules:
            rules[name] = rules[found]
    if "Etc/UTC" not in rules:
        raise Unavailable(f"{PACKAGE} has no time zones in {_DIRECTORY}")
    return "".join(f"{name} {rules[name]}\n" for name in sorted(rules)).encode()
