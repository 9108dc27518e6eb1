"""`docker volume create` and `rm`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, LIST, MANY, MAP, STRING, Flag
from orlop.cli.docker.session import as_object, each_word, query, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

CREATE_FLAGS = (
    Flag("driver", "d", STRING, "driver (local)", "local"),
    Flag("label", "", LIST, "label: NAME=VALUE"),
    Flag("name", "", STRING),
    Flag("opt", "o", MAP, "option of the driver: NAME=VALUE"),
)


def _create(session: Session, values: Values) -> int:
    from orlop.cli.docker.run_values import key_values

    name = values.words[0] if values.words else ""
    if values.given("name"):
        if name:
            raise Failure(
                "conflicting options: cannot specify a volume name through both --name and as a"
                " positional arg"
            )
        name = values.text("name")
    body: Object = {
        "Driver": values.text("driver"),
        "DriverOpts": key_values(values.many("opt")),
        "Labels": key_values(values.many("label")),
        "Name": name,
    }
    answer = as_object(session.post("/volumes/create", {k: v for k, v in body.items() if v != ""}))
    print(answer.get("Name", ""))
    return 0


def _remove(session: Session, values: Values) -> int:
    parameters = query(force=values.flag("force"))
    return each_word(
        values.words, lambda name: session.delete(f"/volumes/{quote(name)}{parameters}")
    )


COMMANDS = {
    "volume create": Command(_create, "[OPTIONS] [VOLUME]", CREATE_FLAGS, words=(0, 1)),
    "volume rm": Command(
        _remove,
        "[OPTIONS] VOLUME [VOLUME...]",
        (Flag("force", "f", BOOL, "no error if there is no such volume"),),
        words=(1, MANY),
    ),
}
