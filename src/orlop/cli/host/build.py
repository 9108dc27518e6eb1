"""`./orlop build`: bring `out/` up to date with the checkout."""

import argparse
import filecmp
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

from orlop.cli.host.settings import HostSettings, host_settings, run_and_report
from orlop.image.plan import plan
from orlop.image.secure_boot import read_keys
from orlop.image.store import Store
from orlop.lib import atomic_file, signatures
from orlop.lib.errors import Conflict, NotFound
from orlop.lib.units import format_duration
from orlop.wire.tuf.metadata import check_signatures, parse_root


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./orlop build", description=__doc__)
    parser.add_argument(
        "--locked",
        action="store_true",
        help="fail where the archive lacks a version of os/lock/, instead of using a newer one",
    )
    parser.add_argument(
        "--step", action="append", default=[], help="make this step only (and what it needs)"
    )
    parser.add_argument(
        "--trust",
        type=Path,
        metavar="ROOT.json",
        help="whose releases the system takes: `./orlop release new-keys` makes it",
    )
    parser.add_argument(
        "--keys",
        metavar="DIR",
        type=Path,
        help="make out/orlop-signed.iso as well, for Secure Boot: see ./orlop keys",
    )
    parser.add_argument(
        "--append",
        metavar="WORDS",
        default="",
        help="with --keys: kernel parameters, which nobody can add later, such as "
        "orlop.state.sealed",
    )
    options = parser.parse_args(argv)
    if options.append and not options.keys:
        parser.error("--append is for a signed image: give --keys too")
    if not (options.append.isascii() and options.append.isprintable()):
        parser.error("--append takes words of ASCII")
    host = host_settings()
    started_s = time.monotonic()
    keys = read_keys(options.keys) if options.keys else None
    planned = plan(host.checkout, options.locked, read_trust(options.trust), keys, options.append)
    targets = options.step or sorted({step for step, _ in planned.outputs.values()})
    results = run_and_report(planned.steps, targets, host)
    if results is None:
        return 1
    took = format_duration(time.monotonic() - started_s)
    if options.step:
        for step in targets:
            print(f"{step}: {results[step]}")
    else:
        publish(
            host, {name: results[step] / path for name, (step, path) in planned.outputs.items()}
        )
        prune(host)
        print(f"{host.out}/orlop.iso: {describe_size(host.out / 'orlop.iso')}, in {took}")
        if keys is not None:
            signed = host.out / "orlop-signed.iso"
            print(f"{signed}: {describe_size(signed)}, signed with {keys.certificate}")
    return 0


def read_trust(path: Path | None) -> str:
    """The root of trust at *path*; empty without one.

    Raises:
        NotFound: there is no such file. InvalidArgument, Forbidden: it is no root, or not signed.
    """
    if path is None:
        return ""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise NotFound(f"{path}: {error.strerror}") from error
    root = parse_root(data)
    check_signatures(root, root.signed, signatures.verify)
    return data.decode()


def publish(host: HostSettings, files: Mapping[str, Path]) -> None:
    """Put *files* into `out/`: each appears whole, and keeps its date if it is the same."""
    host.out.mkdir(exist_ok=True)
    for name, source in files.items():
        target = host.out / name
        if target.exists() and filecmp.cmp(source, target, shallow=False):
            continue
        temporary = host.out / f"{atomic_file.TEMPORARY_PREFIX}{name}"
        shutil.copyfile(source, temporary)
        temporary.rename(target)
    for leftover in host.out.iterdir():
        if leftover.name.startswith(atomic_file.TEMPORARY_PREFIX):
            leftover.unlink()


def prune(host: HostSettings) -> None:
    """Keep the cache from growing for ever."""
    try:
        Store(host.cache).prune()
    except Conflict:
        pass  # another build is running, and will do it


def describe_size(path: Path) -> str:
    """`14,680,064 bytes`."""
    return f"{os.stat(path).st_size:,} bytes"
