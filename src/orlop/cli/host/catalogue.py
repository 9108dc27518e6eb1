"""`./orlop catalogue`: services, consoles and engines for machines that fetch them.

./orlop catalogue ls
./orlop catalogue build [NAME...] [--output DIRECTORY] [--locked]
./orlop catalogue lock [NAME...]
"""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from orlop.cli.host.build import prune
from orlop.cli.host.lock import lock_packages, write
from orlop.cli.host.settings import HostSettings, host_settings, run_and_report
from orlop.image import archive, catalogue
from orlop.image.catalogue_entry import CatalogueEntry, read_entries
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument

ESSENTIAL = "?essential"
"""apt's pattern for the packages without which dpkg installs nothing."""


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="./orlop catalogue",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("ls", help="what there is")
    build_parser = verbs.add_parser("build", help="images, definitions and their index")
    build_parser.add_argument("name", nargs="*", help="these only; the index keeps the others")
    build_parser.add_argument("--output", type=Path, help="where to (out/catalogue)")
    build_parser.add_argument(
        "--locked", action="store_true", help="fail where the archive lacks a locked version"
    )
    lock_parser = verbs.add_parser("lock", help="pin the newest versions the archive has")
    lock_parser.add_argument("name", nargs="*", help="these only")
    options = parser.parse_args(argv)
    host = host_settings()
    match options.verb:
        case "ls":
            for entry in read_entries(host.checkout):
                print(f"{entry.name:18} {entry.section:9} {entry.description}")
            return 0
        case "lock":
            return lock(host, options.name)
        case _:
            output = options.output or host.out / "catalogue"
            return build(host, options.name, output, locked=options.locked)


def build(host: HostSettings, names: Sequence[str], output: Path, *, locked: bool) -> int:
    """Bring *output* up to date for the entries called *names*, or all."""
    entries = read_entries(host.checkout, names)
    steps = catalogue.steps(host.checkout, entries, locked=locked)
    results = run_and_report(steps, [catalogue.step_name(entry) for entry in entries], host)
    if results is None:
        return 1
    rows: dict[str, tuple[str, dict[str, object]]] = {}
    for entry in entries:
        result = results[catalogue.step_name(entry)]
        image = json.loads((result / "image.json").read_text())
        publish(entry, result, output)
        rows[entry.name] = (entry.section, catalogue.index_row(entry, image))
        print(f"{entry.name}: {image['size_bytes']:,} bytes, {image['digest']}")
    index = catalogue.merge_index(read_index(output), rows)
    text = json.dumps(index, indent=1, sort_keys=True) + "\n"
    atomic_file.write_text(output / catalogue.INDEX_FILE, text)
    prune(host)
    return 0


def publish(entry: CatalogueEntry, result: Path, output: Path) -> None:
    """Put archive and definition of *entry* below *output*, each whole."""
    folder = output / entry.name
    folder.mkdir(parents=True, exist_ok=True)
    for source in (result / f"{entry.name}.tar", entry.definition):
        temporary = folder / f"{atomic_file.TEMPORARY_PREFIX}{source.name}"
        shutil.copyfile(source, temporary)
        temporary.rename(folder / source.name)


def read_index(output: Path) -> dict[str, object]:
    """The index that is there already, so that building one entry keeps the others.

    Raises:
        InvalidArgument: what is there is no index.
    """
    path = output / catalogue.INDEX_FILE
    try:
        index = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        index = None
    if not isinstance(index, dict):
        raise InvalidArgument(f"{path} is no index of a catalogue", hint="remove it")
    return index


def lock(host: HostSettings, names: Sequence[str]) -> int:
    """Write the locks of the entries called *names*, or all."""
    print("catalogue: fetching the archive's indexes", file=sys.stderr)
    archive.update()
    epoch = int(time.time())
    (host.checkout / "os/lock/catalogue").mkdir(exist_ok=True)
    for entry in read_entries(host.checkout, names):
        wanted = entry.packages | ({ESSENTIAL} if entry.debian else frozenset())
        versions = archive.closure(wanted, Path("/tmp"))
        write(host, entry.lock, lock_packages(versions, epoch=epoch))
    return 0
