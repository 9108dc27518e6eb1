"""Compile what Debian's binaries do not fit: ``os/build/NAME.toml``, one step each.

Two kinds. ``source`` names a Debian source package, unpacked with Debian's patches and built by
``commands``. ``sources`` lists our own C files, linked as ``kind`` says: a ``static`` program
(musl) or a ``shared`` library (glibc). Either way the flags are ours, hardened, without paths or
dates, and ``[outputs]`` maps paths in the image to files in the build directory, programs or data.
"""

import json
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orlop.image.step import StepContext
from orlop.lib.errors import InvalidArgument, NotFound

COMPILER_TOOLS = ("binutils", "gcc-14", "libc6-dev", "make")
STATIC_TOOLS = ("binutils", "gcc-14", "libc6-dev", "linux-libc-dev", "musl-tools")

_HARDENING = ("-fstack-protector-strong", "-fstack-clash-protection", "-fcf-protection")
_WARNINGS = ("-std=c11", "-Wall", "-Wextra", "-Werror")
_GLIBC_FLAGS = ("-O2", "-D_FORTIFY_SOURCE=3", "-D_GNU_SOURCE", *_HARDENING)
_LINK_FLAGS = ("-Wl,-z,relro", "-Wl,-z,now", "-Wl,--build-id=none", "-Wl,--as-needed")
_SYSTEM_HEADERS = (  # musl comes without the kernel's
    *("-idirafter", "/usr/include", "-idirafter", "/usr/include/x86_64-linux-gnu"),
)
_KEYS = {
    *("source", "build_packages", "commands", "sources", "kind", "soname", "version_script", "link")
}


@dataclass(frozen=True, slots=True)
class Build:
    """A parsed build description. Exactly one of `source` and `sources` is set."""

    name: str
    outputs: Mapping[str, str]
    source: str = ""
    build_packages: tuple[str, ...] = ()
    commands: tuple[tuple[str, ...], ...] = ()
    sources: tuple[str, ...] = ()
    kind: str = ""
    soname: str = ""
    version_script: str = ""
    link: tuple[str, ...] = ()
    """More words for the linker, of a shared library."""
    text: str = field(default="", compare=False)

    @property
    def tools(self) -> tuple[str, ...]:
        """The packages of the tool root that can change the result."""
        known = STATIC_TOOLS if self.kind == "static" else COMPILER_TOOLS
        return tuple(sorted({*known, *self.build_packages}))


def read_builds(folder: Path) -> dict[str, Build]:
    """All builds in *folder*, by name.

    Raises:
        InvalidArgument: one is not valid; the text names file and key.
    """
    return {
        path.stem: parse_build(path.read_text(), path) for path in sorted(folder.glob("*.toml"))
    }


def parse_build(text: str, path: Path) -> Build:
    try:
        data: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{path}: {error}") from None
    for key in data.keys() - _KEYS - {"outputs"}:
        raise InvalidArgument(f"{path}: {key}: unknown key")
    outputs = data.get("outputs")
    if not isinstance(outputs, dict) or not outputs:
        raise InvalidArgument(f"{path}: outputs: what does it make?")
    for place, file in outputs.items():
        if not place.startswith("/") or not isinstance(file, str):
            raise InvalidArgument(f"{path}: outputs: {place}: want an absolute path = a file")
    build = Build(
        path.stem,
        outputs,
        _string(data, "source", path),
        _strings(data.get("build_packages", []), "build_packages", path),
        tuple(_strings(row, "commands", path) for row in data.get("commands", [])),
        _strings(data.get("sources", []), "sources", path),
        _string(data, "kind", path),
        _string(data, "soname", path),
        _string(data, "version_script", path),
        _strings(data.get("link", []), "link", path),
        text,
    )
    if bool(build.source) == bool(build.sources):
        raise InvalidArgument(f"{path}: want either source or sources")
    if build.source and not build.commands:
        raise InvalidArgument(f"{path}: commands: how is {build.source} built?")
    if build.sources and build.kind not in ("static", "shared"):
        raise InvalidArgument(f"{path}: kind: want static or shared")
    if (build.kind == "shared") != bool(build.soname):
        raise InvalidArgument(f"{path}: soname: a shared library has one, nothing else does")
    return build


def _string(data: Mapping[str, object], key: str, path: Path) -> str:
    value = data.get(key, "")
    if not isinstance(value, str):
        raise InvalidArgument(f"{path}: {key}: want a string")
    return value


def _strings(value: object, key: str, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgument(f"{path}: {key}: want a list of strings")
    return tuple(value)


def run_build(context: StepContext, build: Build, checkout: Path) -> None:
    """Compile *build*; the result is ``files/`` as in the image, ``build.json`` and ``copyright``.

    Raises:
        OrlopError: a command failed; its output is in the step's log.
        NotFound: a source package or an output is not there.
    """
    if build.source:
        version, tree = _build_package(context, build)
        shutil.copyfile(tree / "debian/copyright", context.output / "copyright")
    else:
        version, tree = "", context.scratch
        for command in compile_commands(build, checkout, tree):
            context.run(command, cwd=tree)
    for place, file in build.outputs.items():
        if not (tree / file).is_file():
            raise NotFound(f"build {build.name} made no {file}")
        target = context.output / "files" / place.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        is_program = (tree / file).read_bytes().startswith(b"\x7fELF")
        if is_program:
            context.run(["strip", "--strip-unneeded", "--remove-section=.comment", tree / file])
        shutil.copyfile(tree / file, target)
        target.chmod(0o755 if is_program else 0o644)
    record = {"name": build.name, "source": build.source, "version": version}
    (context.output / "build.json").write_text(json.dumps(record) + "\n")


def _build_package(context: StepContext, build: Build) -> tuple[str, Path]:
    sources = context.result("sources")
    index = json.loads((sources / "sources.json").read_text())
    if build.source not in index:
        raise NotFound(f"the source of {build.source} is not in the lock", hint="./orlop lock")
    entry = index[build.source]
    tree = context.scratch / "tree"
    dsc = sources / build.source / entry["dsc"]
    # Each file was checked against the lock when it was fetched; the keyring is not needed here.
    context.run(["dpkg-source", "--no-check", "--extract", dsc, tree])
    for command in build.commands:
        context.run(command, cwd=tree, env=build_environment(tree, context.jobs))
    return str(entry["version"]), tree


def build_environment(tree: Path, jobs: int) -> dict[str, str]:
    """Variables that configure scripts and makefiles honour."""
    flags = [*_GLIBC_FLAGS, "-fPIE", f"-ffile-prefix-map={tree}=."]
    return {
        "CC": "gcc",
        "CFLAGS": " ".join(flags),
        "CXXFLAGS": " ".join(flags),
        "LDFLAGS": " ".join(("-pie", *_LINK_FLAGS)),
        "MAKEFLAGS": f"-j{jobs}",
    }


def compile_commands(build: Build, checkout: Path, tree: Path) -> Sequence[Sequence[str]]:
    """How to compile and link our own C files into the one file of `outputs`."""
    sources = [str(checkout / source) for source in build.sources]
    includes = sorted({f"-I{Path(source).parent}" for source in sources})
    [output] = set(build.outputs.values())
    prefix_map = f"-ffile-prefix-map={checkout}=."
    if build.kind == "static":
        flags = ["-Os", "-static", *_HARDENING, *_WARNINGS, prefix_map, *includes]
        return [
            ["musl-gcc", *flags, *_SYSTEM_HEADERS, "-o", output, *sources, *_LINK_FLAGS[:3]],
        ]
    flags = [*_GLIBC_FLAGS, "-Os", "-fPIC", "-shared", *_WARNINGS, prefix_map, *includes]
    link = [f"-Wl,-soname,{build.soname}", "-Wl,-z,defs", *_LINK_FLAGS]
    if build.version_script:
        link.append(f"-Wl,--version-script={checkout / build.version_script}")
    del tree
    return [["gcc", *flags, "-o", output, *sources, *link, *build.link]]
