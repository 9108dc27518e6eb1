"""The kernel's configuration: our fragments, merged onto "everything off" by its own tools.

What no fragment in ``os/kernel/`` names is not in the kernel, unless something named selects it.
Kconfig silently drops a symbol whose dependencies are not met and changes values that others force;
here that is an error, with the line that asked for it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orlop.image.step import StepContext
from orlop.lib.errors import InvalidArgument

FRAGMENTS = (
    "base",
    "platform",
    "storage",
    "network",
    "containers",
    "hardening",
    "virtual",
    "baremetal",
    "extras",
)
"""The fragments, in the order in which they are merged; no symbol is in two."""

CONFIG_FILE = "kernel.config"

_SETTING = re.compile(r'CONFIG_([A-Za-z0-9_]+)=(y|m|n|-?[0-9]+|0x[0-9a-fA-F]+|"[^"\\]*")')
_RESOLVED = re.compile(r"CONFIG_([A-Za-z0-9_]+)=(.*)")


@dataclass(frozen=True, slots=True)
class Setting:
    """One line of a fragment; *value* as Kconfig writes it, strings with their quotes."""

    symbol: str
    value: str
    origin: str

    @property
    def line(self) -> str:
        return f"CONFIG_{self.symbol}={self.value}"


def fragment_paths(checkout: Path) -> tuple[Path, ...]:
    return tuple(checkout / "os/kernel" / f"{name}.config" for name in FRAGMENTS)


def read_fragments(checkout: Path) -> list[Setting]:
    """All settings of all fragments.

    Raises:
        InvalidArgument: a line is neither a setting nor a comment, or a symbol appears twice.
    """
    settings: list[Setting] = []
    for path in fragment_paths(checkout):
        settings += parse_fragment(path.read_text(encoding="utf-8"), f"os/kernel/{path.name}")
    first: dict[str, Setting] = {}
    for setting in settings:
        earlier = first.setdefault(setting.symbol, setting)
        if earlier is not setting:
            raise InvalidArgument(
                f"{setting.origin}: {setting.symbol} is set already, at {earlier.origin}"
            )
    return settings


def parse_fragment(text: str, name: str) -> list[Setting]:
    """The settings of one fragment; *name* is for messages."""
    settings = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        match = _SETTING.fullmatch(line)
        if match is None:
            raise InvalidArgument(f"{name}:{number}: not CONFIG_SYMBOL=value: {line}")
        settings.append(Setting(match[1], match[2], f"{name}:{number}"))
    return settings


def merged(settings: Iterable[Setting]) -> str:
    """The settings as one file for KCONFIG_ALLCONFIG, without comments and in a fixed order."""
    return "".join(f"{line}\n" for line in sorted(setting.line for setting in settings))


def parse_config(text: str) -> dict[str, str]:
    """Symbols and values of a resolved configuration; what is not set is not in it."""
    matches = (_RESOLVED.fullmatch(line) for line in text.splitlines())
    return {match[1]: match[2] for match in matches if match is not None}


def check_kept(settings: Sequence[Setting], resolved: Mapping[str, str]) -> None:
    """Compare what was asked for with what came out.

    Raises:
        InvalidArgument: settings were dropped or changed; the text has a line for each.
    """
    broken = [
        f"{setting.origin}: {setting.symbol}: wanted {setting.value}, "
        f"the resolved configuration has {resolved.get(setting.symbol, 'n')}"
        for setting in settings
        if resolved.get(setting.symbol, "n") != setting.value
    ]
    if broken:
        raise InvalidArgument(
            "\n".join(["the kernel's configuration is not as our fragments say:", *broken]),
            hint="in the kernel's tree, `make menuconfig` and `/` show what a symbol depends on",
        )


def make_config(context: StepContext, *, settings: Sequence[Setting]) -> None:
    """Step: resolve *settings* for the kernel in step ``kernel-source``; writes `CONFIG_FILE`."""
    tree = context.scratch / "tree"
    # Kconfig files and what runs them are all that a configuration needs of a large archive.
    parts = ("Kconfig*", "Makefile*", "Kbuild*", "scripts/*")
    unpack_source(context, context.result("kernel-source"), tree, parts)
    wanted = context.scratch / "wanted.config"
    wanted.write_text(merged(settings), encoding="ascii")
    context.run(
        ["make", "ARCH=x86_64", "allnoconfig"], cwd=tree, env={"KCONFIG_ALLCONFIG": str(wanted)}
    )
    text = (tree / ".config").read_text(encoding="utf-8")
    check_kept(settings, parse_config(text))
    (context.output / CONFIG_FILE).write_text(text, encoding="utf-8")


def unpack_source(
    context: StepContext, packages: Path, tree: Path, parts: Sequence[str] = ()
) -> None:
    """Unpack the kernel's source from its Debian package in *packages* to *tree*.

    With *parts*, only what these patterns (relative to the tree) match.
    """
    found = list(packages.glob("linux-source-*.deb"))
    if len(found) != 1:
        raise InvalidArgument(f"{len(found)} packages with the kernel's source in {packages}")
    context.progress(None, "unpacking the source")
    package = context.scratch / "package"
    context.run(["dpkg-deb", "--extract", found[0], package])
    [archive] = package.glob("usr/src/linux-source-*.tar.xz")
    tree.mkdir()
    patterns = ["--wildcards", *(f"*/{part}" for part in parts)] if parts else []
    # Only the first component of each name goes: the directory named after the version.
    context.run(["tar", "-xf", archive, "-C", tree, "--strip-components=1", *patterns])
    archive.unlink()
