"""What a command's file tells about each command in it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orlop.cli.docker.flags import Flag, Values
    from orlop.cli.docker.session import Session

    type Run = Callable[[Session, Values], int]


class Command:
    """A row of the table of commands.

    *synopsis* follows the command's name in its usage; *words* is how many words it takes, at
    least and at most; with *leading* its flags end at the first word. *note* is more for its help.
    """

    __slots__ = ("flags", "leading", "note", "run", "synopsis", "words")

    def __init__(
        self,
        run: Run,
        synopsis: str,
        flags: Sequence[Flag] = (),
        *,
        words: tuple[int, int] = (0, 0),
        leading: bool = False,
        note: str = "",
    ) -> None:
        self.run = run
        self.synopsis = synopsis
        self.flags = flags
        self.words = words
        self.leading = leading
        self.note = note
