"""`docker inspect`, and `inspect` of containers, images, networks and volumes."""

from __future__ import annotations

import sys

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, MANY, STRING, Flag
from orlop.cli.docker.session import query, quote, say_failed
from orlop.cli.json_text import decode
from orlop.lib.errors import NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.command import Run
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session

FORMAT = Flag("format", "f", STRING, "json, or a Go template")
SIZE = Flag("size", "s", BOOL, "with sizes of a container's files")
VERBOSE = Flag("verbose", "v", BOOL, "with what is known of other nodes")
TYPE = Flag("type", "", STRING, "only this kind: container, image, network, volume")
TARGETS = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}
SWARM = ("node", "service", "task", "secret", "plugin", "config")


def _one_kind(kind: str) -> Run:
    def run(session: Session, values: Values) -> int:
        return _inspect(session, values, lambda name: _fetch(session, values, kind, name))

    return run


def run(session: Session, values: Values) -> int:
    kind = values.text("type")
    if kind and kind not in (*TARGETS, *SWARM):
        raise Failure(f'"{kind}" is not a valid value for --type')
    if kind in SWARM:
        raise Failure(f"this docker command does not inspect objects of type {kind}")
    kinds = [kind] if kind else list(TARGETS)

    def fetch(name: str) -> bytes:
        for each in kinds:
            try:
                return _fetch(session, values, each, name)
            except NotFound:
                if kind:
                    raise
        raise NotFound(f"Error: No such object: {name}")

    return _inspect(session, values, fetch)


def _fetch(session: Session, values: Values, kind: str, name: str) -> bytes:
    size = kind == "container" and values.flag("size")
    target = TARGETS[kind].format(quote(name)) + query(size=size)
    if kind == "network":
        target += query(verbose="true") if values.given("verbose") else ""
    return session.request("GET", target).read()


def _inspect(session: Session, values: Values, fetch: object) -> int:
    form = values.text("format")
    found, failed = [], []
    for name in values.words:
        try:
            found.append(fetch(name).decode(errors="replace").strip())  # type: ignore[operator]
        except Failure:
            raise
        except OrlopError as error:
            failed.append(error.message)
    if not form:
        from orlop.cli.docker.json_indent import indent

        print(indent(f"[{','.join(found)}]"))
    elif form == "json":
        print(f"[{','.join(found)}]")
    else:
        failed = _by_template(form, found, failed)
    return say_failed(failed)


def _by_template(form: str, found: list[str], failed: list[str]) -> list[str]:
    from orlop.wire.go_template.errors import TemplateError
    from orlop.wire.go_template.evaluate import Template

    try:
        template = Template(form)
    except TemplateError as error:
        raise Failure(f"template parsing error: {error}", 64) from None
    for text in found:
        try:
            sys.stdout.write(execute(template, decode(text.encode())) + "\n")
        except TemplateError as error:
            sys.stdout.write("\n")
            return [*failed, f"template parsing error: {error}"]
    if not found:
        sys.stdout.write("\n")
    return failed


def execute(template: object, value: object) -> str:
    """What *template* says about *value* as docker's types, or else about the JSON itself.

    Raises:
        TemplateError: neither can be done.
    """
    from orlop.wire.go_template.errors import TemplateError
    from orlop.wire.go_template.evaluate import Template
    from orlop.wire.go_template.values import plain_maps, typed

    assert isinstance(template, Template)
    try:
        return template.execute(typed(value))
    except TemplateError:
        return template.execute(plain_maps(value), strict=True)


COMMANDS = {
    "inspect": Command(
        run, "[OPTIONS] NAME|ID [NAME|ID...]", (FORMAT, SIZE, TYPE), words=(1, MANY)
    ),
    "container inspect": Command(
        _one_kind("container"),
        "[OPTIONS] CONTAINER [CONTAINER...]",
        (FORMAT, SIZE),
        words=(1, MANY),
    ),
    "image inspect": Command(
        _one_kind("image"), "[OPTIONS] IMAGE [IMAGE...]", (FORMAT,), words=(1, MANY)
    ),
    "network inspect": Command(
        _one_kind("network"),
        "[OPTIONS] NETWORK [NETWORK...]",
        (FORMAT, VERBOSE),
        words=(1, MANY),
    ),
    "volume inspect": Command(
        _one_kind("volume"), "[OPTIONS] VOLUME [VOLUME...]", (FORMAT,), words=(1, MANY)
    ),
}
