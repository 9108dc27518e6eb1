"""`docker stop`, `restart`, `kill`, `pause` and `unpause`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import INT, MANY, STRING, Flag
from orlop.cli.docker.session import each_word, query, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.command import Run
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

MANY_CONTAINERS = "CONTAINER [CONTAINER...]"
FLAGS = (
    Flag("signal", "s", STRING, "signal that asks it to stop"),
    Flag("time", "t", INT, "seconds before it is killed"),
)
KILL_FLAGS = (Flag("signal", "s", STRING, "signal to send (KILL)"),)


def _stopping(verb: str) -> Run:
    def run(session: Session, values: Values) -> int:
        time = str(values.number("time")) if values.given("time") else None
        parameters = query(signal=values.text("signal"), t=time)
        return each_word(
            values.words, lambda name: session.post(f"/containers/{quote(name)}/{verb}{parameters}")
        )

    return run


def _kill(session: Session, values: Values) -> int:
    parameters = query(signal=values.text("signal"))
    return each_word(
        values.words, lambda name: session.post(f"/containers/{quote(name)}/kill{parameters}")
    )


def _plain(verb: str) -> Run:
    def run(session: Session, values: Values) -> int:
        return each_word(
            values.words, lambda name: session.post(f"/containers/{quote(name)}/{verb}")
        )

    return run


COMMANDS = {
    "kill": Command(_kill, f"[OPTIONS] {MANY_CONTAINERS}", KILL_FLAGS, words=(1, MANY)),
    "pause": Command(_plain("pause"), MANY_CONTAINERS, words=(1, MANY)),
    "restart": Command(
        _stopping("restart"), f"[OPTIONS] {MANY_CONTAINERS}", FLAGS, words=(1, MANY)
    ),
    "stop": Command(_stopping("stop"), f"[OPTIONS] {MANY_CONTAINERS}", FLAGS, words=(1, MANY)),
    "unpause": Command(_plain("unpause"), MANY_CONTAINERS, words=(1, MANY)),
}
