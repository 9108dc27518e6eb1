"""Step ``modules``: what of the compiled modules goes into the image, and what into the extras.

The module files as they are, and our index of all of them; to the index, those of the extras are in
a directory `extra_modules.FOLDER` beside it. What kmod would want (its tries, lists of
symbols, the order of built-in modules) is left out: nothing in the image reads it.
"""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from orlop.image import extra_modules, module_index
from orlop.image.step import StepContext
from orlop.lib.errors import InvalidArgument

EXTRAS_PLACE = f"/run/orlop/extras/{extra_modules.FOLDER}"
"""Where a machine has the modules of the extras, if it has them."""


def build_modules(context: StepContext, *, extras: Sequence[str]) -> None:
    """Step: from ``kernel``, make ``usr/lib/modules/RELEASE`` of the image, and *extras*."""
    installed = context.result("kernel") / "lib/modules"
    [release] = sorted(path.name for path in installed.iterdir()) or [""]
    target = context.output / "usr/lib/modules" / release
    copy_modules(installed / release, target, context.output / extra_modules.FOLDER, extras)


def copy_modules(installed: Path, target: Path, beside: Path, extras: Sequence[str]) -> None:
    """Copy the module files of *installed* (``lib/modules/RELEASE``) and write their index.

    The modules *extras*, and what only they need, go to *beside*.

    Raises:
        InvalidArgument: the index does not name exactly the files that are there.
    """
    modules, aliases = module_index.read_sources(installed)
    apart = extra_modules.split_modules(modules, extras)
    listed = {module.path for module in modules}
    present = {str(path.relative_to(installed)) for path in installed.rglob("*.ko")}
    if listed != present:
        odd = min(listed ^ present)
        raise InvalidArgument(f"depmod and the installed modules differ: {odd}")
    placed = []
    for module in modules:
        is_apart = module.name in apart
        copy = (beside if is_apart else target) / module.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(installed / module.path, copy)
        path = f"{extra_modules.FOLDER}/{module.path}" if is_apart else module.path
        placed.append(replace(module, path=path))
    index = module_index.format_index(placed, aliases)
    (target / module_index.FILE_NAME).write_text(index, encoding="ascii")
    (target / extra_modules.FOLDER).symlink_to(EXTRAS_PLACE)
