"""The table of time zones: from the files and links of the package."""

import pytest

from orlop.image.blobs import Digest
from orlop.image.packages import Entry, Package
from orlop.image.time_zones import zone_table
from orlop.lib.errors import Unavailable
from orlop.wire.time_zone import tzif


def package(*entries: Entry) -> Package:
    return Package("tzdata", "1", "tzdata", "1", entries)


def file(name: str, rule: str) -> Entry:
    path = f"/usr/share/zoneinfo/{name}"
    return Entry(path, "file", 0o644, 1, Digest(rule))


def link(name: str, target: str) -> Entry:
    return Entry(f"/usr/share/zoneinfo/{name}", "link", target=target)


def read(digest: Digest) -> bytes:
    return tzif(digest) if digest[-1].isdigit() else digest.encode()


def test_table() -> None:
    table = zone_table(
        package(
            file("Etc/UTC", "UTC0"),
            file("Europe/London", "GMT0BST,M3.5.0/1,M10.5.0"),
            file("zone.tab", "# text\n"),
            file("posix/Etc/UTC", "UTC0"),
            link("UTC", "Etc/UTC"),
            link("Zulu", "UTC"),
            link("Etc/Zulu", "UTC"),
            link("Nowhere", "Etc/Nothing"),
        ),
        read,
    )
    assert table.decode().splitlines()[0] == "Etc/UTC UTC0"
    assert [line.split()[0] for line in table.decode().splitlines()] == [
        "Etc/UTC", "Etc/Zulu", "Europe/London", "UTC", "Zulu",
    ]  # fmt: skip
    with pytest.raises(Unavailable):
        zone_table(package(), read)
