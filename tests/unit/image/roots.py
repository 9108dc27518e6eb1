"""Small packages and sources to put roots together from."""

from pathlib import Path

from orlop.image.assemble import Sources
from orlop.image.blobs import BlobSet, BlobStore
from orlop.image.elf import ElfCache, index_libraries
from orlop.image.packages import Entry, Package


def make_package(
    store: BlobStore, name: str, files: dict[str, bytes], links: dict[str, str] | None = None
) -> Package:
    """A package with *files* (programs below bin directories) and *links*."""
    entries = [
        Entry(
            path,
            "file",
            0o755 if "bin/" in path else 0o644,
            len(data),
            store.add(data),
        )
        for path, data in files.items()
    ]
    entries += [Entry(path, "link", target=target) for path, target in (links or {}).items()]
    return Package(name, "1.0-1", name, "1.0-1", tuple(entries))


def make_sources(store: BlobStore, *packages: Package) -> Sources:
    by_name = {package.name: package for package in packages}
    return Sources(by_name, index_libraries(packages), {}, BlobSet(store), store, ElfCache())


def store_in(folder: Path) -> BlobStore:
    return BlobStore(folder / "blobs")
