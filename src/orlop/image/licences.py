"""From Debian's copyright files to SPDX licence expressions, as well as can be told.

The machine-readable format (DEP-5) names a licence per group of files; the one of `Files: *` is the
component's. Older files are prose, in which the pointers to /usr/share/common-licenses are the best
evidence. What has no SPDX name becomes a `LicenseRef`, what says nothing becomes NOASSERTION.

Source: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/, SPDX 2.3 annex D.
"""

import re
from collections.abc import Iterator, Mapping

NO_ASSERTION = "NOASSERTION"
_REFERENCE_PREFIX = "LicenseRef-debian-"

_SPDX: Mapping[str, str] = {
    "agpl-3": "AGPL-3.0-only",
    "apache-2": "Apache-2.0",
    "apache-2.0": "Apache-2.0",
    "artistic": "Artistic-1.0-Perl",
    "bsd-2-clause": "BSD-2-Clause",
    "bsd-3-clause": "BSD-3-Clause",
    "bsd": "BSD-3-Clause",
    "bzip2": "bzip2-1.0.6",
    "cc0": "CC0-1.0",
    "cc0-1.0": "CC0-1.0",
    "expat": "MIT",
    "mit": "MIT",
    "x11": "X11",
    "gpl": "GPL-1.0-or-later",
    "gpl-2": "GPL-2.0-only",
    "gpl-2+": "GPL-2.0-or-later",
    "gpl-2.0": "GPL-2.0-only",
    "gpl-2.0+": "GPL-2.0-or-later",
    "gpl-3": "GPL-3.0-only",
    "gpl-3+": "GPL-3.0-or-later",
    "isc": "ISC",
    "lgpl-2": "LGPL-2.0-only",
    "lgpl-2+": "LGPL-2.0-or-later",
    "lgpl-2.1": "LGPL-2.1-only",
    "lgpl-2.1+": "LGPL-2.1-or-later",
    "lgpl-3": "LGPL-3.0-only",
    "lgpl-3+": "LGPL-3.0-or-later",
    "0bsd": "0BSD",
    "psf-2": "PSF-2.0",
    "python-2.0": "Python-2.0",
    "python-2.0.1": "Python-2.0.1",
    "unlicense": "Unlicense",
    "zlib": "Zlib",
    "public-domain": _REFERENCE_PREFIX + "public-domain",
    "pd": _REFERENCE_PREFIX + "public-domain",
}

# Files that are prose, or that name their licences in words of their own.
_KNOWN: Mapping[str, str] = {
    "glibc": "LGPL-2.1-or-later",
    "python3.13": "Python-2.0.1",
    "linux": "GPL-2.0-only WITH Linux-syscall-note",
    "busybox": "GPL-2.0-only",
    "zlib": "Zlib",
    "grub2": "GPL-3.0-or-later",
    "musl": "MIT",
    "systemd": "LGPL-2.1-or-later",
}

_COMMON_LICENCE = re.compile(r"/usr/share/common-licenses/([A-Za-z0-9.-]*[A-Za-z0-9])")
_OPERATOR = re.compile(r"\s*,?\s+(and|or)\s+|\s*,\s+", re.IGNORECASE)
_NOT_IN_REFERENCE = re.compile(r"[^A-Za-z0-9.-]+")


def licence_of(source: str, copyright_text: str) -> str:
    """The SPDX expression for what was built from Debian's source package *source*."""
    if source in _KNOWN:
        return _KNOWN[source]
    stanzas = list(_stanzas(copyright_text))
    if stanzas and "format" in stanzas[0]:
        files = [stanza for stanza in stanzas if "files" in stanza and "license" in stanza]
        main = next((stanza for stanza in files if "*" in stanza["files"].split()), None)
        chosen = main or (files[0] if files else stanzas[0])
        name = chosen.get("license", "").splitlines()
        if name and name[0].strip():
            return spdx_expression(name[0])
    found = sorted({_spdx_name(match) for match in _COMMON_LICENCE.findall(copyright_text)})
    return " AND ".join(found) if found else NO_ASSERTION


def spdx_expression(text: str) -> str:
    """`GPL-2+ or Expat, and X` in SPDX's words: names mapped, operators in capitals."""
    text = re.sub(r"\s+with\s+.*?(exception|note)\b", "", text.strip(), flags=re.IGNORECASE)
    words: list[str] = []
    position = 0
    for match in _OPERATOR.finditer(text):
        words += [_spdx_name(text[position : match.start()]), (match[1] or "and").upper()]
        position = match.end()
    words.append(_spdx_name(text[position:]))
    # AND binds tighter than OR in both, so the order of the words is enough.
    return " ".join(words)


def extracted_licences(expressions: set[str]) -> list[str]:
    """The `LicenseRef` names in *expressions*, which an SPDX document has to declare."""
    words = {word for expression in expressions for word in expression.split()}
    return sorted(word for word in words if word.startswith(_REFERENCE_PREFIX))


def _spdx_name(name: str) -> str:
    stripped = name.strip().strip("()")
    if spdx := _SPDX.get(stripped.lower()):
        return spdx
    reference = _NOT_IN_REFERENCE.sub("-", stripped).strip("-")
    return _REFERENCE_PREFIX + reference if reference else NO_ASSERTION


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for block in re.split(r"\n[ \t]*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line[:1] in (" ", "\t"):
                if name:
                    fields[name] += "\n" + line.strip()
            elif ":" in line:
                name, _, value = line.partition(":")
                name = name.strip().lower()
                fields[name] = value.strip()
        if fields:
            yield fields
