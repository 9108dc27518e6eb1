"""`docker pull`."""

from __future__ import annotations

from orlop.cli.docker import credentials, progress
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, STRING, Flag
from orlop.cli.docker.session import query
from orlop.wire.registry.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session
    from orlop.wire.registry.reference import Reference

FLAGS = (
    Flag("all-tags", "a", BOOL, "all tags of the repository"),
    Flag("disable-content-trust"),
    Flag("platform", "", STRING, "platform of the image: OS/ARCH"),
    Flag("quiet", "q", BOOL, "only the name of what was pulled"),
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
    pull(session, found, platform=values.text("platform"), quiet=quiet)
    print(found)
    return 0


def pull(
    session: Session,
    found: Reference,
    *,
    platform: str = "",
    quiet: bool = False,
    descriptor: int = 1,
) -> None:
    """Pull *found* and draw the progress on *descriptor*, unless *quiet*.

    Raises:
        OrlopError: it failed.
    """
    target = "/images/create" + query(
        fromImage=found.familiar_name,
        platform=platform.lower(),
        tag=found.digest or found.tag,
    )
    headers = credentials.header_for(session, credentials.server_of(found))
    response = session.request("POST", target, headers=headers)
    progress.show(response, descriptor, capture=[] if quiet else None)


COMMANDS = {"pull": Command(run, "[OPTIONS] NAME[:TAG|@DIGEST]", FLAGS, words=(1, 1))}
