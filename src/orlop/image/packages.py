"""Take a Debian package apart into blobs and a list of entries, running none of its scripts.

A ``.deb`` is verified against the lock before it comes here, but it is an archive all the same:
names that climb, device nodes and set-id bits are refused or dropped here, so that nothing after
this has to think about them. Paths are given their place in a merged ``/usr``.
"""

import io
import json
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, Self

from orlop.image.blobs import BlobStore, Digest
from orlop.image.step import StepContext
from orlop.lib.errors import InvalidArgument
from orlop.lib.process import environment, run

PACKAGES_FILE = "packages.json"
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_SET_ID_BITS = 0o6000

type EntryKind = Literal["file", "link"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or symbolic link of a package; directories are implied by what is in them."""

    path: str
    kind: EntryKind
    mode: int = 0o777
    size_bytes: int = 0
    digest: Digest | None = None
    target: str = ""

    def to_json(self) -> list[object]:
        return [self.path, self.kind, self.mode, self.size_bytes, self.digest, self.target]

    @classmethod
    def from_json(cls, row: Sequence[object]) -> Self:
        path, kind, mode, size, digest, target = row
        return cls(path, kind, mode, size, digest, target)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Package:
    """A binary package: what it is called, what it was built from, what is in it."""

    name: str
    version: str
    source: str
    source_version: str
    entries: tuple[Entry, ...]

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name,
            "version": self.version,
            "source": self.source,
            "source_version": self.source_version,
            "entries": [entry.to_json() for entry in self.entries],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Self:
        rows = data["entries"]
        assert isinstance(rows, list)
        return cls(
            str(data["name"]),
            str(data["version"]),
            str(data["source"]),
            str(data["source_version"]),
            tuple(Entry.from_json(row) for row in rows),
        )


def unpack_packages(context: StepContext, *, debs: str = "debs") -> None:
    """Step ``packages``: take all .deb files of the step *debs* apart."""
    folder = context.result(debs)
    store = BlobStore(context.output / "blobs")
    records = json.loads((folder / PACKAGES_FILE).read_text())
    packages = []
    for count, record in enumerate(records):
        context.progress(count / len(records), record["name"])
        packages.append(unpack_package(folder / record["file"], store).to_json())
    (context.output / PACKAGES_FILE).write_text(json.dumps(packages))


def read_packages(folder: Path) -> dict[str, Package]:
    """The result of step ``packages``, by name."""
    rows = json.loads((folder / PACKAGES_FILE).read_text())
    return {row["name"]: Package.from_json(row) for row in rows}


def unpack_package(deb: Path, store: BlobStore) -> Package:
    """Read *deb*, put its files into *store* and return the list of them.

    Raises:
        InvalidArgument: something in it no package of ours should have (a name that climbs, a
            device node).
        CommandError: dpkg-deb refused it.
    """
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, env=environment()
    ) as child:
        assert child.stdout is not None
        try:
            with tarfile.open(fileobj=child.stdout, mode="r|") as archive:
                entries = tuple(read_entries(archive, store))
        finally:
            # What follows the end of the archive is padding; a writer left blocked never exits.
            child.stdout.close()
            status = child.wait()
    if status not in (0, -13):  # SIGPIPE: it was still writing the padding
        raise InvalidArgument(f"{deb.name}: dpkg-deb exited with {status}")
    fields = _read_control(deb)
    source, _, source_version = fields.get("Source", fields["Package"]).partition(" ")
    version = fields["Version"]
    return Package(
        fields["Package"],
        version,
        source,
        source_version.strip("()") or version,
        tuple(sorted(entries, key=lambda entry: entry.path)),
    )


def read_entries(archive: tarfile.TarFile, store: BlobStore) -> Iterator[Entry]:
    """The files and links of *archive*, which is read once from front to back."""
    seen: dict[str, Entry] = {}
    for member in archive:
        path = merged_path(member.name)
        if member.isdir():
            continue
        if member.issym():
            entry = Entry(path, "link", target=_link_target(path, member.linkname))
        elif member.islnk():
            original = seen.get(merged_path(member.linkname))
            if original is None:
                raise InvalidArgument(f"{path} is a hard link to what does not precede it")
            entry = Entry(path, "file", original.mode, original.size_bytes, original.digest)
        elif member.isreg():
            source = archive.extractfile(member)
            data = (source or io.BytesIO()).read()
            entry = Entry(
                path, "file", member.mode & 0o777 & ~_SET_ID_BITS, len(data), store.add(data)
            )
        else:
            raise InvalidArgument(f"{path} is neither file, link nor directory")
        seen[path] = entry
        yield entry


def merged_path(name: str) -> str:
    """`./lib/x` and `/lib/x` as `/usr/lib/x`; raises InvalidArgument for a name that climbs."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise InvalidArgument(f"the archive has a name that climbs: {name!r}")
    if parts and parts[0] in _MERGED:
        parts.insert(0, "usr")
    return "/" + "/".join(parts)


def _link_target(path: str, target: str) -> str:
    """A target as text: absolute ones merged, relative ones left alone.

    A relative link out of /lib (`../usr/…`) would end elsewhere after the merge; Debian 13 has
    none in what we take, and the check for broken links would name it.
    """
    if target.startswith("/"):
        return merged_path(target)
    del path
    return str(PurePosixPath(target))


def _read_control(deb: Path) -> dict[str, str]:
    text = run(["dpkg-deb", "--field", deb, "Package", "Version", "Source"])
    return dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
