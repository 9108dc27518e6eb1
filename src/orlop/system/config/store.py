"""The machine's own document on disk: its versions, which one is in force, what is on trial.

    config/versions/N/config.yml    what `orlop config` wrote
    config/versions/N/secrets.yml   what is secret of it
    config/current                  a link to the version in force
    config/trial.json               the version to go back to unless somebody confirms
    config.yml                      a link to current/config.yml, or a file somebody put there

A version is made beside the others and renamed; the link is replaced by rename: at any moment one
whole version is in force. Everything is for root alone. All functions block.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from orlop.lib import atomic_file
from orlop.lib.errors import NotFound

KEPT = 20
"""Versions that are kept, besides the one in force and the one to go back to."""

PUBLIC, SECRET = "config.yml", "secrets.yml"
MAX_FILE_BYTES = 2 << 20
BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Texts:
    """The two files of a version."""

    public: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Version:
    """*created_s*: seconds since 1970."""

    number: int
    created_s: float


@dataclass(frozen=True, slots=True)
class Trial:
    """Version *back_to* comes back at *deadline_s* on CLOCK_BOOTTIME, or with the next boot."""

    back_to: int
    deadline_s: float
    boot_id: str


class ConfigStore:
    """The files below *base*."""

    def __init__(self, base: str) -> None:
        self._base = Path(base)
        self._directory = self._base / "config"
        self._versions = self._directory / "versions"

    def current(self) -> int:
        """The number of the version in force; 0 if there is none."""
        try:
            name = os.path.basename(os.readlink(self._directory / "current"))
        except OSError:
            return 0
        return int(name) if name.isdecimal() else 0

    def versions(self) -> list[Version]:
        """The versions there are, oldest first."""
        try:
            names = os.listdir(self._versions)
        except OSError:
            return []
        found = []
        for number in sorted(int(name) for name in names if name.isdecimal()):
            try:
                modified_s = (self._versions / str(number)).stat().st_mtime
            except OSError:
                continue
            found.append(Version(number, modified_s))
        return found

    def read(self, number: int) -> Texts:
        """Version *number*.

        Raises:
            NotFound: there is none.
        """
        directory = self._versions / str(number)
        if not directory.is_dir():
            raise NotFound(f"there is no version {number} of the configuration")
        return Texts(_read(directory / PUBLIC), _read(directory / SECRET))

    def in_force(self) -> Texts:
        """The machine's own document as it is, also one that somebody put there."""
        if (self._base / PUBLIC).is_symlink() and (number := self.current()):
            return self.read(number)
        return Texts(_read(self._base / PUBLIC))

    def adopt(self, texts: Texts) -> None:
        """Make *texts*, which are in force already, the first version unless there is one."""
        if self.current() and (self._base / PUBLIC).is_symlink():
            return
        self.switch(self.add(texts))

    def add(self, texts: Texts) -> int:
        """Store *texts* as a new version; its number.

        Raises:
            OSError: the disk is full or read-only; nothing has changed then.
        """
        os.makedirs(self._versions, mode=0o700, exist_ok=True)
        number = max([version.number for version in self.versions()], default=0) + 1
        directory = self._versions / f"{atomic_file.TEMPORARY_PREFIX}{number}"
        _remove(directory)
        directory.mkdir(mode=0o700)
        try:
            atomic_file.write_text(directory / PUBLIC, texts.public, mode=0o600)
            atomic_file.write_text(directory / SECRET, texts.secret, mode=0o600)
            directory.rename(self._versions / str(number))
        except OSError:
            _remove(directory)
            raise
        atomic_file.sync_directory(self._versions)
        return number

    def switch(self, number: int) -> None:
        """Put version *number* in force.

        Raises:
            NotFound: there is none. OSError: the disk is full or read-only.
        """
        self.read(number)
        _link(self._directory / "current", f"versions/{number}")
        public = self._base / PUBLIC
        if not public.is_symlink():
            _link(public, f"config/current/{PUBLIC}")

    def prune(self) -> None:
        """Remove the oldest versions that nobody needs."""
        trial = self.trial()
        needed = {self.current(), 0 if trial is None else trial.back_to}
        for version in self.versions()[:-KEPT]:
            if version.number not in needed:
                _remove(self._versions / str(version.number))

    def trial(self) -> Trial | None:
        """The trial that goes on, if there is one."""
        try:
            return Trial(**json.loads(_read(self._directory / "trial.json") or "null"))
        except (TypeError, ValueError):
            return None

    def begin_trial(self, back_to: int, deadline_s: float) -> None:
        """Note that *back_to* is to come back; before anything else is put in force."""
        trial = Trial(back_to, deadline_s, boot_id())
        atomic_file.write_text(
            self._directory / "trial.json", json.dumps(asdict(trial)), mode=0o600
        )

    def end_trial(self) -> None:
        """The version in force stays."""
        (self._directory / "trial.json").unlink(missing_ok=True)
        if self._directory.is_dir():
            atomic_file.sync_directory(self._directory)

    def go_back(self) -> int:
        """Put the version from before the trial in force again; its number, 0 without a trial."""
        trial = self.trial()
        if trial is not None:
            self.switch(trial.back_to)
        self.end_trial()
        return 0 if trial is None else trial.back_to


def boot_id() -> str:
    """What tells this boot from all others."""
    return _read(Path(BOOT_ID)).strip()


def _read(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(MAX_FILE_BYTES)
    except OSError:
        return ""


def _link(path: Path, target: str) -> None:
    """Make *path* a link to *target*, by rename."""
    temporary = path.parent / f"{atomic_file.TEMPORARY_PREFIX}{path.name}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.rename(path)
    atomic_file.sync_directory(path.parent)


def _remove(directory: Path) -> None:
    """All of it: of a version in the making a crash may have left files in the making, too."""
    try:
        for name in os.listdir(directory):
            (directory / name).unlink(missing_ok=True)
        directory.rmdir()
    except OSError:
        pass  # not there, or of no harm
