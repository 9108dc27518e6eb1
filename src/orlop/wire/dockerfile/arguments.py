"""The values of ARG: scopes, options of the build, and the names that need no declaration.

Global ones, before the first FROM, are seen by FROM lines; a stage sees one when it names it again.
An option counts for declared names and for proxies; those reach every command but neither history
nor cache unless they are declared. Source: the Dockerfile reference, "ARG".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CHARACTERS = 4 << 20
"""Of the values of a whole build: one made of others may double with each line."""

PROXIES = frozenset(
    name
    for word in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (word, word.lower())
)


def platform_arguments(build: str, target: str) -> dict[str, str]:
    """`TARGETPLATFORM`, `BUILDARCH` and so on, from `os/architecture[/variant]` each."""
    values: dict[str, str] = {}
    for prefix, platform in (("BUILD", build), ("TARGET", target)):
        system, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        values |= {
            f"{prefix}PLATFORM": platform,
            f"{prefix}OS": system,
            f"{prefix}ARCH": architecture,
            f"{prefix}VARIANT": variant,
        }
    return values


class Arguments:
    """Of one build; stages are built one after the other."""

    def __init__(self, given: Mapping[str, str | None], platform: Mapping[str, str]) -> None:
        """*given* are the options; None: named without a value, which counts as not given."""
        self._given = {name: value for name, value in given.items() if value is not None}
        self._platform = dict(platform)
        self._global: dict[str, str] = {}
        self._stage: dict[str, str] = {}
        self._declared: set[str] = set()
        self._used: set[str] = set()
        self._characters = 0

    def declare_global(self, name: str, default: str | None) -> None:
        """An ARG before the first FROM; *default* with variables already replaced."""
        value = self._given.get(name, default)
        if value is None:
            value = self._platform.get(name)
        self._used.add(name)
        if value is not None:
            self._take(value)
            self._global[name] = value

    def global_values(self) -> dict[str, str]:
        """What FROM lines see."""
        return self._platform | self._global

    def begin_stage(self) -> None:
        """Forget what the stage before declared."""
        self._stage = {}
        self._declared = set()

    def declare(self, name: str, default: str | None) -> None:
        """An ARG of the present stage.

        Raises:
            InvalidArgument: all values of the build together are too large.
        """
        self._take(default or "")
        self._declared.add(name)
        self._used.add(name)
        if name in self._given:
            self._stage[name] = self._given[name]
        elif default is not None:
            self._stage[name] = default
        elif name in self._global:
            self._stage[name] = self._global[name]
        elif name in self._platform:
            self._stage[name] = self._platform[name]

    def _take(self, value: str) -> None:
        self._characters += len(value)
        if self._characters > MAX_CHARACTERS:
            raise InvalidArgument(f"the build arguments have more than {MAX_CHARACTERS} characters")

    def values(self) -> dict[str, str]:
        """What instructions of the present stage see, besides ENV, which comes first."""
        proxies = {name: value for name, value in self._given.items() if name in PROXIES}
        return proxies | self._stage

    def for_command(self, environment: Mapping[str, str]) -> dict[str, str]:
        """What a RUN gets besides *environment*, the image's."""
        return {name: value for name, value in self.values().items() if name not in environment}

    def for_history(self, environment: Mapping[str, str]) -> dict[str, str]:
        """As `for_command`, what history and cache know of it."""
        visible = self.for_command(environment).items()
        return {
            name: value for name, value in visible if name not in PROXIES or name in self._declared
        }

    def unused(self) -> list[str]:
        """Options that no ARG asked for."""
        return sorted(
            name for name in self._given if name not in self._used and name not in PROXIES
        )
