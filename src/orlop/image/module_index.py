"""The index of kernel modules that `modload` and the usermode helper read (os/init/modules.c).

kmod's own files are made for kmod: binary tries, or text that a loader has to sort out on each call
of the kernel. This one says once and for all, at build time, what a loader needs, in lines::

    orlop-modules 1
    NAME PATH [NEED...]        the modules, numbered from 0 in the order of these lines; NEEDs are
    ...                        the numbers of what is to be loaded before, in that order
                               (an empty line)
    @KEY BYTES                 a section of BYTES bytes: aliases whose part before the colon is KEY,
    NUMBER PATTERN             "-" for those without a colon (fs-vfat), "*" for patterns with a
    ...                        wildcard there that is more than "KEY*:"

It is made from depmod's text files. Module names have `_` for `-`, as the kernel reports them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.lib.errors import InvalidArgument

FILE_NAME = "modules.index"
MAGIC = "orlop-modules 1\n"

# The limits of os/init/modules.h and modules.c: what the loader would refuse or overlook.
MODULES_MAX = 1024
SECTIONS_MAX = 256
NEEDS_MAX = 64
PATTERN_MAX = 511

_WILDCARDS = "*?["


@dataclass(frozen=True, slots=True)
class Module:
    """One module file: *path* relative to the directory of modules, *needs* in load order."""

    name: str
    path: str
    needs: tuple[str, ...] = ()


def read_index_sources(directory: Path) -> str:
    """The index for *directory* (``lib/modules/RELEASE``), in which depmod has run.

    Raises:
        InvalidArgument: depmod's files contradict each other or exceed what the loader reads.
        OSError: they are missing.
    """
    return format_index(*read_sources(directory))


def read_sources(directory: Path) -> tuple[list[Module], list[tuple[str, str]]]:
    """What depmod says: the modules, and (pattern, module name) of their aliases.

    Raises:
        OSError: its files are missing.
    """
    modules = parse_dependencies((directory / "modules.dep").read_text(encoding="ascii"))
    soft = parse_soft_dependencies((directory / "modules.softdep").read_text(encoding="ascii"))
    aliases = parse_aliases((directory / "modules.alias").read_text(encoding="ascii"))
    return with_soft_dependencies(modules, soft), aliases


def module_name(path: str) -> str:
    """The name of the module in the file *path*: ``kernel/net/a-b.ko`` is ``a_b``."""
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def parse_dependencies(text: str) -> list[Module]:
    """The modules of a ``modules.dep``, sorted by name.

    depmod lists all that a module needs, directly or not, the last to be loaded first.
    """
    modules = []
    for line in text.splitlines():
        path, _, needs = line.partition(":")
        order = tuple(module_name(need) for need in reversed(needs.split()))
        modules.append(Module(module_name(path), path, order))
    return sorted(modules, key=lambda module: module.name)


def parse_soft_dependencies(text: str) -> dict[str, tuple[str, ...]]:
    """What ``modules.softdep`` wants loaded before each module (its "post" is of no use here)."""
    wanted: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) < 3 or words[0] != "softdep" or "pre:" not in words:
            continue
        before = words[words.index("pre:") + 1 :]
        if "post:" in before:
            before = before[: before.index("post:")]
        name = words[1].replace("-", "_")
        wanted[name] = wanted.get(name, ()) + tuple(word.replace("-", "_") for word in before)
    return wanted


def with_soft_dependencies(
    modules: Iterable[Module], soft: Mapping[str, tuple[str, ...]]
) -> list[Module]:
    """*modules* with the soft dependencies that exist as modules put before the hard ones."""
    by_name = {module.name: module for module in modules}
    result = []
    for module in by_name.values():
        needs: list[str] = []
        for name in soft.get(module.name, ()):
            if name in by_name and name != module.name:
                needs += [*by_name[name].needs, name]
        needs += module.needs
        # A circle of soft dependencies may name the module itself; it is loaded last anyway.
        ordered = tuple(dict.fromkeys(need for need in needs if need != module.name))
        result.append(Module(module.name, module.path, ordered))
    return result


def parse_aliases(text: str) -> list[tuple[str, str]]:
    """The (pattern, module name) pairs of a ``modules.alias``."""
    pairs = []
    for line in text.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "alias":
            pairs.append((words[1], words[2].replace("-", "_")))
    return pairs


def section_key(pattern: str) -> str:
    """The section of the index that *pattern* belongs to (see the module's text)."""
    before, colon, _ = pattern.partition(":")
    if not colon:
        return "*" if any(wildcard in before for wildcard in _WILDCARDS) else "-"
    # "acpi*:PNP0C0A:*" is how the kernel writes aliases of buses whose names never go on.
    key = before.removesuffix("*")
    return "*" if not key or any(wildcard in key for wildcard in _WILDCARDS) else key


def format_index(modules: Iterable[Module], aliases: Iterable[tuple[str, str]]) -> str:
    """The text of the index; the same for the same content in any order.

    Raises:
        InvalidArgument: a name is missing or something exceeds the limits of the loader.
    """
    ordered = sorted(modules, key=lambda module: module.name)
    numbers = {module.name: number for number, module in enumerate(ordered)}
    if len(numbers) != len(ordered) or len(ordered) > MODULES_MAX:
        raise InvalidArgument(f"two modules share a name, or there are more than {MODULES_MAX}")
    lines = [_module_line(module, numbers) for module in ordered]
    sections: dict[str, list[str]] = {}
    for pattern, name in sorted(set(aliases)):
        if name not in numbers:
            raise InvalidArgument(f"alias {pattern} names {name}, which is not a module")
        if len(pattern) > PATTERN_MAX:
            raise InvalidArgument(f"the alias of {name} has {len(pattern)} characters: {pattern}")
        sections.setdefault(section_key(pattern), []).append(f"{numbers[name]} {pattern}\n")
    if len(sections) > SECTIONS_MAX:
        raise InvalidArgument(f"aliases of {len(sections)} buses; the loader has {SECTIONS_MAX}")
    parts = [MAGIC, *lines, "\n"]
    for key in sorted(sections):
        body = "".join(sections[key])
        parts += [f"@{key} {len(body)}\n", body]
    return "".join(parts)


def _module_line(module: Module, numbers: Mapping[str, int]) -> str:
    missing = [need for need in module.needs if need not in numbers]
    if missing:
        raise InvalidArgument(f"module {module.name} needs {missing[0]}, which is not there")
    if len(module.needs) > NEEDS_MAX:
        raise InvalidArgument(f"module {module.name} needs {len(module.needs)} others")
    return " ".join([module.name, module.path, *(str(numbers[n]) for n in module.needs)]) + "\n"
