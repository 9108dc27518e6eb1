"""Step ``modules``: what of the compiled modules goes into the image.

The module files as they are, and our index of them. What kmod would want (its tries, lists of
symbols, the order of built-in modules) is left out: nothing in the image reads it.
"""

import shutil
from pathlib import Path

from orlop.image import module_index
from orlop.image.step import StepContext
from orlop.lib.errors import InvalidArgument


def build_modules(context: StepContext) -> None:
    """Step: from ``kernel``, make ``usr/lib/modules/RELEASE`` of the image."""
    installed = context.result("kernel") / "lib/modules"
    target = context.output / "usr/lib/modules"
    [release] = sorted(path.name for path in installed.iterdir()) or [""]
    copy_modules(installed / release, target / release)


def copy_modules(installed: Path, target: Path) -> None:
    """Copy the module files of *installed* (``lib/modules/RELEASE``) and write their index.

    Raises:
        InvalidArgument: the index does not name exactly the files that are there.
    """
    shutil.copytree(installed / "kernel", target / "kernel")
    index = module_index.read_index_sources(installed)
    listed = {line.split()[1] for line in index.partition("\n\n")[0].splitlines()[1:]}
    present = {str(path.relative_to(target)) for path in target.rglob("*.ko")}
    if listed != present:
        odd = min(listed ^ present)
        raise InvalidArgument(f"depmod and the installed modules differ: {odd}")
    (target / module_index.FILE_NAME).write_text(index, encoding="ascii")
