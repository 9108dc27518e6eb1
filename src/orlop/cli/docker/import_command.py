"""`docker import`."""

from __future__ import annotations

from orlop.cli.docker import files, progress
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import LIST, MANY, STRING, Flag
from orlop.cli.docker.session import query
from orlop.wire.registry.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    Flag("change", "c", LIST, "instruction of a Dockerfile for the image's configuration"),
    Flag("message", "m", STRING, "message for the image's history"),
    Flag("platform", "", STRING, "platform of the image: OS/ARCH"),
)


def run(session: Session, values: Values) -> int:
    source, name = values.words[0], values.words[1] if len(values.words) > 1 else ""
    if name:
        parse_reference(name)
    is_remote = source.startswith(("http://", "https://"))
    stream = None
    if source == "-":
        stream = files.blocks_of(0)
    elif not is_remote:
        stream = files.blocks_of(files.open_file(source))
    target = "/images/create" + query(
        changes=values.many("change"),
        fromSrc=source if is_remote else "-",
        message=values.text("message"),
        platform=values.text("platform").lower(),
        repo=name,
    )
    progress.show(session.request("POST", target, stream=stream))
    return 0


COMMANDS = {
    "import": Command(run, "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]", FLAGS, words=(1, MANY))
}
