"""The steps that make the system image: packages, Python, and the root they become.

``packages`` takes the .deb files apart, ``python-libraries`` and ``python`` compile modules,
``root`` puts base and service images together, checks them and writes ``os.erofs`` with
``contents.json``: every path, for manifest and sizes. Only the last two depend on our sources.
"""

import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from orlop import __version__
from orlop.image import erofs, time_zones
from orlop.image.assemble import Sources, assemble
from orlop.image.blobs import BlobSet, BlobStore, Digest
from orlop.image.check_root import check_root
from orlop.image.elf import ElfCache, index_libraries
from orlop.image.images import Image, read_images
from orlop.image.packages import read_packages
from orlop.image.pyclosure import close_imports, is_optional
from orlop.image.pycompile import Compiled, Unit, compile_units
from orlop.image.pymodules import OWN, place_modules, python_roots, read_library
from orlop.image.step import StepContext
from orlop.image.time_zones import zone_table
from orlop.image.tree import Directory, File, Symlink, Tree
from orlop.image.tuning_table import TABLE_PATH, read_tuning_table

COMPILED_FILE = "compiled.json"
MODULES_FILE = "modules.json"
CONTENTS_FILE = "contents.json"
IMAGE_FILE = "os.erofs"
EXTRAS_RECORD = "extras.json"
"""Size and digest of the one file of extras that this system takes."""
FIRST_FILES = "os/root/first.txt"
"""What a boot reads; made by `./orlop bench order`."""
TRUSTED_ROOT = "/usr/lib/orlop/trust/root.json"
KERNEL_MODULES = "kernel-modules"
"""Origin of the kernel's modules in manifest and sizes."""


def compile_libraries(context: StepContext) -> None:
    """Step ``python-libraries``: compile what is not ours and not optional.

    More than any root needs, but no change of our sources repeats it.
    """
    folder = context.result("packages")
    packages = read_packages(folder)
    blobs = BlobStore(folder / "blobs")
    library = read_library(packages.values(), None, blobs, BlobSet(blobs))
    names = [name for name in library.modules if not is_optional(name)]
    rows = _compile(context, library.units(names), [folder / "blobs"])
    (context.output / COMPILED_FILE).write_text(json.dumps(rows))


def compile_python(context: StepContext, *, checkout: Path) -> None:
    """Step ``python``: compile every other module that some root needs, and list those of each."""
    folder, libraries = context.result("packages"), context.result("python-libraries")
    own = BlobStore(context.output / "blobs")
    blobs = BlobSet(BlobStore(folder / "blobs"), own)
    packages = read_packages(folder)
    library = read_library(packages.values(), checkout / "src/orlop", own, blobs)
    closures = {
        image.name: close_imports(python_roots(image.contents.python), library)
        for image in read_images(checkout)
        if image.contents.python
    }
    rows = json.loads((libraries / COMPILED_FILE).read_text())
    done = {Unit(source, filename) for source, filename, _, _ in rows}
    units = library.units(frozenset[str]().union(*closures.values()))
    missing = [unit for unit in units if unit not in done]
    rows += _compile(context, missing, [folder / "blobs", context.output / "blobs"])
    compiled = {Unit(row[0], row[1]): Compiled(row[2], row[3]) for row in rows}
    placed = {
        image: {path: _row(node) for path, node in place_modules(names, library, compiled).items()}
        for image, names in closures.items()
    }
    (context.output / MODULES_FILE).write_text(json.dumps(placed))


def _compile(
    context: StepContext, units: Sequence[Unit], stores: Sequence[Path]
) -> list[tuple[str, str, str, int]]:
    """Compile *units* into the blobs of the step's result: rows of source, name, digest, size."""
    context.progress(None, f"compiling {len(units)} modules")
    target = context.output / "blobs"
    target.mkdir(exist_ok=True)
    compiled = compile_units(units, stores, target, context.scratch)
    return [
        (unit.source, unit.filename, result.digest, result.size_bytes)
        for unit, result in compiled.items()
    ]


def _row(node: File) -> tuple[str, int, str]:
    return node.digest, node.size_bytes, node.origin


def read_modules(folder: Path) -> dict[str, dict[str, File]]:
    """The result of step ``python``: for each image the files of its modules by path."""
    placed = json.loads((folder / MODULES_FILE).read_text())
    return {
        image: {
            path: File(Digest(digest), size, 0o644, origin)
            for path, (digest, size, origin) in files.items()
        }
        for image, files in placed.items()
    }


def build_root(
    context: StepContext,
    *,
    checkout: Path,
    builds: Sequence[str],
    trust: str = "",
    date: int = 0,
    compression: Sequence[str] = erofs.COMPRESSION,
) -> None:
    """Step ``root``: base and service images, checked, as EROFS. *trust* is the root whose releases
    are taken, *date* the day from which on a clock can be right."""
    sources = _sources(context, builds)
    images = read_images(checkout)
    python = read_modules(context.result("python"))
    context.progress(None, "putting roots together")
    tree = assemble_all(images, python, sources)
    add_modules_of_kernel(tree, context.result("modules") / "usr", sources)
    record = (context.result("extras") / EXTRAS_RECORD).read_bytes()
    tree.add(f"/usr/lib/orlop/{EXTRAS_RECORD}", sources.file(record, OWN))
    tree.add("/usr/lib/orlop/extra", Directory())  # /init mounts something there
    table = read_tuning_table(checkout)
    tree.add(TABLE_PATH, sources.file(table, OWN))
    packages = read_packages(context.result("packages"))
    zones = zone_table(packages[time_zones.PACKAGE], sources.blobs.read)
    tree.add(time_zones.TABLE_PATH, sources.file(zones, time_zones.PACKAGE))
    if trust:
        tree.add(TRUSTED_ROOT, sources.file(trust.encode(), OWN))
    release = {"version": __version__, "build": tree_identity(tree), "date": date}
    tree.add("/usr/lib/orlop/release.json", sources.file(_json(release), OWN))
    context.progress(None, "compressing")
    erofs.make_erofs(
        tree,
        sources.blobs,
        context.output / IMAGE_FILE,
        context.scratch,
        context.run,
        compression,
        first_files(checkout),
    )
    (context.output / "release.json").write_bytes(_json(release))
    (context.output / CONTENTS_FILE).write_text(json.dumps(contents_rows(tree)))


def first_files(checkout: Path) -> list[str]:
    """The paths in `FIRST_FILES`, in its order."""
    lines = (checkout / FIRST_FILES).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("/")]


def assemble_all(
    images: Sequence[Image], python: Mapping[str, Mapping[str, File]], sources: Sources
) -> Tree:
    """The base root with the service images in it; each is checked on its own first."""
    base, *services = images
    modules = python.get(base.name, {})
    tree = assemble(base.contents, base.overlay, modules, sources, base=True)
    check_root(tree, sources.blobs, sources.elf)
    for image in services:
        modules = python.get(image.name, {})
        root = assemble(image.contents, image.overlay, modules, sources)
        check_root(root, sources.blobs, sources.elf, image.prefix)
        tree.graft(root.nodes, image.prefix)
        if image.service is not None:
            definition = f"{posixpath.dirname(image.prefix)}/service.json"
            tree.add(definition, sources.file(image.service, OWN))
    return tree


def add_modules_of_kernel(tree: Tree, folder: Path, sources: Sources) -> None:
    """Add what step ``modules`` made, as it lies in *folder*, which is its /usr."""
    for path in sorted(folder.rglob("*")):
        place = "/usr/" + path.relative_to(folder).as_posix()
        if path.is_symlink():
            tree.add(place, Symlink(str(path.readlink()), KERNEL_MODULES))
        elif path.is_dir():
            tree.add(place, Directory())
        else:
            tree.add(place, sources.file(path.read_bytes(), KERNEL_MODULES))


def tree_identity(tree: Tree) -> str:
    """16 hexadecimal digits that differ when anything in *tree* does."""
    from hashlib import sha256

    return sha256(json.dumps(contents_rows(tree)).encode()).hexdigest()[:16]


def contents_rows(tree: Tree) -> list[list[object]]:
    """[path, kind, size, origin, digest or target] of everything in *tree* but directories."""
    rows: list[list[object]] = []
    for path, node in sorted(tree.nodes.items()):
        match node:
            case File(digest, size_bytes, mode, origin):
                rows.append([path, "file", size_bytes, origin, digest, mode])
            case Symlink(target, origin):
                rows.append([path, "link", 0, origin, target, 0o777])
            case Directory():
                pass
    return rows


def _sources(context: StepContext, builds: Sequence[str]) -> Sources:
    steps = ("packages", "python-libraries", "python")
    store = BlobStore(context.output / "blobs")
    blobs = BlobSet(*(BlobStore(context.result(step) / "blobs") for step in steps), store)
    packages = read_packages(context.result("packages"))
    libraries = index_libraries(packages.values())
    sources = Sources(packages, libraries, {}, blobs, store, ElfCache())
    return replace(sources, builds=_build_results(context, builds, sources))


def _build_results(
    context: StepContext, builds: Sequence[str], sources: Sources
) -> Mapping[str, Mapping[str, File]]:
    found: dict[str, dict[str, File]] = {}
    for name in builds:
        folder = context.result(f"build-{name}")
        record = json.loads((folder / "build.json").read_text())
        files = folder / "files"
        found[name] = {
            f"/{path.relative_to(files).as_posix()}": sources.file(
                path.read_bytes(), record["source"] or OWN, 0o755
            )
            for path in sorted(files.rglob("*"))
            if path.is_file()
        }
    return found


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True) + "\n").encode()
