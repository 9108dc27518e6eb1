"""Lock files: what is written is what is read."""

import pytest

from orlop.image.lockfile import (
    LockedFile,
    LockedPackage,
    parse_epoch,
    parse_packages,
    parse_sources,
    render,
)
from orlop.lib.errors import InvalidArgument

DIGEST = "a" * 64


def test_packages_round_trip() -> None:
    packages = [
        LockedPackage("zlib1g", "1:1.3.dfsg+really1.3.1-1", "amd64", DIGEST),
        LockedPackage("crun", "1.21-1", "amd64", DIGEST),
    ]
    text = render(packages, epoch=12)

    assert parse_packages(text) == sorted(packages)
    assert parse_epoch(text) == 12


def test_sources_round_trip() -> None:
    files = [LockedFile("chrony", "4.6.1-3", "chrony_4.6.1-3.dsc", DIGEST)]

    assert parse_sources(render(files, epoch=None)) == files


def test_file_name_escapes_the_epoch_of_a_version() -> None:
    package = LockedPackage("zlib1g", "1:1.3", "amd64", DIGEST)

    assert package.file == "zlib1g_1%3a1.3_amd64.deb"


@pytest.mark.parametrize("line", ["crun 1.21-1 amd64", f"crun 1.21 amd64 {DIGEST} more", "a b c d"])
def test_wrong_lines_are_refused(line: str) -> None:
    with pytest.raises(InvalidArgument, match="line 1"):
        parse_packages(line)


def test_lock_without_epoch_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="no epoch"):
        parse_epoch(render([], epoch=None))
