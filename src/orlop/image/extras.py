"""What is beside the ISO, in ``orlop-extras.erofs``: modules and programs for rare storage.

Of the same build as the system: the modules fit only its kernel, and the system holds the file's
digest and takes no other. Step ``extras``.
"""

import hashlib
import json
from pathlib import Path

from orlop.image import erofs, extra_modules
from orlop.image.assemble import Sources, assemble
from orlop.image.blobs import BlobSet, BlobStore
from orlop.image.contents import read_contents
from orlop.image.elf import ElfCache, index_libraries
from orlop.image.packages import read_packages
from orlop.image.root import EXTRAS_RECORD, KERNEL_MODULES
from orlop.image.step import StepContext
from orlop.image.tree import Directory

CONTENTS = "os/extras/image.toml"
IMAGE_FILE = "orlop-extras.erofs"
LABEL = "ORLOP_EXTRAS"


def build_extras(context: StepContext, *, checkout: Path) -> None:
    """Step ``extras``: the image, and its size and digest for the system."""
    packages = read_packages(context.result("packages"))
    store = BlobStore(context.output / "blobs")
    blobs = BlobSet(BlobStore(context.result("packages") / "blobs"), store)
    libraries = index_libraries(packages.values())
    sources = Sources(packages, libraries, {}, blobs, store, ElfCache())
    tree = assemble(read_contents(checkout / CONTENTS), None, {}, sources)
    folder = context.result("modules") / extra_modules.FOLDER
    for path in sorted(folder.rglob("*")):
        place = f"/{extra_modules.FOLDER}/{path.relative_to(folder).as_posix()}"
        if path.is_dir():
            tree.add(place, Directory())
        else:
            tree.add(place, sources.file(path.read_bytes(), KERNEL_MODULES))
    image = context.output / IMAGE_FILE
    options = (*erofs.COMPRESSION, "-L", LABEL)
    erofs.make_erofs(tree, blobs, image, context.scratch, context.run, options)
    (context.output / EXTRAS_RECORD).write_bytes(record(image))


def record(image: Path) -> bytes:
    """What the system knows of *image*."""
    with image.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return json.dumps({"sha256": digest, "size_bytes": image.stat().st_size}).encode()
