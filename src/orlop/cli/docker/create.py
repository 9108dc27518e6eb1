"""`docker create`, and what `run` shares: making the container, pulling its image if need be."""

from __future__ import annotations

import os
import sys

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import FLAGS_STATUS, Failure
from orlop.cli.docker.flags import MANY
from orlop.cli.docker.run_flags import CREATE
from orlop.cli.docker.session import as_object, query
from orlop.lib import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session


def run(session: Session, values: Values) -> int:
    try:
        body = body_of(values)
    except ValueError as error:
        raise report("create", str(error)) from None
    try:
        print(create(session, values, body))
    except ValueError as error:
        raise Failure(str(error)) from None
    return 0


def report(
    command: str, message: str, status: int = FLAGS_STATUS, *, with_help: bool = True
) -> Failure:
    """The error of `run` and `create`, which docker says in a way of its own."""
    text = f"docker: {message.removesuffix('.')}."
    return Failure(text + (f"\nSee 'docker {command} --help'." if with_help else ""), status)


def body_of(values: Values) -> Object:
    """What the flags ask for.

    Raises:
        ValueError: docker's text.
    """
    from orlop.cli.docker.container_config import create_body

    if values.text("pull") not in ("always", "missing", "never", ""):
        raise ValueError(
            f"invalid pull option: '{values.text('pull')}': must be one of"
            ' "always", "missing" or "never"'
        )
    image, *command = values.words
    return create_body(values, image, command)


def create(session: Session, values: Values, body: Object) -> str:
    """Create the container; its id.

    Raises:
        OrlopError: the engine refuses.
        ValueError: the file for the id exists.
    """
    path = values.text("cidfile")
    if path and os.path.exists(path):
        raise ValueError(
            f"container ID file found, make sure the other container isn't running or delete {path}"
        )
    if path:
        _write_id(path, "")
    try:
        answer = _created(session, values, body)
    except BaseException:
        if path:
            os.unlink(path)
        raise
    identifier = str(answer.get("Id", ""))
    for warning in answer.get("Warnings") or ():  # type: ignore[attr-defined]
        print(f"WARNING: {warning}", file=sys.stderr)
    if path:
        _write_id(path, identifier)
    return identifier


def _write_id(path: str, text: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ValueError(f"failed to create the container ID file: open {path}: {reason}") from None


def _created(session: Session, values: Values, body: Object) -> Object:
    image, platform = str(body["Image"]), values.text("platform")
    pull, quiet = values.text("pull"), values.flag("quiet")
    if pull == "always":
        _pull(session, image, platform, quiet=quiet)
    target = "/containers/create" + query(name=values.text("name"), platform=platform)
    try:
        return as_object(session.post(target, body))
    except errors.NotFound as error:
        if pull != "missing" or "no such image" not in error.message.lower():
            raise
    if not quiet:
        from orlop.wire.registry.reference import parse_reference

        shown = parse_reference(image).with_default_tag().familiar
        print(f"Unable to find image '{shown}' locally", file=sys.stderr)
    _pull(session, image, platform, quiet=quiet)
    return as_object(session.post(target, body))


def _pull(session: Session, image: str, platform: str, *, quiet: bool) -> None:
    from orlop.cli.docker.pull import pull
    from orlop.wire.registry.reference import parse_reference

    sys.stderr.flush()
    found = parse_reference(image).with_default_tag()
    pull(session, found, platform=platform, quiet=quiet, descriptor=2)


COMMANDS = {
    "create": Command(
        run, "[OPTIONS] IMAGE [COMMAND] [ARG...]", CREATE, words=(1, MANY), leading=True
    ),
}
