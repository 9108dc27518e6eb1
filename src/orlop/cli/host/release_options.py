"""What the verbs of `./orlop release` have in common on their command lines."""

import argparse
from pathlib import Path

from orlop.lib.errors import InvalidArgument


def make_parser(verb: str, epilog: str | None = None) -> argparse.ArgumentParser:
    """For `./orlop release VERB`."""
    return argparse.ArgumentParser(
        prog=f"./orlop release {verb}".rstrip(),
        description="Releases: signed, for machines that update themselves. See docs/releases.md.",
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def add_places(
    parser: argparse.ArgumentParser, *, key: bool = False, required: bool = True
) -> None:
    """`--out`, and with *key* `--key`, which may be missing if it is not *required*."""
    if key:
        parser.add_argument(
            "--key", type=Path, action="append", required=required, metavar="DIR", help="keys"
        )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the repository")


def parse_days(text: str, what: str = "--expires") -> int:
    """`30`, `30d`; 0 if empty.

    Raises:
        InvalidArgument: no number of days from 1 to 36,500.
    """
    number = text.removesuffix("d") or "0"
    if not number.isascii() or not number.isdigit() or (text and not 1 <= int(number) <= 36500):
        raise InvalidArgument(f"{what} {text!r} is no number of days")
    return int(number)
