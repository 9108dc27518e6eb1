"""Step ``kernel``: compile the kernel and its modules, the same bytes every time.

Debian's source, our configuration, and three things that upstream's build draws from chance. The
key that signs modules (`module_key`) is computed from the inputs; the seed of the layout of
structures (RANDSTRUCT) and the constants of the latent entropy plugin from the series, 6.12: the
next patch release keeps the code of what it does not change, and a delta to it is small. In a
kernel that everybody can download, none of them is a secret anyway.

The result holds ``vmlinuz``, ``System.map``, `CONFIG_FILE` and ``lib/modules/RELEASE`` with signed
modules and depmod's files. `kernel_modules` makes of it what goes into the image, so that a change
there does not compile a kernel.
"""

import hashlib
import shutil
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from orlop.image import module_key
from orlop.image.kernel_config import CONFIG_FILE, Setting, merged, unpack_source
from orlop.image.step import StepContext
from orlop.lib.errors import InvalidArgument

MODULE_KEY_FILE = "orlop-module-key.pem"
"""CONFIG_MODULE_SIG_KEY in os/kernel/hardening.config; relative to the top of the tree."""

TOOLS = (
    "bc",
    "binutils",
    "bison",
    "flex",
    "gcc-14",
    "gcc-14-plugin-dev",
    "kmod",
    "libelf-dev",
    "libssl-dev",
    "make",
    "patch",
    "python3-cryptography",
    "xz-utils",
)
"""Packages of the tool root whose versions can change the result."""

INSTALL = ("INSTALL_MOD_STRIP=--strip-unneeded", "modules_install")
"""Without the names of functions that only a module itself calls: 8% of the modules' bytes."""

NOT_AN_ERROR = ("array-bounds", "frame-larger-than=", "stringop-overflow", "stringop-overread")
"""Warnings that WERROR does not turn into errors. They depend on what the optimiser happens to see,
and with FORTIFY_SOURCE are false: kernel/padata.c is said to copy "65 bytes or more" of a mask that
has at most NR_CPUS / 8 = 64."""

DERIVED_KEY, RANDOM_KEY = "derived", "random"
"""The kinds of module key: the values of ORLOP_MODULE_KEY."""


def build_kernel(
    context: StepContext,
    *,
    settings: Sequence[Setting],
    patches: Sequence[Path],
    module_key_kind: str,
) -> None:
    """Step: compile, after *patches*; needs ``kernel-source`` and ``kernel-config``."""
    source = context.result("kernel-source")
    config = context.result("kernel-config") / CONFIG_FILE
    tree = context.scratch / "tree"
    unpack_source(context, source, tree)
    for patch in patches:
        context.run(["patch", "--strip=1", "--fuzz=0", f"--input={patch}"], cwd=tree)
    shutil.copyfile(config, tree / ".config")
    changes = "".join(patch.read_text(encoding="utf-8") for patch in patches)
    digest = input_digest(source, merged(settings) + changes, context.epoch)
    series = series_digest(source)
    write_randstruct_seed(tree, series)
    make = make_command(context, series)
    key = tree / MODULE_KEY_FILE
    try:
        context.progress(None, "making the module key")
        seed = digest if module_key_kind == DERIVED_KEY else None
        key.write_bytes(module_key.make_key_pem(seed, context.epoch))
        context.run([*make, "olddefconfig"], cwd=tree)
        if (tree / ".config").read_bytes() != config.read_bytes():
            raise InvalidArgument("the whole source resolves our configuration in another way")
        context.progress(None, "compiling")
        context.run([*make, "bzImage", "modules"], cwd=tree)
        context.progress(None, "installing modules")
        context.run([*make, f"INSTALL_MOD_PATH={context.output}", *INSTALL], cwd=tree)
    finally:
        key.unlink(missing_ok=True)  # a failed build's directory is kept; the key is not
    shutil.copyfile(tree / "arch/x86/boot/bzImage", context.output / "vmlinuz")
    shutil.copyfile(tree / "System.map", context.output / "System.map")
    shutil.copyfile(config, context.output / CONFIG_FILE)
    for link in (context.output / "lib/modules").glob("*/build"):
        link.unlink()  # points into this build's scratch directory


def make_command(context: StepContext, series: bytes) -> list[str]:
    """``make`` with everything that would otherwise depend on who compiles, where and when.

    In-tree builds name source files by relative paths, so no prefix map is needed.
    """
    entropy_seed = int.from_bytes(series[:8], "big")
    date = datetime.fromtimestamp(context.epoch, UTC)
    warnings = " ".join(f"-Wno-error={name}" for name in NOT_AN_ERROR)
    return [
        "make",
        f"-j{context.jobs}",
        "ARCH=x86_64",
        "KBUILD_BUILD_USER=orlop",
        "KBUILD_BUILD_HOST=orlop",
        "KBUILD_BUILD_VERSION=1",
        f"KBUILD_BUILD_TIMESTAMP={date:%Y-%m-%d %H:%M:%S} UTC",
        f"KCFLAGS=-frandom-seed={entropy_seed:#x} {warnings}",
    ]


def input_digest(source: Path, config: str, epoch: int) -> bytes:
    """What the derived key comes from: the source, our settings, the date."""
    digest = hashlib.sha256(b"orlop kernel\0")
    for package in sorted(source.glob("*.deb")):
        with package.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    digest.update(config.encode())
    digest.update(str(epoch).encode())
    return digest.digest()


def series_digest(source: Path) -> bytes:
    """What the seeds come from: the name of Debian's package, linux-source-6.12."""
    names = sorted(package.name.partition("_")[0] for package in source.glob("*.deb"))
    return hashlib.sha256("\0".join(["orlop kernel series", *names]).encode()).digest()


def write_randstruct_seed(tree: Path, digest: bytes) -> None:
    """Make the tree's own script write a seed from *digest* instead of one from /dev/urandom.

    A seed file alone would be overwritten: the build runs the script because it has no record
    of having run it.
    """
    seed = hashlib.sha256(b"randstruct\0" + digest).hexdigest()
    hashed = hashlib.sha256(seed.encode()).hexdigest()
    (tree / "scripts/gen-randstruct-seed.sh").write_text(
        "#!/bin/sh\n"
        f'echo "{seed}" > "$1"\n'
        f'echo "#define RANDSTRUCT_HASHED_SEED \\"{hashed}\\"" > "$2"\n'
    )
