"""A document for RancherOS or cloud-init in this system's own words, and what became of each key.

Pure. What the machine does with such a document when it finds it is the same: it is only said once,
and the document can be kept as it is. See `rancher` for what is taken over and what is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.document import check_document, merge, settle
from orlop.wire.config.evaluate import check
from orlop.wire.config.words import kernel_document
from orlop.wire.config.yaml_text import yaml_lines

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json

FOREIGN_WORDS = ("rancher.", "cc.")
"""How kernel parameters begin that are keys of RancherOS's configuration."""

NO_DOCUMENTS = {
    b"#!": (
        "a script",
        "as user data it is run as it is; or put its commands below `runcmd:`",
    ),
    b"#compose": (
        "a file of services",
        "as user data it is taken as it is, and so it is by `orlop service add FILE`",
    ),
}
"""User data of other kinds, by how they begin: what it is, and what to do with it."""


@dataclass(frozen=True, slots=True)
class Migration:
    """*config* in normal form; a line for each key that is called otherwise, or has no equal."""

    config: dict[str, Json]
    renamed: tuple[str, ...]
    left_out: tuple[str, ...]

    def answer(self) -> dict[str, Json]:
        """For programs."""
        return {
            "document": self.text(),
            "config": self.config,
            "renamed": [*self.renamed],
            "left_out": [*self.left_out],
        }

    def text(self) -> str:
        """The document, with what was left out as comments above it."""
        head = ["#cloud-config"]
        head += [f"# left out: {_one_line(line)}" for line in self.left_out]
        return "\n".join([*head, *yaml_lines(self.config)]) + "\n" if self.config else _empty(head)


def _empty(head: list[str]) -> str:
    return "\n".join([*head, "{}"]) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def migrate(path: str, content: bytes, words: str = "") -> Migration:
    """What the document *content* of the file *path* says, and the kernel parameters *words*.

    Kernel parameters win, as they do on the machine.

    Raises:
        OrlopError: it is no text, no YAML, or a value is wrong; says file, line and key.
    """
    for first, (what, hint) in NO_DOCUMENTS.items():
        if content.startswith(first):
            raise InvalidArgument(f"{path}:1: is {what}, not a document", hint=hint)
    checked = check(path, content)
    config = checked.data
    notices = list(checked.notices)
    for word in words.split():
        name, given, value = word.partition("=")
        if not name.startswith(FOREIGN_WORDS):
            continue
        document = kernel_document(name, value if given else None)
        found = check_document(document)
        config = merge(config, found.data)
        notices += found.notices
    return Migration(
        settle(config),
        tuple(notice.text for notice in notices if not notice.ignored),
        tuple(notice.text for notice in notices if notice.ignored),
    )
