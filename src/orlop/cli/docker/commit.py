"""`docker commit`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, LIST, STRING, Flag
from orlop.cli.docker.session import as_object, query
from orlop.wire.registry.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("author", "a", STRING, "who made it"),
    Flag("change", "c", LIST, "instruction of a Dockerfile for the image's configuration"),
    Flag("message", "m", STRING, "message for the image's history"),
    Flag("pause", "p", BOOL, "pause the container meanwhile (true)", "true"),
)


def run(session: Session, values: Values) -> int:
    repository = tag = ""
    if len(values.words) > 1 and values.words[1]:
        found = parse_reference(values.words[1])
        if found.digest:
            raise Failure("refusing to create a tag with a digest reference")
        repository, tag = found.familiar_name, found.tag or "latest"
    target = "/commit" + query(
        author=values.text("author"),
        changes=values.many("change"),
        comment=values.text("message"),
        container=values.words[0],
        pause=None if values.flag("pause") else "0",
        repo=repository,
        tag=tag,
    )
    print(as_object(session.post(target)).get("Id", ""))
    return 0


COMMANDS = {"commit": Command(run, "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]", FLAGS, words=(1, 2))}
