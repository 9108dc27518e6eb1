"""`docker push`."""

from __future__ import annotations

from orlop.cli.docker import credentials, progress
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, Flag
from orlop.cli.docker.session import query, quote
from orlop.wire.registry.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("all-tags", "a", BOOL, "all tags of the image"),
    Flag("disable-content-trust"),
    Flag("quiet", "q", BOOL, "only the name of what was pushed"),
)


def run(session: Session, values: Values) -> int:
    found = parse_reference(values.words[0])
    quiet = values.flag("quiet")
    if values.flag("all-tags"):
        if not found.is_name_only:
            raise Failure("tag can't be used with --all-tags/-a")
    elif found.is_name_only:
        found = found.with_default_tag()
        if not quiet:
            print("Using default tag: latest", flush=True)
    if found.digest:
        raise Failure("cannot push a digest reference")
    target = f"/images/{quote(found.familiar_name)}/push{query(tag=found.tag)}"
    headers = credentials.header_for(session, credentials.server_of(found))
    response = session.request("POST", target, headers=headers)
    progress.show(response, capture=[] if quiet else None)
    if quiet:
        print(found)
    return 0


COMMANDS = {"push": Command(run, "[OPTIONS] NAME[:TAG]", FLAGS, words=(1, 1))}
