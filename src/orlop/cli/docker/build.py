"""`docker build`, by the classic build endpoint."""

from __future__ import annotations

import os
import sys
import time

from orlop.cli.docker import build_context, credentials, human, progress
from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, BYTES, INT, LIST, STRING, STRINGS, Flag, parse_bytes
from orlop.cli.docker.run_flags import check_env, check_host, check_label, check_ulimit
from orlop.cli.docker.session import query
from orlop.lib.errors import InvalidArgument, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

DRAW_PAUSE_S = 0.1
SENDING = "Sending build context to Docker daemon"


def _check_tag(value: str) -> None:
    from orlop.wire.registry.reference import parse_reference

    try:
        parse_reference(value)
    except InvalidArgument as error:
        raise ValueError(error.message) from None


FLAGS = (
    Flag("add-host", "", LIST, "line of /etc/hosts: NAME:ADDRESS", check=check_host),
    Flag("build-arg", "", LIST, "argument: NAME=VALUE, or NAME as it is here", check=check_env),
    Flag("cache-from", "", STRINGS, "image to take cached steps from"),
    Flag("cgroup-parent", "", STRING, "cgroup to be below"),
    Flag("compress", "", BOOL, "send the context compressed"),
    Flag("cpu-period", "", INT, "CFS period in microseconds"),
    Flag("cpu-quota", "", INT, "CFS quota in microseconds"),
    Flag("cpu-shares", "c", INT, "CPU weight relative to others"),
    Flag("cpuset-cpus", "", STRING, "CPUs to use: 0-3, 0,1"),
    Flag("cpuset-mems", "", STRING, "memory nodes to use: 0-3, 0,1"),
    Flag("disable-content-trust"),
    Flag("file", "f", STRING, "the Dockerfile (PATH/Dockerfile)"),
    Flag("force-rm", "", BOOL, "remove intermediate containers, also after a failure"),
    Flag("iidfile", "", STRING, "write the image's id to this file"),
    Flag("isolation", "", STRING),
    Flag("label", "", LIST, "label: NAME=VALUE", check=check_label),
    Flag("memory", "m", BYTES, "memory limit"),
    Flag("memory-swap", "", BYTES, "limit of memory and swap together"),
    Flag("network", "", STRING, "network of RUN", "default"),
    Flag("no-cache", "", BOOL, "do every step again"),
    Flag("platform", "", STRING, "platform: OS/ARCH"),
    Flag("pull", "", BOOL, "pull the images that it starts from"),
    Flag("quiet", "q", BOOL, "only the image's id"),
    Flag("rm", "", BOOL, "remove intermediate containers (true)", "true"),
    Flag("security-opt", "", STRINGS, "security option"),
    Flag("shm-size", "", BYTES, "size of /dev/shm"),
    Flag("squash"),
    Flag("tag", "t", LIST, "name of the image: NAME[:TAG]", check=_check_tag),
    Flag("target", "", STRING, "stage to build"),
    Flag("ulimit", "", LIST, "limit: NAME=SOFT[:HARD]", check=check_ulimit),
)


def run(session: Session, values: Values) -> int:
    quiet, id_file = values.flag("quiet"), values.text("iidfile")
    if id_file and os.path.exists(id_file):
        os.unlink(id_file)
    context = build_context.of(values.words[0], values.text("file"))
    captured: list[str] | None = [] if quiet else None
    parts = _compressed(context.parts) if values.flag("compress") else context.parts
    headers = {"Content-Type": "application/x-tar", **credentials.all_header(session)}
    image = ""

    def on_aux(message: Object) -> None:
        nonlocal image
        aux = message.get("aux")
        image = str(aux.get("ID", "")) if isinstance(aux, dict) else image

    said: list[str] | None = [] if quiet else None
    try:
        response = session.request(
            "POST",
            "/build" + parameters(values, context.dockerfile),
            headers=headers,
            stream=_counted(parts, captured),
        )
        progress.show(response, on_aux=on_aux, capture=said, with_code=True)
    except OrlopError:
        sys.stderr.write("".join([*(captured or ()), *(said or ())]))
        raise
    if quiet:
        text = "".join(said or ())
        image = text.strip()
        sys.stdout.write(text)
    if id_file:
        if not image:
            raise Failure(f"Server did not provide an image ID. Cannot write {id_file}")
        with open(id_file, "w", encoding="utf-8") as file:
            file.write(image)
    return 0


def parameters(values: Values, dockerfile: str) -> str:
    """The query of POST /build."""
    from orlop.cli.docker.run_values import gather_ulimits, key_values

    arguments: Object = {}
    for text in values.many("build-arg"):
        name, equals, value = text.partition("=")
        # A name alone is passed on if it is set here; null lets the Dockerfile's default stand.
        arguments[name] = value if equals else os.environ.get(name)
    return query(
        buildargs=_json(arguments),
        cachefrom=_json(values.many("cache-from") or None),
        cgroupparent=values.text("cgroup-parent"),
        cpuperiod=values.number("cpu-period") or "0",
        cpuquota=values.number("cpu-quota") or "0",
        cpusetcpus=values.text("cpuset-cpus"),
        cpusetmems=values.text("cpuset-mems"),
        cpushares=values.number("cpu-shares") or "0",
        dockerfile=dockerfile,
        extrahosts=values.many("add-host"),
        forcerm=values.flag("force-rm"),
        labels=_json(key_values(values.many("label"))),
        memory=_size(values, "memory"),
        memswap=_size(values, "memory-swap"),
        networkmode=values.text("network"),
        nocache=values.flag("no-cache"),
        platform=values.text("platform").lower(),
        pull=values.flag("pull"),
        q=values.flag("quiet"),
        rm="1" if values.flag("rm") else "0",
        securityopt=values.many("security-opt"),
        shmsize=_size(values, "shm-size"),
        squash=values.flag("squash"),
        t=values.many("tag"),
        target=values.text("target"),
        ulimits=_json(gather_ulimits(values.many("ulimit")) or None),
        version="1",
    )


def _json(value: object) -> str:
    from json import dumps

    return dumps(value, separators=(",", ":"), sort_keys=True)


def _size(values: Values, name: str) -> str:
    return str(parse_bytes(values.text(name))) if values.given(name) else "0"


def _counted(parts: Iterable[bytes], captured: list[str] | None) -> Iterator[bytes]:
    """*parts*, and how much they were, said while they go out, on a terminal, and at the end."""

    def say(text: str) -> None:
        if captured is not None:
            captured.append(text)
        else:
            sys.stdout.write(text)
            sys.stdout.flush()

    is_terminal = captured is None and os.isatty(1)
    total, drawn_s = 0, 0.0
    for part in parts:
        total += len(part)
        yield part
        if is_terminal and time.monotonic() - drawn_s > DRAW_PAUSE_S:
            drawn_s = time.monotonic()
            say(f"{SENDING} {human.decimal_size(total).rjust(8)}\r")
    say(f"{SENDING} {human.decimal_size(total).rjust(8)}\r\r\n")


def _compressed(parts: Iterable[bytes]) -> Iterator[bytes]:
    import zlib

    packer = zlib.compressobj(wbits=31)
    for part in parts:
        data = packer.compress(part)
        if data:
            yield data
    yield packer.flush()


COMMANDS = {"build": Command(run, "[OPTIONS] PATH | URL | -", FLAGS, words=(1, 1))}
