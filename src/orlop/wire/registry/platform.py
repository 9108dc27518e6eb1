"""Which of an image's platforms is wanted: `linux/arm64/v8`.

Normalization and order of preference as github.com/containerd/platforms has them: a variant also
runs what was made for lesser ones.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from orlop.lib.errors import InvalidArgument

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_SYSTEM = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?")

_ARCHITECTURES = {
    "i386": ("386", ""),
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
}
_KNOWN_SYSTEMS = frozenset({"darwin", "freebsd", "linux", "netbsd", "openbsd", "windows"})
_KNOWN_ARCHITECTURES = frozenset(
    {"386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm"}
)


@dataclass(frozen=True, slots=True)
class Platform:
    """Of an image or of a machine, normalized."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)


def normalize(os: str, architecture: str, variant: str = "") -> Platform:
    """One spelling for each platform."""
    os, architecture, variant = os.lower(), architecture.lower(), variant.lower()
    if os == "macos":
        os = "darwin"
    architecture, implied = _ARCHITECTURES.get(architecture, (architecture, ""))
    variant = variant or implied
    if (architecture, variant) in (("arm64", "8"), ("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    elif architecture == "arm":
        variant = {"": "v7", "7": "v7", "5": "v5", "6": "v6", "8": "v8"}.get(variant, variant)
    return Platform(os, architecture, variant)


def parse_platform(text: str, host: Platform) -> Platform:
    """What a person asks for: `arm64`, `linux/arm/v7`; what is left out is the *host*'s.

    Raises:
        InvalidArgument: in the words of containerd's library.
    """
    parts = text.split("/")
    if not _SYSTEM.fullmatch(parts[0]):
        raise InvalidArgument(
            f'"{parts[0][:64]}" is an invalid OS component of "{text[:256]}": OSAndVersion '
            f'specifier component must match "^{_SYSTEM.pattern}$": invalid argument'
        )
    for part in parts[1:]:
        if not _PART.fullmatch(part):
            raise InvalidArgument(
                f'"{part[:64]}" is an invalid component of "{text[:256]}": platform specifier '
                'component must match "^[A-Za-z0-9_.-]+$": invalid argument'
            )
    match parts:
        case [one]:
            if normalize(one, "").os in _KNOWN_SYSTEMS:
                return normalize(one, host.architecture, host.variant)
            guess = normalize(host.os, one)
            if guess.architecture in _KNOWN_ARCHITECTURES:
                return guess
            raise InvalidArgument(
                f'"{one}": unknown operating system or architecture: invalid argument'
            )
        case [os, architecture]:
            return normalize(os, architecture)
        case [os, architecture, variant]:
            return normalize(os, architecture, variant)
        case _:
            raise InvalidArgument(
                f'"{text[:256]}": cannot parse platform specifier: invalid argument'
            )


def host_platform(machine: str) -> Platform:
    """The platform of a machine that uname calls *machine*."""
    return normalize("linux", machine)


def compatible(wanted: Platform) -> list[Platform]:
    """What runs on *wanted*, the best first."""
    result = [wanted]
    if wanted.architecture == "amd64":
        level = _level(wanted.variant, 1)
        result += [
            Platform(wanted.os, "amd64", f"v{n}" if n > 1 else "") for n in range(level - 1, 0, -1)
        ]
    elif wanted.architecture == "arm":
        level = _level(wanted.variant, 7)
        result += [Platform(wanted.os, "arm", f"v{n}") for n in range(level - 1, 4, -1)]
    elif wanted.architecture == "arm64":
        result += [Platform(wanted.os, "arm64")] if wanted.variant else []
        result += [Platform(wanted.os, "arm", f"v{n}") for n in range(8, 4, -1)]
    return result


def rank(wanted: Platform, offered: Platform) -> int | None:
    """How well *offered* does for *wanted*, 0 best; None: not at all."""
    order = compatible(wanted)
    return order.index(offered) if offered in order else None


def _level(variant: str, default: int) -> int:
    digits = variant.removeprefix("v")
    return int(digits) if digits.isdigit() and len(digits) == 1 else default
