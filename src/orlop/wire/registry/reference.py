"""Names of images: `busybox`, `localhost:5000/team/app:1.2`, `debian@sha256:…`.

What people write is *familiar*; what is meant is canonical, `docker.io/library/busybox`. The rules
and the texts of errors are those of github.com/distribution/reference 0.6, as dockerd 28 uses it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from orlop.lib.errors import InvalidArgument

DEFAULT_DOMAIN = "docker.io"
LEGACY_DOMAIN = "index.docker.io"
OFFICIAL_PREFIX = "library/"
DEFAULT_TAG = "latest"

MAX_PATH_LENGTH = 255
MAX_REFERENCE_LENGTH = 1024
"""Longer ones are refused before any expression looks at them."""

_ALNUM = r"[a-z0-9]+"
_COMPONENT = rf"{_ALNUM}(?:(?:[._]|__|-+){_ALNUM})*"
_PATH = rf"{_COMPONENT}(?:/{_COMPONENT})*"
_LABEL = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])"
_DOMAIN = rf"{_HOST}(?::[0-9]+)?"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}"

_REFERENCE = re.compile(rf"({_DOMAIN})/({_PATH})(?::({_TAG}))?(?:@({_DIGEST}))?")
_TAG_ALONE = re.compile(_TAG)
_IDENTIFIER = re.compile(r"[a-f0-9]{64}")
_DIGEST_ALONE = re.compile(r"([a-z0-9]+(?:[.+_-][a-z0-9]+)*):([a-zA-Z0-9=_-]+)")

_DIGEST_LENGTHS = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True)
class Reference:
    """A canonical name with a tag, a digest, both or neither."""

    domain: str
    path: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """Domain and path: `docker.io/library/busybox`."""
        return f"{self.domain}/{self.path}"

    @property
    def familiar_name(self) -> str:
        """The name as people write it: `busybox`."""
        if self.domain != DEFAULT_DOMAIN:
            return self.name
        short = self.path.removeprefix(OFFICIAL_PREFIX)
        return self.path if "/" in short else short

    @property
    def suffix(self) -> str:
        """`:tag`, `@digest`, both or nothing."""
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    @property
    def familiar(self) -> str:
        """As people write it, with tag and digest."""
        return self.familiar_name + self.suffix

    def __str__(self) -> str:
        return self.name + self.suffix

    @property
    def is_name_only(self) -> bool:
        return not self.tag and not self.digest

    def with_default_tag(self) -> Reference:
        """Itself, or with `latest` if it has neither tag nor digest."""
        return replace(self, tag=DEFAULT_TAG) if self.is_name_only else self

    def with_tag(self, tag: str) -> Reference:
        """The name with *tag* alone.

        Raises:
            InvalidArgument: no tag can be that.
        """
        if not _TAG_ALONE.fullmatch(tag):
            raise InvalidArgument("invalid tag format")
        return Reference(self.domain, self.path, tag)

    def with_digest(self, digest: str) -> Reference:
        """The name with *digest* alone.

        Raises:
            InvalidArgument: it is no digest.
        """
        return Reference(self.domain, self.path, "", check_digest(digest))

    def with_tag_or_digest(self, text: str) -> Reference:
        """What the `tag` parameter of a request means: a digest may stand there too."""
        if not text:
            return self
        try:
            return self.with_digest(text)
        except InvalidArgument:
            return self.with_tag(text)


def parse_reference(text: str) -> Reference:
    """The canonical form of what a person wrote; no tag is added.

    Raises:
        InvalidArgument: in dockerd's words.
    """
    if len(text) > MAX_REFERENCE_LENGTH:
        raise InvalidArgument("invalid reference format")
    if _IDENTIFIER.fullmatch(text):
        raise InvalidArgument(
            f"invalid repository name ({text}), cannot specify 64-byte hexadecimal strings"
        )
    domain, rest = _split_domain(text)
    remote = rest.partition(":")[0]
    if remote.lower() != remote:
        raise InvalidArgument(
            f"invalid reference format: repository name ({remote}) must be lowercase"
        )
    found = _REFERENCE.fullmatch(f"{domain}/{rest}")
    if found is None:
        raise InvalidArgument("invalid reference format")
    host, path, tag, digest = found.groups(default="")
    if len(path) > MAX_PATH_LENGTH:
        raise InvalidArgument(f"repository name must not be more than {MAX_PATH_LENGTH} characters")
    return Reference(host, path, tag, check_digest(digest) if digest else "")


def is_identifier(text: str) -> bool:
    """Whether *text* is an image's id or digest rather than a name."""
    return bool(_IDENTIFIER.fullmatch(text)) or is_digest(text)


def check_digest(digest: str) -> str:
    """Give *digest* back if it is one: algorithm, colon, as many hexadecimal digits as it takes.

    Raises:
        InvalidArgument: in the words of go-digest.
    """
    found = _DIGEST_ALONE.fullmatch(digest)
    if found is None:
        raise InvalidArgument("invalid checksum digest format")
    length = _DIGEST_LENGTHS.get(found[1])
    if length is None:
        raise InvalidArgument("unsupported digest algorithm")
    if len(found[2]) != length:
        raise InvalidArgument("invalid checksum digest length")
    if not all(c in "0123456789abcdef" for c in found[2]):
        raise InvalidArgument("invalid checksum digest format")
    return digest


def is_digest(text: str) -> bool:
    """Whether `check_digest` accepts it."""
    try:
        check_digest(text)
    except InvalidArgument:
        return False
    return True


def short_id(digest: str) -> str:
    """The twelve digits by which people know a digest."""
    return digest.rpartition(":")[2][:12]


def _split_domain(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    if not slash:
        return DEFAULT_DOMAIN, OFFICIAL_PREFIX + text
    if first == LEGACY_DOMAIN:
        domain, path = DEFAULT_DOMAIN, rest
    elif first == "localhost" or "." in first or ":" in first or first.lower() != first:
        domain, path = first, rest
    else:
        domain, path = DEFAULT_DOMAIN, text
    if domain == DEFAULT_DOMAIN and "/" not in path:
        path = OFFICIAL_PREFIX + path
    return domain, path
