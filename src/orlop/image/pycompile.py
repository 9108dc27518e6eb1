"""Compile Python sources to sourceless modules, the same bytes every time.

What `@dataclass` would do at each start is done here (`orlop.image.prepare`). Level 2 (no asserts,
no docstrings), without column tables (`-X no_debug_ranges`): line numbers stay, a quarter of the
bytes goes. The header says "unchecked hash" with a hash of zeros, so nothing in it depends on a
time. `marshal` writes a back reference for whatever happens to have more than
one owner in this process, so each module is compiled in a fork of the same young process: its bytes
depend on its text and name alone, not on what was compiled before it.
"""

import ast
import importlib.util
import json
import marshal
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orlop.image.blobs import BlobSet, BlobStore, Digest
from orlop.image.prepare import prepare
from orlop.lib.atomic_file import write_text
from orlop.lib.errors import Internal
from orlop.lib.process import run

_UNCHECKED_HASH = 0b01
_HEADER = importlib.util.MAGIC_NUMBER + _UNCHECKED_HASH.to_bytes(4, "little") + bytes(8)


@dataclass(frozen=True, slots=True)
class Unit:
    """One module to compile: its text as a blob, and the file name tracebacks show."""

    source: Digest
    filename: str


@dataclass(frozen=True, slots=True)
class Compiled:
    digest: Digest
    size_bytes: int


def compile_source(text: bytes, filename: str) -> bytes:
    """The ``.pyc`` of *text*, with column tables if this process keeps them.

    Raises:
        SyntaxError: names *filename*.
    """
    tree = prepare(ast.parse(text, filename))
    code = compile(tree, filename, "exec", dont_inherit=True, optimize=2)
    return _HEADER + marshal.dumps(code)


def compile_units(
    units: Sequence[Unit], sources: Sequence[Path], output: Path, scratch: Path
) -> dict[Unit, Compiled]:
    """Compile *units* in a child Python that keeps no columns.

    *sources* are blob folders to read from, *output* is the one to write to, *scratch* a folder
    for the request and the answer.

    Raises:
        CommandError: a module does not compile; the text names file and line.
    """
    request, answer = scratch / "compile.json", scratch / "compiled.json"
    rows = [[unit.source, unit.filename] for unit in units]
    write_text(request, json.dumps([[str(path) for path in sources], str(output), rows]))
    python = [sys.executable, "-X", "no_debug_ranges", "-S", "-P"]
    package_folder = Path(__file__).parents[2]
    variables = {"PYTHONHASHSEED": "0", "PYTHONPATH": str(package_folder)}
    run([*python, "-m", "orlop.image.pycompile", request, answer], env=variables)
    sizes: list[tuple[str, int]] = json.loads(answer.read_text())
    return {
        unit: Compiled(Digest(digest), size)
        for unit, (digest, size) in zip(units, sizes, strict=True)
    }


def _compile_forked(unit: Unit, blobs: BlobSet, store: BlobStore, write_end: int) -> None:
    """In the child: compile, store, answer through the pipe, exit."""
    status = 1
    try:
        data = compile_source(blobs.read(unit.source), unit.filename)
        os.write(write_end, f"{store.add(data)} {len(data)}".encode())
        status = 0
    except SyntaxError as error:
        print(f"{unit.filename}:{error.lineno}: {error.msg}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def _main(request: Path, answer: Path) -> None:
    sources, output, rows = json.loads(request.read_text())
    blobs, store = BlobSet(*(BlobStore(Path(path)) for path in sources)), BlobStore(Path(output))
    done: list[tuple[str, int]] = []
    for source, filename in rows:
        read_end, write_end = os.pipe()
        child = os.fork()
        if child == 0:
            _compile_forked(Unit(source, filename), blobs, store, write_end)
        os.close(write_end)
        with os.fdopen(read_end, "rb") as stream:
            text = stream.read().decode()
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != 0:
            raise Internal(f"cannot compile {filename}")
        digest, size = text.split()
        done.append((digest, int(size)))
    write_text(answer, json.dumps(done))


if __name__ == "__main__":
    _main(Path(sys.argv[1]), Path(sys.argv[2]))
