"""`./orlop lock`: pin the newest versions that Debian's archive has, in `os/lock/`.

The launcher has made a tool root without pins for this, so what is installed here is the newest.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

from orlop.cli.host.settings import HostSettings, host_settings
from orlop.image import archive, debian, lockfile
from orlop.image.lockfile import LockedFile
from orlop.lib import atomic_file
from orlop.lib.errors import NotFound
from orlop.toolroot.make import RECORD, installed
from orlop.toolroot.settings import read_tool_list


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./orlop lock", description=__doc__)
    parser.parse_args(argv)
    host = host_settings()
    print("lock: fetching the archive's indexes", file=sys.stderr)
    archive.update()
    scratch = Path("/tmp")
    epoch = int(time.time())
    write(host, "tools.lock", lock_packages(installed(Path("/")), epoch=None))
    versions = archive.closure(debian.wanted_packages(host.checkout), scratch)
    write(host, "image.lock", lock_packages(versions, epoch=epoch))
    # As a file only: its dependencies are for unpacking it by hand.
    kernel = archive.candidates([debian.KERNEL_SOURCE])
    write(host, debian.KERNEL_LOCK, lock_packages(kernel, epoch=epoch))
    sources = lock_sources(host, scratch)
    write(host, "sources.lock", lockfile.render(sources, epoch=None))
    record = json.loads((Path(os.environ["ORLOP_TOOLROOT"]) / RECORD).read_text())
    write(host, "pip.lock", record["pip_lock"])
    keep_toolroot(host)
    return 0


def lock_packages(versions: dict[str, str], *, epoch: int | None) -> str:
    """The text of a lock of *versions*.

    Raises:
        NotFound: the archive lacks one, so that nobody could fetch it later.
    """
    found = archive.locate(versions)
    lacking = versions.keys() - {package.name for package in found}
    if lacking:
        raise NotFound(
            f"the archive has no {', '.join(sorted(lacking))} in the versions found here"
        )
    return lockfile.render(found, epoch=epoch)


def lock_sources(host: HostSettings, scratch: Path) -> list[LockedFile]:
    """The newest files of each source package that can be fetched: fetched, to be sure of it.

    A mirror in the middle of a synchronisation lists what it does not have yet; the pin stays then.
    """
    path = host.checkout / "os" / "lock" / "sources.lock"
    pinned = lockfile.parse_sources(path.read_text() if path.exists() else "")
    locked: list[LockedFile] = []
    for source in debian.wanted_sources(host.checkout):
        files = archive.source_files([source])
        if not debian.fetch_source_by_hash(scratch, files, debian.pool_of_files()):
            kept = [file for file in pinned if file.source == source]
            if not kept:
                raise NotFound(
                    f"the archive lists {source} {files[0].version}, but lacks its files"
                )
            print(f"lock: {source} {files[0].version} cannot be fetched; the pin stays")
            files = kept
        locked += files
    return locked


def write(host: HostSettings, name: str, text: str) -> None:
    """Write a lock file, and say what changed; an unchanged one keeps its epoch."""
    path = host.checkout / "os" / "lock" / name
    old = path.read_text() if path.exists() else ""
    removed, added = set(_pins(old)) - set(_pins(text)), set(_pins(text)) - set(_pins(old))
    if not removed and not added and old:
        print(f"{name}: no change")
        return
    atomic_file.write_text(path, text)
    print(f"{name}: {len(_pins(text))} pins, {len(added)} new, {len(removed)} gone")
    for line in sorted(added):
        print(f"  {' '.join(line.split()[:2])}")


def _pins(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def keep_toolroot(host: HostSettings) -> None:
    """Give the tool root that we run in the name under which the new lock looks for it."""
    here = Path(os.environ["ORLOP_TOOLROOT"])
    final = here.with_name(read_tool_list(host.checkout).key)
    if not final.exists():
        here.rename(final)
