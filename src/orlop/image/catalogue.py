"""The steps that build the images of the catalogue, and the index by which they are found.

    catalogue-NAME-debs -> catalogue-NAME-packages -> catalogue-NAME       chosen files
    catalogue-NAME-debs ----------------------------> catalogue-NAME       a whole Debian

Every entry has a lock of its own, so nothing that one needs builds another anew. A result holds
``NAME.tar``, an OCI archive, and ``image.json``: {reference, digest (of the manifest), size_bytes}.
"""

import functools
import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from orlop import __version__
from orlop.image import debian, lockfile, whole_debian
from orlop.image.assemble import Sources, assemble, entry_node
from orlop.image.blobs import BlobSet, BlobStore
from orlop.image.catalogue_entry import SECTIONS, CatalogueEntry
from orlop.image.check_root import check_root
from orlop.image.elf import ElfCache, index_libraries
from orlop.image.oci_archive import write_oci_archive
from orlop.image.packages import Package, read_packages, unpack_packages
from orlop.image.step import Inputs, Step, StepContext
from orlop.image.tree import File, Symlink, Tree, write_tar

INDEX_FILE = "index.json"
AUTHORITIES = "/usr/share/ca-certificates/mozilla/*.crt"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def steps(checkout: Path, entries: Sequence[CatalogueEntry], *, locked: bool) -> list[Step]:
    """The steps of *entries*; the one called `step_name` is the last of each.

    Raises:
        NotFound: an entry was never locked.
    """
    return [step for entry in entries for step in _entry_steps(checkout, entry, locked)]


def step_name(entry: CatalogueEntry) -> str:
    return f"catalogue-{entry.name}"


def _entry_steps(checkout: Path, entry: CatalogueEntry, locked: bool) -> list[Step]:
    lock = lockfile.read(checkout, entry.lock)
    name, debs = step_name(entry), f"{step_name(entry)}-debs"
    overlay = entry.folder / "rootfs"
    files = (overlay,) if overlay.is_dir() else ()
    values = (repr((entry.reference, entry.command, entry.description, entry.debian)),)
    first = debian.debs_step(debs, lock, locked)
    epoch = lockfile.parse_epoch(lock)
    if entry.debian:
        inputs = Inputs(files, values, needs=(debs,), tools=whole_debian.TOOLS, epoch=epoch)
        return [first, Step(name, functools.partial(build_debian, entry=entry), inputs)]
    packages = f"{name}-packages"
    return [
        first,
        Step(
            packages,
            functools.partial(unpack_packages, debs=debs),
            Inputs(needs=(debs,), tools=("dpkg",), epoch=0),
        ),
        Step(
            name,
            functools.partial(build_root, entry=entry),
            Inputs(
                (entry.folder / "image.toml", *files),
                values,
                needs=(packages,),
                tools=("python3-pyelftools",),
                epoch=epoch,
            ),
        ),
    ]


def build_root(context: StepContext, *, entry: CatalogueEntry) -> None:
    """Step ``catalogue-NAME`` of an entry that lists its files."""
    folder = context.result(f"{step_name(entry)}-packages")
    packages = read_packages(folder)
    store = BlobStore(context.scratch / "blobs")
    blobs = BlobSet(BlobStore(folder / "blobs"), store)
    libraries = index_libraries(packages.values())
    sources = Sources(packages, libraries, {}, blobs, store, ElfCache())
    tree = assemble(entry.contents, entry.folder / "rootfs", {}, sources)
    add_certificates(tree, sources)
    add_licences(tree, packages)
    check_root(tree, blobs, sources.elf, forbidden={})
    layer = context.scratch / "layer.tar"
    with layer.open("wb") as stream:
        write_tar(tree, blobs, stream)
    _write_image(context, entry, layer)


def add_certificates(tree: Tree, sources: Sources) -> None:
    """Where the root has authorities, make the one file of them in which programs look.

    Debian makes it when the package is installed, and no package's script runs here.
    """
    found = [node for path, node in tree.files() if fnmatchcase(path, AUTHORITIES)]
    if found:
        text = b"".join(sources.blobs.read(node.digest) for node in found)
        tree.add(CERTIFICATES, sources.file(text, "ca-certificates"))


def add_licences(tree: Tree, packages: Mapping[str, Package]) -> None:
    """The terms of every package that something in the root is from."""
    origins = {node.origin for node in tree.nodes.values() if isinstance(node, (File, Symlink))}
    names = sorted(origins & packages.keys())
    for name in names:
        terms = f"/usr/share/doc/{name}/copyright"
        entries = {entry.path: entry for entry in packages[name].entries}
        found = entries.get(terms) or entries.get(posixpath.dirname(terms))
        if found is None:
            continue
        tree.add(found.path, entry_node(found, name))
        # The whole folder may be a link to that of another package of the same source.
        if found.kind == "link" and found.target in packages and found.target not in names:
            names.append(found.target)


def build_debian(context: StepContext, *, entry: CatalogueEntry) -> None:
    """Step ``catalogue-NAME`` of an entry that is a whole Debian."""
    layer = context.scratch / "layer.tar"
    debs = context.result(f"{step_name(entry)}-debs")
    whole_debian.write_debian(context, debs, entry.debian, entry.folder / "rootfs", layer)
    _write_image(context, entry, layer)


def _write_image(context: StepContext, entry: CatalogueEntry, layer: Path) -> None:
    context.progress(None, "compressing")
    target = context.output / f"{entry.name}.tar"
    digest = write_oci_archive(
        layer,
        target,
        reference=entry.reference,
        command=entry.command,
        labels={
            "org.opencontainers.image.title": entry.name,
            "org.opencontainers.image.description": entry.description,
            "org.opencontainers.image.version": __version__,
        },
        epoch=context.epoch,
        scratch=context.scratch,
    )
    image = {
        "reference": entry.reference,
        "digest": digest,
        "size_bytes": target.stat().st_size,
    }
    (context.output / "image.json").write_text(json.dumps(image, sort_keys=True) + "\n")


def index_row(entry: CatalogueEntry, image: Mapping[str, object]) -> dict[str, object]:
    """What the index says of *entry*, whose step wrote *image*; paths are below the index."""
    return {
        "description": entry.description,
        "definition": f"{entry.name}/service.yml",
        "sha256": hashlib.sha256(entry.definition.read_bytes()).hexdigest(),
        "images": {
            str(image["reference"]): {
                "archive": f"{entry.name}/{entry.name}.tar",
                "digest": image["digest"],
                "size_bytes": image["size_bytes"],
            }
        },
    }


def merge_index(
    old: Mapping[str, object], rows: Mapping[str, tuple[str, Mapping[str, object]]]
) -> dict[str, dict[str, object]]:
    """The index *old* with *rows* in it: name to section and row. A name is in one section."""
    merged: dict[str, dict[str, object]] = {}
    for section in SECTIONS:
        present = old.get(section)
        kept = present if isinstance(present, dict) else {}
        merged[section] = {name: row for name, row in kept.items() if name not in rows}
        merged[section] |= {name: row for name, (place, row) in rows.items() if place == section}
    return merged
