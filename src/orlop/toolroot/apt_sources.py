"""Where Debian 13 is to be had, worked out from the host's own apt sources.

The repository names no mirror. Whatever the host fetches Debian from (a mirror, a proxy's path, a
`mirror+file:` list) also has Debian 13, so the host's entries are taken with the suite changed and
their options kept. Both forms are read: one-line `sources.list` and deb822 `.sources`.

Pure: text in, text out. Runs on the host's Python: keep it to Python 3.11.
"""

import re
from dataclasses import dataclass, field

from orlop.lib.errors import NotFound

SUITE = "trixie"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

HOST_SUITES = frozenset(
    {"bullseye", "bookworm", "trixie", "forky", "sid", "oldstable", "stable", "testing", "unstable"}
)
NOT_CARRIED = frozenset({"architectures", "arch", "enabled", "languages", "lang", "targets"})

_ONE_LINE = re.compile(
    r"(?P<type>deb|deb-src)\s+(?:\[(?P<options>[^\]]*)\]\s*)?(?P<uri>\S+)\s+(?P<suite>\S+)"
    r"(?P<components>(?:\s+[^\s#]+)*)"
)


@dataclass(frozen=True)
class Source:
    """One apt source. `options` has lower-case deb822 names; a value may span lines."""

    types: tuple[str, ...]
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)


def parse_one_line(text: str) -> list[Source]:
    """Read the form of `sources.list`; what is no entry is left out (apt complains about it)."""
    sources = []
    for line in text.splitlines():
        match = _ONE_LINE.match(line.strip())
        if match is None:
            continue
        options = {}
        for option in (match["options"] or "").split():
            name, equals, value = option.partition("=")
            if equals:
                options[name.rstrip("+-").lower()] = value.replace(",", " ")
        sources.append(
            Source(
                types=(match["type"],),
                uris=(match["uri"],),
                suites=(match["suite"],),
                components=tuple(match["components"].split()),
                options=options,
            )
        )
    return sources


def parse_deb822(text: str) -> list[Source]:
    """Read the form of `.sources`; stanzas with `Enabled: no` are left out."""
    sources = []
    for stanza in re.split(r"\n[ \t]*\n", _without_comments(text)):
        fields = _fields(stanza)
        if not fields or fields.get("enabled", "yes").lower() in {"no", "false", "0", "off"}:
            continue
        sources.append(
            Source(
                types=tuple(fields.pop("types", "").split()),
                uris=tuple(fields.pop("uris", "").split()),
                suites=tuple(fields.pop("suites", "").split()),
                components=tuple(fields.pop("components", "").split()),
                options=fields,
            )
        )
    return sources


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def _fields(stanza: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    name = ""
    for line in stanza.splitlines():
        if line[:1] in {" ", "\t"}:
            if name:
                fields[name] += "\n" + line
        elif ":" in line:
            name, _, value = line.partition(":")
            name = name.strip().lower()
            fields[name] = value.strip()
    return fields


def derive(sources: list[Source], *, suite: str = SUITE) -> list[Source]:
    """The sources of Debian *suite*, its updates and its security updates, binary and source.

    Where the host lists other archives beside Debian's under a Debian suite name, those that look
    like Debian's are preferred: signed by its keyring, or below a path that ends in `debian`.

    Raises:
        NotFound: there is none.
    """
    main: dict[str, Source] = {}
    security: dict[str, Source] = {}
    for source in _debian(sources):
        for host_suite in source.suites:
            wanted = _wanted(host_suite)
            table = {"main": main, "security": security}.get(wanted or "", {})
            for uri in source.uris:
                table.setdefault(uri.rstrip("/"), source)
    if not main:
        raise NotFound(
            "apt on this host has no source for Debian's main archive",
            hint="add one to /etc/apt/sources.list.d; any suite of Debian will do",
        )
    return [
        *(_derived(uri, source, (suite, f"{suite}-updates")) for uri, source in main.items()),
        *(_derived(uri, source, (f"{suite}-security",)) for uri, source in security.items()),
    ]


def _debian(sources: list[Source]) -> list[Source]:
    candidates = [
        source
        for source in sources
        if "main" in source.components and any(_wanted(suite) for suite in source.suites)
    ]
    surely = [source for source in candidates if _looks_like_debian(source)]
    return surely or candidates


def _looks_like_debian(source: Source) -> bool:
    if "signed-by" in source.options:
        return "debian-archive" in source.options["signed-by"]
    return any(re.search(r"/debian(-security)?/?$", uri) for uri in source.uris)


def _wanted(host_suite: str) -> str | None:
    """Which part of an archive a suite of the host is: `main`, `security`, or None for others."""
    codename, separator, pocket = host_suite.rstrip("/").replace("/", "-", 1).partition("-")
    if codename not in HOST_SUITES:
        return None
    if not separator:
        return "main"
    if pocket == "security" or (pocket == "updates" and "/" in host_suite):
        return "security"
    return None


def _derived(uri: str, source: Source, suites: tuple[str, ...]) -> Source:
    options = {name: value for name, value in source.options.items() if name not in NOT_CARRIED}
    if "debian-archive" in options.get("signed-by", ""):
        options["signed-by"] = KEYRING  # some hosts name the keyring of one release
    return Source(("deb", "deb-src"), (uri,), suites, ("main",), options)


def render(sources: list[Source]) -> str:
    """The text of a deb822 `.sources` file."""
    stanzas = []
    for source in sources:
        lines = [
            f"Types: {' '.join(source.types)}",
            f"URIs: {' '.join(source.uris)}",
            f"Suites: {' '.join(source.suites)}",
            f"Components: {' '.join(source.components)}",
            *(f"{name.title()}: {value}" for name, value in sorted(source.options.items())),
        ]
        stanzas.append("\n".join(lines) + "\n")
    return "\n".join(stanzas)
