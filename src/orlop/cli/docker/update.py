"""`docker update`."""

from __future__ import annotations

import sys

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import MANY, STRING, Flag
from orlop.cli.docker.run_flags import LIMITS
from orlop.cli.docker.session import as_object, quote, say_failed
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FLAGS = (
    *LIMITS,
    Flag("restart", "", STRING, "restart policy: no, always, on-failure[:N], unless-stopped"),
)


def run(session: Session, values: Values) -> int:
    if not any(values.given(flag.name) for flag in FLAGS):
        raise Failure("you must provide one or more flags when using this command")
    from orlop.cli.docker.container_config import limits
    from orlop.cli.docker.run_values import restart_policy

    try:
        body = {**limits(values), "RestartPolicy": restart_policy(values.text("restart"))}
        if not body["PidsLimit"]:
            del body["PidsLimit"]  # 0 would take the limit away
    except ValueError as error:
        raise Failure(str(error)) from None
    failed, warnings = [], []
    for name in values.words:
        try:
            answer = as_object(session.post(f"/containers/{quote(name)}/update", body) or {})
        except OrlopError as error:
            failed.append(error.message)
            continue
        print(name)
        found = answer.get("Warnings")
        warnings += [str(each) for each in found] if isinstance(found, list) else []
    if warnings:
        print("\n".join(warnings), file=sys.stdout)
    return say_failed(failed)


COMMANDS = {"update": Command(run, "[OPTIONS] CONTAINER [CONTAINER...]", FLAGS, words=(1, MANY))}
