"""The lock files in `os/lock/`: exactly which of Debian's packages are used.

One line per file, sorted, so that a refresh reads well as a diff:

    tools.lock, image.lock, kernel.lock    PACKAGE VERSION ARCHITECTURE SHA256
    sources.lock                           SOURCE VERSION FILE SHA256

Lines with `#` are comments. `# epoch SECONDS` is when the pins last changed, and the time that
everything built from them carries (SOURCE_DATE_EPOCH).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from orlop.lib.errors import InvalidArgument, NotFound

HEADER = "# Written by `./orlop lock`; see docs/building.md.\n"
_EPOCH = re.compile(r"^# epoch (\d+)$", re.MULTILINE)
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class LockedPackage:
    """A binary package."""

    name: str
    version: str
    architecture: str
    sha256: str

    @property
    def file(self) -> str:
        """The name `apt-get download` gives its file."""
        return f"{self.name}_{self.version.replace(':', '%3a')}_{self.architecture}.deb"

    @property
    def pool_file(self) -> str:
        """The name of its file in the archive, which leaves out the epoch of the version."""
        return f"{self.name}_{self.version.rpartition(':')[2]}_{self.architecture}.deb"


@dataclass(frozen=True, slots=True, order=True)
class LockedFile:
    """One file of a source package: its .dsc, or a tarball or patch that this lists."""

    source: str
    version: str
    file: str
    sha256: str


def parse_packages(text: str) -> list[LockedPackage]:
    """Read `tools.lock` or `image.lock`.

    Raises:
        InvalidArgument: a line has another shape.
    """
    return [LockedPackage(*fields) for fields in _lines(text)]


def parse_sources(text: str) -> list[LockedFile]:
    """Read `sources.lock`.

    Raises:
        InvalidArgument: a line has another shape.
    """
    return [LockedFile(*fields) for fields in _lines(text)]


def _lines(text: str) -> Iterable[tuple[str, str, str, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match line.split():
            case [first, second, third, digest] if _SHA256.fullmatch(digest):
                yield first, second, third, digest
            case _:
                raise InvalidArgument(
                    f"line {number} of a lock file is wrong: {line!r}", hint="./orlop lock"
                )


def parse_epoch(text: str) -> int:
    """The time of the refresh in seconds.

    Raises:
        InvalidArgument: the lock has none.
    """
    match = _EPOCH.search(text)
    if match is None:
        raise InvalidArgument("the lock file has no epoch", hint="./orlop lock")
    return int(match[1])


def render(lines: Iterable[LockedPackage] | Iterable[LockedFile], *, epoch: int | None) -> str:
    """The text of a lock file."""
    texts = []
    for line in sorted(lines):
        match line:
            case LockedPackage():
                texts.append(f"{line.name} {line.version} {line.architecture} {line.sha256}\n")
            case LockedFile():
                texts.append(f"{line.source} {line.version} {line.file} {line.sha256}\n")
    return HEADER + (f"# epoch {epoch}\n" if epoch is not None else "") + "".join(texts)


def read(checkout: Path, name: str) -> str:
    """The text of `os/lock/NAME`.

    Raises:
        NotFound: it was never made.
    """
    path = checkout / "os" / "lock" / name
    try:
        return path.read_text()
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", hint="./orlop lock") from None
