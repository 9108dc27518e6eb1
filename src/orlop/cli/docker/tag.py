"""`docker tag`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.session import query, quote
from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session


def run(session: Session, values: Values) -> int:
    source, target = values.words
    try:
        found = parse_reference(target)
    except InvalidArgument as error:
        raise Failure(
            f'Error parsing reference: "{target}" is not a valid repository/tag: {error}'
        ) from None
    if found.digest:
        raise Failure("refusing to create a tag with a digest reference")
    parameters = query(repo=found.familiar_name, tag=found.tag or "latest")
    session.post(f"/images/{quote(source)}/tag{parameters}")
    return 0


COMMANDS = {"tag": Command(run, "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]", words=(2, 2))}
