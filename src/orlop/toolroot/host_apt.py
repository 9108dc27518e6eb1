"""The host's apt configuration, carried into the tool root at run time.

Mirrors, proxies, certificates, credentials and keyrings are the host's business: they are read
anew at every start, written into a directory that lives as long as the command, and are in no
cache and no repository. Runs on the host's Python: keep it to Python 3.11.
"""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from orlop.toolroot import apt_sources

NOT_CARRIED = (
    *("CompressionTypes", "IndexTargets", "Languages", "GzipIndexes"),
    *("Auto-Detect", "Changelogs", "cdrom"),
)
"""Parts of `Acquire` about the host's own indexes and programs, and what is never fetched here."""

COPIED = ("auth.conf", "auth.conf.d", "keyrings", "trusted.gpg", "trusted.gpg.d", "mirrors")
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")

_SETTING = re.compile(r'(?P<key>\S+) "(?P<value>.*)";')


@dataclass(frozen=True)
class HostApt:
    """What apt on this host would use to fetch Debian."""

    sources: list[apt_sources.Source]
    settings: dict[str, str]
    directory: Path

    @property
    def files(self) -> list[Path]:
        """Files elsewhere in the host that the sources and settings name: keys, certificates."""
        named = [source.options.get("signed-by", "") for source in self.sources]
        named += self.settings.values()
        words = [word for value in named if "\n" not in value for word in value.split()]
        found = {Path(word) for word in words if word.startswith("/") and os.path.isfile(word)}
        found |= {CERTIFICATES} if CERTIFICATES.is_file() else set()
        return sorted(path for path in found if not path.is_relative_to("/usr"))


def parse_settings(dump: str) -> dict[str, str]:
    """The `Acquire` settings in the output of `apt-config dump`; lists keep their `::` suffix."""
    settings = {}
    for line in dump.splitlines():
        match = _SETTING.fullmatch(line)
        if match is None or not match["value"] or not match["key"].startswith("Acquire::"):
            continue
        if not any(part in match["key"] for part in NOT_CARRIED):
            settings[match["key"]] = match["value"]
    return settings


def read(directory: Path = Path("/etc/apt")) -> HostApt:
    """Read the host's configuration.

    Raises:
        NotFound: no Debian archive is configured.
    """
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True)
    found: list[apt_sources.Source] = []
    for path in [directory / "sources.list", *sorted((directory / "sources.list.d").glob("*"))]:
        if path.suffix == ".sources":
            found += apt_sources.parse_deb822(path.read_text())
        elif path.suffix == ".list" and path.is_file():
            found += apt_sources.parse_one_line(path.read_text())
    return HostApt(apt_sources.derive(found), parse_settings(dump.stdout), directory)


def settings_text(settings: dict[str, str]) -> str:
    """The text of an apt.conf file."""
    # No sandbox user: it could not write to a cache below a private home.
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    return "\n".join([*lines, 'APT::Sandbox::User "root";', 'Acquire::Languages "none";', ""])


def write(apt: HostApt, etc: Path, *, keyrings_inside: bool) -> None:
    """Make *etc*/apt what apt needs to fetch Debian.

    With *keyrings_inside*, keyrings below the host's /usr, which the tool root does not show, are
    copied and named where they are then.
    """
    target = etc / "apt"
    for name in ("apt.conf.d", "preferences.d", "sources.list.d"):
        (target / name).mkdir(parents=True, exist_ok=True)
    (target / "apt.conf").write_text(settings_text(apt.settings))
    sources = apt.sources
    if keyrings_inside:
        sources = [_with_keyring_inside(source, target) for source in apt.sources]
    (target / "sources.list.d" / "debian.sources").write_text(apt_sources.render(sources))
    for name in COPIED:
        source = apt.directory / name
        if source.is_dir():
            shutil.copytree(source, target / name, dirs_exist_ok=True)
        elif source.is_file():
            shutil.copy2(source, target / name)


def _with_keyring_inside(source: apt_sources.Source, target: Path) -> apt_sources.Source:
    keyring = source.options.get("signed-by", "")
    if not keyring.startswith("/usr/") or keyring == apt_sources.KEYRING:
        return source
    copied = target / "keyrings" / f"host-{Path(keyring).name}"
    copied.parent.mkdir(exist_ok=True)
    shutil.copy2(keyring, copied)
    options = source.options | {"signed-by": f"/etc/apt/keyrings/{copied.name}"}
    return replace(source, options=options)
