"""The command line of a RUN, heredocs resolved. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.wire.dockerfile.image_config import command_words
from orlop.wire.dockerfile.source import match_heredoc

if TYPE_CHECKING:
    from orlop.wire.dockerfile.image_config import ImageConfig
    from orlop.wire.dockerfile.model import CommandLine

SCRIPT_DIRECTORY = "/dev/pipes"
"""In /dev, which is a file system of the container's own: nothing of it gets into the layer."""


@dataclass(frozen=True, slots=True)
class Command:
    """*words* are executed; *script* is first made executable at `SCRIPT_DIRECTORY`/*name*."""

    words: tuple[str, ...]
    name: str = ""
    script: str = ""


def plan_command(config: ImageConfig, line: CommandLine) -> Command:
    """What a RUN executes.

    A single heredoc is what the shell is given, or, with a `#!`, a program; with other words around
    it, or several, the shell sees them as they stand.
    """
    if not line.heredocs:
        return Command(command_words(config, line))
    text = line.words[0]
    first = line.heredocs[0]
    if match_heredoc(text) is None:
        for heredoc in line.heredocs:
            text += f"\n{heredoc.content}{heredoc.name}"
        return Command((*config.shell_words(), text))
    content = first.text()
    if content.startswith("#!"):
        return Command((f"{SCRIPT_DIRECTORY}/{first.name}",), first.name, content)
    return Command((*config.shell_words(), content))
