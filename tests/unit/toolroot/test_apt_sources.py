"""Debian 13's sources, worked out from the forms in which hosts have theirs."""

import pytest

from orlop.lib.errors import NotFound
from orlop.toolroot.apt_sources import Source, derive, parse_deb822, parse_one_line, render

ONE_LINE = """\
# the archive
deb http://mirror.example/debian bookworm main contrib  # main archive
deb-src http://mirror.example/debian bookworm main
deb http://mirror.example/debian bookworm-updates main
deb [arch=amd64 signed-by=/k/debian.gpg,/k/own.gpg] http://m.example/s bookworm-security main
# deb http://mirror.example/debian sid main
deb http://other.example/apt tool-bookworm main
"""

DEB822 = """\
Types: deb deb-src
# a comment between fields
URIs: https://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main non-free-firmware
Signed-By: /usr/share/keyrings/debian-archive-bookworm-stable.gpg
Check-Valid-Until: no

Types: deb
URIs: mirror+file:/etc/apt/mirrors/debian-security.list
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Enabled: no
Types: deb
URIs: https://disabled.example/debian
Suites: bookworm
Components: main
"""


def test_one_line_form() -> None:
    source, *_, security = parse_one_line(ONE_LINE)[:4]

    assert source == Source(
        ("deb",), ("http://mirror.example/debian",), ("bookworm",), ("main", "contrib")
    )
    assert security.options == {"arch": "amd64", "signed-by": "/k/debian.gpg /k/own.gpg"}


def test_sources_from_the_one_line_form() -> None:
    text = "".join(line for line in ONE_LINE.splitlines(keepends=True) if "/k/" not in line)
    [main] = derive(parse_one_line(text))

    assert main.uris == ("http://mirror.example/debian",)
    assert main.suites == ("trixie", "trixie-updates")
    assert main.types == ("deb", "deb-src")


def test_deb822_form() -> None:
    main, security = derive(parse_deb822(DEB822))

    assert main.uris == ("https://mirror.example/debian",)
    assert main.components == ("main",)
    assert main.options == {
        "signed-by": "/usr/share/keyrings/debian-archive-keyring.gpg",
        "check-valid-until": "no",
    }
    assert security.uris == ("mirror+file:/etc/apt/mirrors/debian-security.list",)
    assert security.suites == ("trixie-security",)


def test_derived_sources_survive_their_own_form() -> None:
    derived = derive(parse_deb822(DEB822))

    assert parse_deb822(render(derived)) == derived


def test_embedded_key_keeps_its_lines() -> None:
    text = "Types: deb\nURIs: http://m.example/debian\nSuites: stable\nComponents: main\n"
    key = "Signed-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc\n -----END-----\n"
    [main] = derive(parse_deb822(text + key))

    assert "-----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n abc" in render([main])


def test_other_archives_under_a_debian_suite_are_left_out() -> None:
    sources = [
        Source(("deb",), ("https://vendor.example/apt",), ("bookworm",), ("main",)),
        Source(("deb",), ("http://m.example/debian/",), ("bookworm",), ("main",)),
    ]

    assert [source.uris for source in derive(sources)] == [("http://m.example/debian",)]


def test_mirror_with_another_path_is_taken_when_it_is_the_only_one() -> None:
    sources = [Source(("deb",), ("http://proxy.example/repository/d",), ("trixie",), ("main",))]

    [main] = derive(sources)
    assert main.uris == ("http://proxy.example/repository/d",)


def test_old_name_of_the_security_suite() -> None:
    text = "deb http://m.example/debian buster main\ndeb http://m.example/debian stable main\n"
    text += "deb http://s.example/debian-security stable/updates main\n"

    assert [source.suites for source in derive(parse_one_line(text))] == [
        ("trixie", "trixie-updates"),
        ("trixie-security",),
    ]


def test_host_without_debian() -> None:
    with pytest.raises(NotFound):
        derive(parse_one_line("deb http://m.example/ubuntu noble main\n"))
