"""The strict parser of image.toml."""

from pathlib import Path

import pytest

from orlop.image.contents import DirectorySpec, parse_contents, read_contents
from orlop.lib.errors import InvalidArgument

SOURCE = Path("os/services/web/image.toml")
WHOLE = """
packages = ["dropbear-bin"]
files = ["/usr/sbin/*bear", "/etc/x"]
exclude = ["/usr/sbin/grizzlybear"]
build = ["chrony"]
python = ["orlop.services.web.main"]
busybox = ["sh", "["]

[links]
"/bin/sh" = "busybox"

[dirs]
"/var/log" = "0755"
"/var/spool" = "0750 web"
"/var/tmp" = "1777"

[users]
web = 101
"""


def test_everything_is_read() -> None:
    contents = parse_contents(WHOLE, SOURCE)

    assert contents.source == SOURCE
    assert contents.packages == ("dropbear-bin",)
    assert contents.all_packages == {"dropbear-bin", "busybox"}
    assert contents.files == ("/usr/sbin/*bear", "/etc/x")
    assert contents.exclude == ("/usr/sbin/grizzlybear",)
    assert (contents.build, contents.busybox) == (("chrony",), ("sh", "["))
    assert contents.links == {"/bin/sh": "busybox"}
    assert contents.users == {"web": 101}
    assert contents.directories == {
        "/var/log": DirectorySpec(0o755),
        "/var/spool": DirectorySpec(0o750, "web"),
        "/var/tmp": DirectorySpec(0o1777),
    }


def test_an_empty_file_is_an_image_with_nothing_in_it() -> None:
    assert parse_contents("", SOURCE).all_packages == frozenset()


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ('\nflies = ["/x"]', 2, "flies: unknown key"),
        ("packages = [", None, "at end of document"),
        ('packages = "x1"', 1, "must be a list of strings"),
        ("packages = [1]", 1, "1 is not a string"),
        ('packages = ["Capital"]', 1, "'Capital' is not valid here"),
        ('packages = ["aa",\n "bb",\n "aa"]', 1, "'aa' is listed twice"),
        ('packages = ["aa"]\nfiles = [\n  "/ok",\n  "bin/sh",\n]', 4, "'bin/sh' is not valid"),
        ('packages = ["aa"]\nfiles = ["/a/../b"]', 2, "'/a/../b' is not valid"),
        ('files = ["/x"]', 1, "no packages to take them from"),
        ('python = ["no-module"]', 1, "'no-module' is not valid"),
        ('links = ["/x"]', 1, "must be a table"),
        ('[links]\n"bin/sh" = "x"', 2, "'bin/sh' is not an absolute"),
        ('[links]\n"/x" = 3', 2, "the target of /x"),
        ('[dirs]\n"/x" = "755x"', 2, "want an octal mode"),
        ('[dirs]\n"/x" = "4755"', 2, "want an octal mode"),
        ('[dirs]\n"/x" = "0755 ghost"', 2, "belongs to ghost"),
        ('[dirs]\n"/x/*" = "0755"', 2, "not an absolute, clean path"),
        ("[users]\nroot = 100", 2, "no name for a service's user"),
        ("[users]\nweb = 1000", 2, "want a number 100 to 999"),
        ("[users]\nweb = true", 2, "want a number"),
        ("[users]\none = 101\ntwo = 101", 3, "the number is taken"),
    ],
)
def test_an_error_names_file_line_and_key(text: str, line: int | None, part: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_contents(text, SOURCE)

    where = f"{SOURCE}:{line}: " if line else f"{SOURCE}: "
    assert str(caught.value).startswith(where)
    assert part in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"no image description: .*image.toml"):
        read_contents(tmp_path / "image.toml")
