"""Ask apt, inside the tool root, what Debian's archive has.

apt authenticates: its indexes are signed by Debian's keys, and give the SHA-256 of every file.
The configuration (mirror, proxy, credentials) is the host's, put there by the launcher.
"""

import fcntl
import os
import re
import threading
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from orlop.image.lockfile import LockedFile, LockedPackage
from orlop.lib.errors import NotFound
from orlop.lib.process import CommandError, run

APT_HELPER = "/usr/lib/apt/apt-helper"

_INSTALL = re.compile(r"^Inst (?P<name>[^ :]+)(?::\S+)? \((?P<version>\S+) ", re.MULTILINE)


_updated = threading.Event()


def update() -> None:
    """Fetch the archive's indexes, once per command; others that want to wait for that."""
    # apt's own lock on its lists makes a second update fail instead of wait.
    with Path(os.environ["ORLOP_CACHE"], "apt", "update.lock").open("w") as lock:
        fcntl.flock(lock.fileno(), fcntl.LOCK_EX)
        if not _updated.is_set():
            run(["apt-get", "update", "--quiet", "--error-on=any"])
            _updated.set()


def parse_stanzas(text: str) -> list[dict[str, str]]:
    """The stanzas of a control file; continuation lines are joined with newlines."""
    stanzas = []
    for block in re.split(r"\n\s*\n", text):
        fields: dict[str, str] = {}
        name = ""
        for line in block.splitlines():
            if line[:1] in {" ", "\t"}:
                fields[name] = fields.get(name, "") + "\n" + line.strip()
            elif ":" in line:
                name, _, value = line.partition(":")
                fields[name] = value.strip()
        if fields:
            stanzas.append(fields)
    return stanzas


def closure(packages: Iterable[str], scratch: Path) -> dict[str, str]:
    """The versions of *packages* and all they depend on, as apt would install them from nothing."""
    status = scratch / "empty-status"
    status.write_text("")
    simulation = run(
        [
            *("apt-get", "install", "--simulate", "--quiet", "--no-install-recommends"),
            *("--option", f"Dir::State::status={status}"),
            *sorted(set(packages)),
        ]
    )
    return {match["name"]: match["version"] for match in _INSTALL.finditer(simulation)}


def candidates(names: Iterable[str]) -> dict[str, str]:
    """The version apt would take of each package that it knows."""
    text = run(["apt-cache", "show", "--no-all-versions", *sorted(set(names))])
    return {stanza["Package"]: stanza["Version"] for stanza in parse_stanzas(text)}


def locate(versions: Mapping[str, str]) -> list[LockedPackage]:
    """The archive's SHA-256 of each package at its version; what it lacks is left out."""
    if not versions:
        return []
    # All versions of the names, because apt-cache fails as a whole on one version it lacks.
    text = run(["apt-cache", "show", *sorted(versions)])
    found = {
        LockedPackage(
            stanza["Package"], stanza["Version"], stanza["Architecture"], stanza["SHA256"]
        )
        for stanza in parse_stanzas(text)
        if "SHA256" in stanza and stanza["Version"] == versions.get(stanza["Package"])
    }
    return sorted(found)


def source_files(sources: Sequence[str]) -> list[LockedFile]:
    """The files of the newest version of each source package.

    Raises:
        NotFound: the archive lacks one.
    """
    files: list[LockedFile] = []
    for source in sorted(set(sources)):
        stanzas = _source_stanzas(source)
        if not stanzas:
            raise NotFound(f"the archive has no source package {source}")
        newest = stanzas[0]
        for stanza in stanzas[1:]:
            if _is_newer(stanza["Version"], newest["Version"]):
                newest = stanza
        files += parse_source_files(newest)
    return files


def source_files_at(source: str, version: str) -> list[LockedFile]:
    """The files of one version of a source package; none if the archive does not have it."""
    for stanza in _source_stanzas(source):
        if stanza["Version"] == version:
            return parse_source_files(stanza)
    return []


def _source_stanzas(source: str) -> list[dict[str, str]]:
    text = run(["apt-cache", "showsrc", "--only-source", source])
    return [stanza for stanza in parse_stanzas(text) if stanza.get("Package") == source]


def pool_directory(name: str, *, source: bool) -> str | None:
    """Where in the archive the present files of a package are: those it replaced were there too."""
    if source:
        stanzas = _source_stanzas(name)
        return stanzas[0].get("Directory") if stanzas else None
    text = run(["apt-cache", "show", "--no-all-versions", name])
    found = [stanza["Filename"] for stanza in parse_stanzas(text) if "Filename" in stanza]
    return found[0].rpartition("/")[0] if found else None


def fetch_by_hash(path: str, sha256: str, target: Path) -> bool:
    """Fetch a file that the indexes no longer list; whether any configured archive still has it.

    A mirror drops replaced files later than it drops them from its indexes. What comes is
    authenticated by *sha256* alone, which is why that has to be from a lock.
    """
    listed = run(["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"])
    for archive in sorted(set(listed.split())):
        uri = archive + urllib.parse.quote(path, safe="/+~")
        try:
            run([APT_HELPER, "download-file", uri, target, f"SHA256:{sha256}"])
        except CommandError:
            continue
        return True
    return False


def parse_source_files(stanza: Mapping[str, str]) -> list[LockedFile]:
    """The files in the `Checksums-Sha256` of one stanza of a Sources index."""
    files = []
    for line in stanza["Checksums-Sha256"].split("\n"):
        match line.split():
            case [digest, _, file]:
                files.append(LockedFile(stanza["Package"], stanza["Version"], file, digest))
    return files


def _is_newer(version: str, than: str) -> bool:
    try:
        run(["dpkg", "--compare-versions", version, "gt", than])
    except CommandError:
        return False
    return True
