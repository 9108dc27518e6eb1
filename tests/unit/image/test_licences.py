"""Debian's copyright files to SPDX expressions."""

import pytest

from orlop.image.licences import extracted_licences, licence_of, spdx_expression

MACHINE_READABLE = """Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: x

Files: debian/*
Copyright: somebody
License: GPL-3+

Files: *
Copyright: somebody else
License: LGPL-2.1+ or Expat
 The text of it.

License: GPL-3+
 On Debian systems see /usr/share/common-licenses/GPL-3.
"""
PROSE = """This is the Debian package of y.
On Debian systems, the complete text is in
/usr/share/common-licenses/GPL-2 and `/usr/share/common-licenses/Apache-2.0'.
"""


def test_the_licence_of_all_files_is_the_components() -> None:
    assert licence_of("x", MACHINE_READABLE) == "LGPL-2.1-or-later OR MIT"


def test_prose_points_at_common_licences() -> None:
    assert licence_of("y", PROSE) == "Apache-2.0 AND GPL-2.0-only"


def test_what_says_nothing_is_not_guessed() -> None:
    assert licence_of("z", "All rights reserved.") == "NOASSERTION"
    assert licence_of("z", "") == "NOASSERTION"


def test_a_few_are_known_by_name() -> None:
    assert licence_of("glibc", PROSE) == "LGPL-2.1-or-later"


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("GPL-2", "GPL-2.0-only"),
        ("GPL-2+ and BSD-3-clause", "GPL-2.0-or-later AND BSD-3-Clause"),
        ("Expat, and ISC", "MIT AND ISC"),
        ("GPL-2+ with OpenSSL exception", "GPL-2.0-or-later"),
        ("Some Own (text)", "LicenseRef-debian-Some-Own-text"),
    ],
)
def test_words_become_spdx_words(text: str, expression: str) -> None:
    assert spdx_expression(text) == expression


def test_references_are_collected_once() -> None:
    found = extracted_licences({"MIT AND LicenseRef-debian-a", "LicenseRef-debian-a", "ISC"})

    assert found == ["LicenseRef-debian-a"]
