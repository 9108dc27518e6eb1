"""`docker top`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import MANY
from orlop.cli.docker.session import query, quote
from orlop.cli.docker.tabwriter import align

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

MIN_WIDTH = 20


def run(session: Session, values: Values) -> int:
    name, *options = values.words
    answer = session.get_object(f"/containers/{quote(name)}/top{query(ps_args=' '.join(options))}")
    titles, processes = answer.get("Titles") or [], answer.get("Processes") or []
    assert isinstance(titles, list)
    assert isinstance(processes, list)
    lines = ["\t".join(map(str, row)) for row in (titles, *processes)]
    print(align("\n".join(lines), min_width=MIN_WIDTH))
    return 0


COMMANDS = {"top": Command(run, "CONTAINER [ps OPTIONS]", words=(1, MANY), leading=True)}
