"""Where things are, and what the tool root is made of.

Runs on the host's Python: keep it to Python 3.11.
"""

import hashlib
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

FORMAT = "2"
"""Change it when `make` lays out a tool root differently: earlier ones are not used any more."""


@dataclass(frozen=True)
class Locations:
    """The checkout, and the cache, which is shared by all checkouts of a user."""

    checkout: Path
    cache: Path

    @property
    def work(self) -> Path:
        """Directories of living sessions: see `orlop.lib.owned_directory`."""
        return self.cache / "work"

    @property
    def toolroots(self) -> Path:
        return self.cache / "toolroot"


def cache_directory(environ: Mapping[str, str]) -> Path:
    """`$ORLOP_CACHE`, or `orlop` in `$XDG_CACHE_HOME`, or `~/.cache/orlop`."""
    if environ.get("ORLOP_CACHE"):
        return Path(environ["ORLOP_CACHE"]).absolute()
    base = environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base).absolute() / "orlop"


@dataclass(frozen=True)
class ToolList:
    """What `os/tools.toml` asks for, and what the locks pin it to.

    packages: names of Debian packages; their dependencies follow.
    pins: versions of all packages, dependencies too, from `os/lock/tools.lock`; may be empty.
    pip_packages: names of packages of PyPI, without dependencies.
    pip_lock: `os/lock/pip.lock`, a requirements file with their hashes.
    """

    packages: tuple[str, ...]
    pins: Mapping[str, str]
    pip_packages: tuple[str, ...]
    pip_lock: str
    key: str


def read_tool_list(checkout: Path) -> ToolList:
    """Read the list and its locks; the key names the tool root that they make."""
    listed = tomllib.loads((checkout / "os" / "tools.toml").read_text())
    lock = _read_if_there(checkout / "os" / "lock" / "tools.lock")
    pip_lock = _read_if_there(checkout / "os" / "lock" / "pip.lock")
    packages = [name for group in listed["packages"].values() for name in group]
    pins = {}
    for line in lock.splitlines():
        if line and not line.startswith("#"):
            name, version, *_ = line.split()
            pins[name] = version
    digest = hashlib.sha256()
    for part in (FORMAT, " ".join(sorted(packages)), lock, pip_lock):
        digest.update(f"{len(part)}:{part}".encode())
    return ToolList(
        packages=tuple(sorted(packages)),
        pins=pins,
        pip_packages=tuple(listed["pip"]["packages"]),
        pip_lock=pip_lock,
        key=digest.hexdigest()[:16],
    )


def unpinned(tools: ToolList) -> ToolList:
    """The same tools at whatever versions the archive has now: for refreshing the lock."""
    return replace(tools, pins={}, pip_lock="", key=f"{tools.key}-unpinned")


def replace_toolroot(made: Path, final: Path) -> None:
    """Give the new tool root its name; one of the same name (made meanwhile, or unpinned) goes."""
    if final.exists():
        if not final.name.endswith("-unpinned"):
            return  # another launcher made the same at the same time
        final.rename(made.with_name("replaced"))
    made.rename(final)


def _read_if_there(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""
