"""The default command line of the kernel, for the boot loader and for `./orlop run`.

``os/boot/parameters.toml`` has what booting needs, the parameter rules of ``os/hardening.toml``
what protects; each with its reason.
"""

import tomllib
from pathlib import Path

from orlop.image import hardening
from orlop.lib.errors import InvalidArgument

PARAMETERS = "os/boot/parameters.toml"


def default_command_line(checkout: Path) -> str:
    """All parameters on one line: those of the boot first.

    Raises:
        InvalidArgument: one of the two tables is not valid.
    """
    words = parse_parameters((checkout / PARAMETERS).read_text(encoding="utf-8"))
    words += hardening.parameters(hardening.read_table(checkout / hardening.TABLE))
    return " ".join(words)


def parse_parameters(text: str) -> list[str]:
    """The words of ``parameters.toml``, in its order; a name may come twice (console)."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidArgument(f"{PARAMETERS}: {error}") from None
    words = []
    for entry in data.get("parameter", []):
        if set(entry) != {"word", "why"} or not entry["why"]:
            raise InvalidArgument(f"{PARAMETERS}: a parameter has a word and a why: {entry}")
        if (
            not isinstance(entry["word"], str)
            or not entry["word"].isascii()
            or (len(entry["word"].split()) != 1)
        ):
            raise InvalidArgument(f"{PARAMETERS}: not one word: {entry['word']}")
        words.append(entry["word"])
    return words
