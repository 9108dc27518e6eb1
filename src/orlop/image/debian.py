"""The steps that fetch from Debian's archive what `os/lock/` pins.

`debs` holds the .deb files of image.lock, flat, and `packages.json`: a list of {name, version,
architecture, source, source_version, file, sha256, drift}. `kernel-source` holds the one of
kernel.lock in the same form. `sources` holds one directory per source package of sources.lock with
its .dsc and what belongs to it, and `sources.json`: {source: {version, dsc, files: {name: sha256},
drift}}.

A pinned version that the archive no longer lists is fetched by its locked hash as long as the file
is there. One that is gone (a point release of Debian removes what it replaces) is not fatal: the
newest version that apt authenticates is taken, said loudly, and marked `drift`; `locked` makes it
an error. See docs/adr/0002-pins-and-drift.md.
"""

import functools
import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

from orlop.image import archive, lockfile
from orlop.image.lockfile import LockedFile, LockedPackage
from orlop.image.step import Inputs, Step, StepContext
from orlop.lib.errors import Internal, NotFound

KERNEL_SOURCE = "linux-source-6.12"
"""The binary package that carries the kernel's source, with Debian's patches applied."""

KERNEL_LOCK = "kernel.lock"
"""Apart from image.lock, so that a new package in the image does not compile the kernel again."""

IMPLIED_PACKAGES = ("busybox", "python3.13")
"""What every image needs without saying so: the interpreter and the tools of the containers."""


def steps(checkout: Path, *, locked: bool) -> tuple[Step, ...]:
    """The steps `debs`, `kernel-source` and `sources`.

    Raises:
        NotFound: something that is wanted was never locked.
    """
    files = lockfile.parse_sources(lockfile.read(checkout, "sources.lock"))
    packages = lockfile.parse_packages(lockfile.read(checkout, "image.lock"))
    unlocked = set(wanted_packages(checkout)) - {package.name for package in packages}
    unlocked |= set(wanted_sources(checkout)) - {file.source for file in files}
    if unlocked:
        raise NotFound(f"not in os/lock: {', '.join(sorted(unlocked))}", hint="./orlop lock")
    return (
        debs_step("debs", lockfile.read(checkout, "image.lock"), locked),
        debs_step("kernel-source", lockfile.read(checkout, KERNEL_LOCK), locked),
        Step(
            "sources",
            functools.partial(fetch_sources, files=files, locked=locked),
            Inputs(
                values=(lockfile.render(files, epoch=None), f"locked={locked}"), tools=(), epoch=0
            ),
        ),
    )


def debs_step(name: str, lock: str, locked: bool) -> Step:
    """The step *name*, whose result is the packages that the text *lock* pins."""
    packages = lockfile.parse_packages(lock)
    return Step(
        name,
        functools.partial(fetch_debs, packages=packages, locked=locked),
        # Files as they come: neither a tool's version nor a date changes what is fetched.
        Inputs(
            values=(lockfile.render(packages, epoch=None), f"locked={locked}"), tools=(), epoch=0
        ),
    )


def kernel_epoch(checkout: Path) -> int:
    """The date of the kernel: of its own pin, so that no other refresh compiles it again."""
    return lockfile.parse_epoch(lockfile.read(checkout, KERNEL_LOCK))


def wanted_packages(checkout: Path) -> list[str]:
    """The packages that the image's descriptions name; their dependencies are `lock`'s work."""
    names = set(IMPLIED_PACKAGES)
    folder = checkout / "os"
    others = (folder / name / "image.toml" for name in ("root", "extras"))
    for path in [*others, *folder.glob("services/*/image.toml")]:
        names |= set(tomllib.loads(path.read_text()).get("packages", []))
    return sorted(names)


def wanted_sources(checkout: Path) -> list[str]:
    """The source packages that `os/build/*.toml` compile."""
    found = (tomllib.loads(path.read_text()) for path in checkout.glob("os/build/*.toml"))
    return sorted({build["source"] for build in found if "source" in build})


# --- binary packages -----------------------------------------------------------------------------


def fetch_debs(context: StepContext, *, packages: Sequence[LockedPackage], locked: bool) -> None:
    """Fill the step's output with *packages*, from earlier downloads or the archive."""
    pool = pool_of_files()
    missing = [package for package in packages if not _is_in(pool, package.file, package.sha256)]
    replaced: dict[str, LockedPackage] = {}
    if missing:
        context.progress(None, "fetching the archive's indexes")
        archive.update()
        have = set(archive.locate({package.name: package.version for package in missing}))
        gone = [
            package
            for package in missing
            if package not in have and not _still_there(context, package, pool)
        ]
        replaced = _replacements(context, gone, locked=locked)
        wanted = [replaced.get(package.name, package) for package in missing]
        _download(context, [p for p in wanted if not _is_in(pool, p.file, p.sha256)], pool)
    records = []
    for package in packages:
        used = replaced.get(package.name, package)
        shutil.copyfile(pool / used.file, context.output / used.file)
        records.append(_record(context, used, drift=used != package))
    text = json.dumps(records, indent=1, sort_keys=True)
    (context.output / "packages.json").write_text(text + "\n")


def _still_there(context: StepContext, package: LockedPackage, pool: Path) -> bool:
    """Fetch a locked file that the archive has, but no longer lists."""
    directory = archive.pool_directory(package.name, source=False)
    fetched = context.scratch / package.file
    if directory is None or not archive.fetch_by_hash(
        f"{directory}/{package.pool_file}", package.sha256, fetched
    ):
        return False
    _move_into(pool, fetched)
    return True


def _replacements(
    context: StepContext, gone: Sequence[LockedPackage], *, locked: bool
) -> dict[str, LockedPackage]:
    """For each package the archive no longer has as locked, what it has instead."""
    if not gone:
        return {}
    now = archive.candidates(package.name for package in gone)
    found = {package.name: package for package in archive.locate(now)}
    lacking = [package.name for package in gone if package.name not in found]
    if lacking:
        raise NotFound(f"the archive has no {', '.join(lacking)} at all", hint="./orlop lock")
    for package in gone:
        what = f"{package.name} {package.version} as locked"
        if found[package.name].version == package.version:
            raise Internal(f"the archive's {package.name} {package.version} differs from the lock")
        if locked:
            raise NotFound(f"the archive no longer has {what}", hint="./orlop lock")
        context.warn(f"the archive has no {what}; using {found[package.name].version}")
    return found


def _download(context: StepContext, packages: Sequence[LockedPackage], pool: Path) -> None:
    """Download into the pool; each file is checked before it joins."""
    batch = 16  # some at a time, for the sake of progress on screen
    for start in range(0, len(packages), batch):
        some = packages[start : start + batch]
        context.progress(start / len(packages), some[0].name)
        names = [f"{package.name}={package.version}" for package in some]
        context.run(["apt-get", "download", "--quiet", *names])
        for package in some:
            fetched = context.scratch / package.file
            if not _is_in(context.scratch, package.file, package.sha256):
                raise Internal(f"{fetched.name} is not the file that the lock names")
            _move_into(pool, fetched)


def _record(context: StepContext, package: LockedPackage, *, drift: bool) -> dict[str, object]:
    shown = context.capture(
        [
            *("dpkg-deb", "--show", "--showformat=${source:Package} ${source:Version}"),
            context.output / package.file,
        ]
    )
    source, _, source_version = shown.partition(" ")
    return {
        "name": package.name,
        "version": package.version,
        "architecture": package.architecture,
        "source": source,
        "source_version": source_version,
        "file": package.file,
        "sha256": package.sha256,
        "drift": drift,
    }


# --- source packages -----------------------------------------------------------------------------


def fetch_sources(context: StepContext, *, files: Sequence[LockedFile], locked: bool) -> None:
    """Fill the step's output with the source packages whose files are *files*."""
    pool = pool_of_files()
    index: dict[str, object] = {}
    for source in sorted({file.source for file in files}):
        wanted = [file for file in files if file.source == source]
        used = wanted
        if not all(_is_in(pool, file.file, file.sha256) for file in wanted):
            context.progress(None, source)
            used = _fetch_source(context, source, wanted, pool, locked=locked)
        target = context.output / source
        target.mkdir()
        for file in used:
            shutil.copyfile(pool / file.file, target / file.file)
        index[source] = {
            "version": used[0].version,
            "dsc": next(file.file for file in used if file.file.endswith(".dsc")),
            "files": {file.file: file.sha256 for file in used},
            "drift": sorted(used) != sorted(wanted),
        }
    text = json.dumps(index, indent=1, sort_keys=True)
    (context.output / "sources.json").write_text(text + "\n")


def _fetch_source(
    context: StepContext, source: str, wanted: list[LockedFile], pool: Path, *, locked: bool
) -> list[LockedFile]:
    archive.update()
    have = archive.source_files_at(source, wanted[0].version)
    if not have and fetch_source_by_hash(context.scratch, wanted, pool):
        return wanted
    if not have:
        what = f"the source of {source} {wanted[0].version} as locked"
        if locked:
            raise NotFound(f"the archive no longer has {what}", hint="./orlop lock")
        have = archive.source_files([source])
        context.warn(f"the archive has no {what}; using {have[0].version}")
    elif sorted(have) != sorted(wanted):
        raise Internal(f"the archive's {source} {have[0].version} differs from the lock")
    context.run(
        [
            *("apt-get", "source", "--quiet", "--download-only", "--only-source"),
            f"{source}={have[0].version}",
        ]
    )
    for file in have:
        if not _is_in(context.scratch, file.file, file.sha256):
            raise Internal(f"{file.file} is not the file that the archive's index names")
        _move_into(pool, context.scratch / file.file)
    return have


def fetch_source_by_hash(scratch: Path, files: Sequence[LockedFile], pool: Path) -> bool:
    """Fetch all *files* of a source package into the pool by their hashes; whether it succeeded."""
    directory = archive.pool_directory(files[0].source, source=True)
    for file in files:
        if _is_in(pool, file.file, file.sha256):
            continue
        fetched = scratch / file.file
        if directory is None or not archive.fetch_by_hash(
            f"{directory}/{file.file}", file.sha256, fetched
        ):
            return False
        _move_into(pool, fetched)
    return True


# --- the pool ------------------------------------------------------------------------------------


def pool_of_files() -> Path:
    """Files fetched before, kept in the cache over refreshes of the lock; trusted by hash alone."""
    pool = Path(os.environ["ORLOP_CACHE"]) / "apt" / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    return pool


def _is_in(directory: Path, name: str, sha256: str) -> bool:
    try:
        with (directory / name).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
    except FileNotFoundError:
        return False


def _move_into(pool: Path, file: Path) -> None:
    """Move across mounts, appearing in the pool whole."""
    temporary = pool / f".{os.getpid()}-{file.name}"
    shutil.copyfile(file, temporary)
    temporary.rename(pool / file.name)
    file.unlink()
