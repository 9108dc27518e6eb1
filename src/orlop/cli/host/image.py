"""`./orlop image`: a disk with an installed system, for a hypervisor, a cloud or `dd`."""

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from orlop.cli.host.settings import host_settings
from orlop.image import lockfile
from orlop.image.disk import SECTOR_BYTES, DiskImage, Format, convert, make_disk
from orlop.image.extras import IMAGE_FILE
from orlop.lib import atomic_file
from orlop.lib.errors import InvalidArgument
from orlop.lib.process import run
from orlop.lib.units import format_size, parse_size_bytes
from orlop.wire.config.evaluate import check
from orlop.wire.located_yaml import MAX_LENGTH

DEFAULT_SIZE = "8g"
TOOL_TIMEOUT_S = 600.0


def parser() -> argparse.ArgumentParser:
    """The options of `./orlop image`."""
    result = argparse.ArgumentParser(
        prog="./orlop image",
        description="Write a disk with an installed system to a file, from the build or an ISO.",
        allow_abbrev=False,
    )
    add = result.add_argument
    add("--output", metavar="FILE", type=Path, required=True, help="what to write")
    add("--format", type=Format, choices=list(Format), default=Format.RAW, help="raw (default), …")
    add("--size", default=DEFAULT_SIZE, help=f"of the disk; {DEFAULT_SIZE} by default, sparse")
    add("--esp-size", metavar="SIZE", help="of the boot partition; 512m, or a quarter of the disk")
    add(
        "--sector-size",
        type=int,
        choices=SECTOR_BYTES,
        default=SECTOR_BYTES[0],
        help="of the disk; 4096 for one that has such sectors (4Kn), raw, and started by UEFI only",
    )
    add("--config", metavar="FILE", type=Path, help="machine configuration, checked before")
    add("--append", metavar="WORDS", default="", help="kernel parameters for every start")
    add("--iso", metavar="FILE", type=Path, help="the ISO to install; out/orlop.iso by default")
    add(
        "--extras",
        metavar="FILE",
        type=Path,
        nargs="?",
        const=Path(),
        help="put them on it; out/orlop-extras.erofs by default",
    )
    add("--seed", metavar="TEXT", default="", help="makes GUIDs that another disk does not have")
    add("--force", action="store_true", help="replace a file that exists")
    return result


def main(argv: list[str]) -> int:
    options = parser().parse_args(argv)
    host = host_settings()
    output: Path = options.output
    if output.exists() and not (options.force and output.is_file()):
        raise InvalidArgument(f"{output} exists", hint="--force replaces a file")
    if not output.resolve().parent.is_dir():
        raise InvalidArgument(f"{output}: there is no directory {output.resolve().parent}")
    if not options.append.isprintable():
        raise InvalidArgument("--append: words on one line expected")
    if options.sector_size != SECTOR_BYTES[0] and options.format is not Format.RAW:
        raise InvalidArgument("--sector-size: other formats have sectors of 512 bytes")
    wanted = DiskImage(
        iso=options.iso or host.out / "orlop.iso",
        size_bytes=_mib(options.size),
        esp_bytes=None if options.esp_size is None else _mib(options.esp_size),
        configuration=read_configuration(options.config),
        append=options.append,
        seed=options.seed,
        sector_bytes=options.sector_size,
        extras=host.out / IMAGE_FILE if options.extras == Path() else options.extras,
    )
    write_image(wanted, output, options.format, host.checkout)
    used = output.stat().st_blocks * 512
    print(f"{output}: {format_size(wanted.size_bytes)}, of which {format_size(used)} are used")
    return 0


def write_image(wanted: DiskImage, output: Path, kind: Format, checkout: Path) -> None:
    """Write the disk to *output*, which appears whole.

    Raises:
        OrlopError: it cannot be made; there is nothing then.
    """
    epoch = lockfile.parse_epoch(lockfile.read(checkout, "image.lock"))
    # Beside the output: a rename makes it appear whole, and it may be larger than /tmp.
    with tempfile.TemporaryDirectory(
        dir=output.resolve().parent, prefix=atomic_file.TEMPORARY_PREFIX
    ) as name:
        scratch = Path(name)
        made = raw = scratch / "disk.raw"
        make_disk(wanted, raw, scratch, _run, epoch=epoch)
        if kind is not Format.RAW:
            made = scratch / "disk.converted"
            convert(raw, made, kind, _run)
        if wanted.configuration is not None:  # there may be hashes of passwords in it
            made.chmod(0o600)
        os.replace(made, output)


def read_configuration(path: Path | None) -> bytes | None:
    """The document at *path*, if every word of it would be in force.

    Raises:
        InvalidArgument: it would not; says why.
    """
    if path is None:
        return None
    try:
        with path.open("rb") as stream:
            text = stream.read(MAX_LENGTH + 1)
    except OSError as error:
        raise InvalidArgument(f"cannot read {path}: {error.strerror}") from None
    problems = [notice.text for notice in check(str(path), text).notices if notice.ignored]
    if problems:
        raise InvalidArgument("; ".join(problems))
    return text


def _mib(text: str) -> int:
    """A size, in whole MiB: partitions begin and end there."""
    return parse_size_bytes(text) >> 20 << 20


def _run(argv: Sequence[str | os.PathLike[str]], variables: Mapping[str, str]) -> None:
    run(argv, env=variables, timeout_s=TOOL_TIMEOUT_S)
