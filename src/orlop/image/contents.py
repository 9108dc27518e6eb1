"""What goes into one root file system: the format of ``image.toml``.

The base root (``os/root/image.toml``) and every service image (``os/services/NAME/image.toml``)
are described in the same few keys. Parsing is strict: an unknown key, a wrong type or a path that
is not absolute is an error that names file, line and key, because a misspelt key that is silently
skipped becomes a file that is missing on a machine. Nothing is looked up here; whether a
glob matches anything is decided where the packages are (`orlop.image.assemble`).
"""

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from orlop.lib.errors import InvalidArgument

_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")
_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_APPLET = re.compile(r"[A-Za-z0-9\[_.-]+")
_BUILD = re.compile(r"[a-z0-9][a-z0-9-]*")
_USER = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
_DIRECTORY = re.compile(r"(?P<mode>[01]?[0-7]{3})(?: (?P<owner>[a-z_][a-z0-9_-]*))?")

# Below 100 Debian hands out fixed ids by hand; from 1000 on they belong to people.
_FIRST_USER_ID, _LAST_USER_ID = 100, 999


@dataclass(frozen=True, slots=True)
class DirectorySpec:
    """A directory the image must have: its mode, and the user that owns it."""

    mode: int
    owner: str = "root"


@dataclass(frozen=True, slots=True)
class ImageContents:
    """The parsed ``image.toml``.

    `files` and `exclude` are absolute paths or globs over the files of `packages`, and `exclude` of
    `build` too; `links` maps a path to the text of a symbolic link; `users` maps a name to its user
    and group id.
    """

    source: Path
    packages: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    build: tuple[str, ...] = ()
    python: tuple[str, ...] = ()
    busybox: tuple[str, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    directories: Mapping[str, DirectorySpec] = field(default_factory=dict)
    users: Mapping[str, int] = field(default_factory=dict)

    @property
    def all_packages(self) -> frozenset[str]:
        """The packages this image names, with the one that its applets need."""
        return frozenset(self.packages) | ({"busybox"} if self.busybox else frozenset())


def read_contents(path: Path) -> ImageContents:
    """Read and parse the file at *path*.

    Raises:
        InvalidArgument: the file is missing or not valid; the text names file, line and key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidArgument(f"no image description: {path}") from None
    return parse_contents(text, path)


def parse_contents(
    text: str, source: Path, other_tables: Collection[str] = frozenset()
) -> ImageContents:
    """Parse *text*; *source* only serves error messages and the result.

    Tables named in *other_tables* are somebody else's and are left out.
    """
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{source}: {error}") from None
    own = {key: value for key, value in data.items() if key not in other_tables}
    return _Parser(text, source).parse(own)


class _Parser:
    """Checks one decoded document; kept as a class so that errors know their file and line."""

    def __init__(self, text: str, source: Path) -> None:
        self._lines = text.splitlines()
        self._source = source

    def parse(self, data: Mapping[str, object]) -> ImageContents:
        lists: dict[str, Callable[[str], bool]] = {
            "packages": lambda item: _PACKAGE.fullmatch(item) is not None,
            "files": _is_clean_path,
            "exclude": _is_clean_path,
            "build": lambda item: _BUILD.fullmatch(item) is not None,
            "python": lambda item: _MODULE.fullmatch(item) is not None,
            "busybox": lambda item: _APPLET.fullmatch(item) is not None,
        }
        tables = {"links", "dirs", "users"}
        for key in data:
            if key not in lists and key not in tables:
                known = ", ".join(sorted([*lists, *tables]))
                raise self._error(key, "unknown key", hint=f"known keys: {known}")
        parsed = {key: self._list(data, key, check) for key, check in lists.items()}
        users = self._users(self._table(data, "users"))
        directories = self._directories(self._table(data, "dirs"), users)
        links = self._links(self._table(data, "links"))
        if parsed["files"] and not parsed["packages"]:
            raise self._error("files", "files are listed but no packages to take them from")
        return ImageContents(
            self._source, **parsed, links=links, directories=directories, users=users
        )

    def _list(
        self, data: Mapping[str, object], key: str, check: Callable[[str], bool]
    ) -> tuple[str, ...]:
        value = data.get(key, [])
        if not isinstance(value, list):
            raise self._error(key, "must be a list of strings")
        seen: list[str] = []
        for item in value:
            if not isinstance(item, str):
                raise self._error(key, f"{item!r} is not a string")
            if not check(item):
                raise self._error(key, f"{item!r} is not valid here", item)
            if item in seen:
                raise self._error(key, f"{item!r} is listed twice", item)
            seen.append(item)
        return tuple(seen)

    def _table(self, data: Mapping[str, object], key: str) -> Mapping[str, object]:
        value = data.get(key, {})
        if not isinstance(value, dict):
            raise self._error(key, "must be a table")
        return value

    def _links(self, table: Mapping[str, object]) -> dict[str, str]:
        links: dict[str, str] = {}
        for path, target in table.items():
            self._check_path("links", path)
            if not isinstance(target, str) or not target or "\0" in target:
                raise self._error("links", f"the target of {path} must be a path", path)
            links[path] = target
        return links

    def _directories(
        self, table: Mapping[str, object], users: Mapping[str, int]
    ) -> dict[str, DirectorySpec]:
        directories: dict[str, DirectorySpec] = {}
        for path, value in table.items():
            self._check_path("dirs", path)
            match = _DIRECTORY.fullmatch(value) if isinstance(value, str) else None
            if match is None:
                raise self._error(
                    "dirs", f"{path} = {value!r}: want an octal mode and perhaps a user", path
                )
            owner = match["owner"] or "root"
            if owner != "root" and owner not in users:
                raise self._error("dirs", f"{path} belongs to {owner}, not in [users]", path)
            directories[path] = DirectorySpec(int(match["mode"], 8), owner)
        return directories

    def _users(self, table: Mapping[str, object]) -> dict[str, int]:
        users: dict[str, int] = {}
        for name, number in table.items():
            if _USER.fullmatch(name) is None or name in ("root", "nobody"):
                raise self._error("users", f"{name!r} is no name for a service's user", name)
            if type(number) is not int or not _FIRST_USER_ID <= number <= _LAST_USER_ID:
                bounds = f"{_FIRST_USER_ID} to {_LAST_USER_ID}"
                raise self._error("users", f"{name} = {number!r}: want a number {bounds}", name)
            if number in users.values():
                raise self._error("users", f"{name} = {number}: the number is taken", name)
            users[name] = number
        return users

    def _check_path(self, key: str, path: str) -> None:
        if not _is_clean_path(path) or any(char in path for char in "*?["):
            raise self._error(key, f"{path!r} is not an absolute, clean path", path)

    def _error(self, key: str, what: str, item: str = "", *, hint: str = "") -> InvalidArgument:
        line = self._find_line(key, item)
        where = f"{self._source}:{line}" if line else f"{self._source}"
        return InvalidArgument(f"{where}: {key}: {what}", hint=hint or None)

    def _find_line(self, key: str, item: str) -> int:
        """The line of *item* (or of *key*), 0 if it cannot be told: tomllib keeps no positions."""
        start = re.compile(rf"\s*(\[\s*{re.escape(key)}\s*\]|\"?{re.escape(key)}\"?\s*=)")
        first = next((n for n, line in enumerate(self._lines, 1) if start.match(line)), 0)
        if item:
            for number, line in enumerate(self._lines[max(first - 1, 0) :], max(first, 1)):
                if f'"{item}"' in line or f"'{item}'" in line or line.strip().startswith(item):
                    return number
        return first


def _is_clean_path(path: str) -> bool:
    if not path.startswith("/") or path.endswith("/") or "\0" in path:
        return False
    return not {"", ".", ".."} & set(path[1:].split("/"))
