"""The steps that make the kernel, for the plan of the whole build.

``kernel-source`` (step of `debian`) -> ``kernel-config`` -> ``kernel`` -> ``modules``; and
``hardening``, which checks the configuration and needs no compiled kernel. The steps take the
fragments as settings, not as files, so that a changed comment compiles nothing. Our patches
(`PATCHES`) concern the compiled kernel only, not its configuration.
"""

import functools
import os
from pathlib import Path

from orlop.image import debian, extra_modules, hardening, kernel, kernel_config, kernel_modules
from orlop.image.step import Inputs, Step
from orlop.lib.errors import InvalidArgument

PATCHES = "os/kernel/patches"
"""Few and small: each says what it costs to be without it, and when it can go."""

CONFIG_TOOLS = ("binutils", "bison", "flex", "gcc-14", "gcc-14-plugin-dev", "make")


def steps(checkout: Path) -> tuple[Step, ...]:
    """The steps ``kernel-config``, ``hardening``, ``kernel`` and ``modules``.

    Raises:
        InvalidArgument: the fragments are not well-formed, or ORLOP_MODULE_KEY is neither kind.
    """
    settings = kernel_config.read_fragments(checkout)
    lines = kernel_config.merged(settings)
    extras = extra_modules.read_module_names(checkout)
    patches = sorted((checkout / PATCHES).glob("*.patch"))
    key_kind = os.environ.get("ORLOP_MODULE_KEY", kernel.DERIVED_KEY)
    if key_kind not in (kernel.DERIVED_KEY, kernel.RANDOM_KEY):
        raise InvalidArgument(
            f"ORLOP_MODULE_KEY is {key_kind}; it can be {kernel.DERIVED_KEY} or {kernel.RANDOM_KEY}"
        )
    return (
        Step(
            "kernel-config",
            functools.partial(kernel_config.make_config, settings=settings),
            Inputs(values=(lines,), needs=("kernel-source",), tools=CONFIG_TOOLS, epoch=0),
        ),
        Step(
            "hardening",
            functools.partial(hardening.check_build, table=checkout / hardening.TABLE),
            Inputs(
                files=(checkout / hardening.TABLE,), needs=("kernel-config",), tools=(), epoch=0
            ),
        ),
        Step(
            "kernel",
            functools.partial(
                kernel.build_kernel, settings=settings, patches=patches, module_key_kind=key_kind
            ),
            Inputs(
                files=tuple(patches),
                values=(lines, key_kind),
                needs=("kernel-source", "kernel-config"),
                tools=kernel.TOOLS,
                epoch=debian.kernel_epoch(checkout),
            ),
        ),
        Step(
            "modules",
            functools.partial(kernel_modules.build_modules, extras=extras),
            Inputs(values=extras, needs=("kernel",), tools=("kmod",), epoch=0),
        ),
    )
