"""`orlop migrate`: a document for RancherOS or cloud-init in this system's words."""

from __future__ import annotations

import sys

from orlop.cli.answers import Object, strings_of, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.config import read_document
from orlop.cli.json_text import encode
from orlop.cli.text import printable
from orlop.lib.errors import Internal, InvalidArgument

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "migrate [OPTION...] FILE"
MORE = """\
  FILE is a cloud-config of RancherOS or cloud-init; `-` is the standard input.
  The document goes to the standard output, what became of its keys to stderr.
  Nothing of this machine changes: `orlop config apply` puts it in force."""
OPTIONS = (
    Option("json", help="document and lists as JSON"),
    Option("kernel", "k", value="WORDS", help="kernel parameters that go with it"),
    Option("output", "o", value="FILE", help="write the document there"),
    Option("strict", help="fail if anything has to be left out"),
)
WORDS = (1, 1)


def run(arguments: Arguments) -> int:
    name, text = read_document(arguments.words[0])
    body = {"verb": "migrate", "name": name, "text": text, "key": arguments.value("kernel")}
    answer = Client().post("/orlop/config/change", body)
    if not isinstance(answer, dict):
        raise Internal("the engine's answer is no object")
    return show(answer, arguments)


def show(answer: Object, arguments: Arguments) -> int:
    """The document, and what a person should know about it."""
    left_out = strings_of(answer, "left_out")
    output = arguments.value("output")
    if output:
        write(output, text_of(answer, "document"))
    if arguments.flag("json"):
        print(encode(answer))
    else:
        if not output:
            print(text_of(answer, "document"), end="")
        lines = [*strings_of(answer, "renamed"), *left_out]
        lines.append(f"{len(lines) - len(left_out)} keys renamed, {len(left_out)} left out")
        for line in lines:
            print(f"orlop: {printable(line)}", file=sys.stderr)
    return 1 if left_out and arguments.flag("strict") else 0


def write(path: str, text: str) -> None:
    """To *path*, for its owner alone: there may be passwords in it.

    Raises:
        InvalidArgument: it cannot be written.
    """
    from pathlib import Path

    from orlop.lib import atomic_file

    try:
        atomic_file.write_text(Path(path), text, mode=0o600)
    except OSError as error:
        raise InvalidArgument(f"{path}: {error.strerror}") from None
