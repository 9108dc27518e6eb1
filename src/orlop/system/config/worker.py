"""The configuration worker: reads the sources, then parses and checks them without any privilege.

A short-lived process of PID 1: `worker config SOURCE...`, in rising order of precedence:

    services:PATH   definitions of services
    config:PATH     a document of the configuration
    own:PATH        the machine's own document, which `orlop config` writes
    secret:PATH     what is secret of it
    good:PATH       the document before it, as it was when it last was whole
    cmdline:PATH    the kernel command line
    inline:PATH     the same, for the document in `orlop.config.inline`
    cloud:PATH      the answer of a data source; the first of several counts
    cached:PATH     one of an earlier boot

It reads all files first, as root, up to a limit; then gives up its user, groups, capabilities,
network and most of its limits for good; only then does it look at the bytes. The answer is one JSON
object on stdout: `wire.config.evaluate.Evaluation.answer`. A file with an error becomes a problem
there. The exit status is 0 then too.

With `change:PATH` as its first word the file there is a `wire.config.change.Operation` as JSON, and
the answer what would be in force after it, or `{"error": TEXT, "hint": TEXT, "kind": KIND}`.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.lib.small_file import read_regular
from orlop.system.machine_id import machine_id
from orlop.system.parameters import PARAMETERS, PREFIX, configuration_words
from orlop.wire.cloud import documents
from orlop.wire.cloud.answer import MAX_ANSWER_BYTES
from orlop.wire.cloud.candidates import wanted_names
from orlop.wire.cloud.user_data import NAME as USER_DATA
from orlop.wire.config.evaluate import Evaluation, Source, in_order
from orlop.wire.config.words import kernel_document
from orlop.wire.located_yaml import MAX_LENGTH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from orlop.wire.compose_model import Json
    from orlop.wire.config.change import Sum
    from orlop.wire.config.evaluate import Content

NOBODY = 65534
MEMORY_BYTES = 256 << 20
CPU_S = 50
SOURCE_CPU_S = 12.0
"""For one source: 1 MiB of YAML takes ten seconds in an emulator."""
MAX_SOURCES = 256
FIRMWARE = "/sys/firmware/"
MAX_OPERATION_BYTES = 8 << 20

CHANGE = "change:"

PR_SET_NO_NEW_PRIVS = 38
CLONE_FLAGS = os.CLONE_NEWNET | os.CLONE_NEWIPC | os.CLONE_NEWUTS | os.CLONE_NEWCGROUP


def main(argv: list[str]) -> int:
    """Read, drop, parse, answer."""
    operation = b""
    if argv and argv[0].startswith(CHANGE):
        with open(argv.pop(0).removeprefix(CHANGE), "rb") as stream:
            operation = stream.read(MAX_OPERATION_BYTES)
    sources = read_sources(argv[:MAX_SOURCES])
    evaluate = partial(evaluate_all, machine=machine_id())
    drop_privileges()
    found = change(sources, operation, evaluate) if operation else evaluate(sources).answer()
    answer = json.dumps(found).encode()
    while answer:
        answer = answer[os.write(1, answer) :]
    return 0


def change(sources: Sequence[Source], operation: bytes, evaluate: Sum) -> dict[str, Json]:
    """The outcome of *operation*, or why it cannot be."""
    from orlop.wire.config.change import Operation, plan, validate
    from orlop.wire.config.migrate import migrate

    try:
        asked = Operation(**json.loads(operation))
        if asked.verb == "validate":
            return validate(asked)
        if asked.verb == "migrate":
            return migrate(asked.name, asked.text.encode(), asked.key).answer()
        return plan(sources, asked, evaluate)
    except OrlopError as error:
        return {"error": error.message, "hint": error.hint, "kind": type(error).__name__}


def read_sources(words: Sequence[str]) -> list[Source]:
    """The files that *words* name, each read up to the limit."""
    found: list[Source] = []
    for word in words:
        kind, _, path = word.partition(":")
        content = _read_answer(path) if kind in _ANSWERS else _read(path)
        if kind != "good":
            found.append(Source(kind, path, content))
        elif found and isinstance(content, bytes):
            last = found.pop()
            found.append(Source(last.kind, last.path, last.content, (path, content)))
    return found


def _read(path: str) -> Content:
    """The file, or why it cannot be read; one byte more than allowed shows that it is too long."""
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_LENGTH + 1)
    except OSError as error:
        return error


_ANSWERS = (documents.ANSWER, documents.CACHED)


def _read_answer(path: str) -> Content:
    """As `_read`; the directory is that of a service, which may have put a link there."""
    try:
        return read_regular(path, MAX_ANSWER_BYTES + 1)
    except OSError as error:
        return error


def drop_privileges() -> None:
    """Become nobody for good, with little memory, no files to make and no processes to start."""
    if os.geteuid() == 0:
        from orlop.lib.linux import LIBC, check

        os.unshare(CLONE_FLAGS)
        os.setgroups([])
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for limit, value in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_CPU, CPU_S),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 16),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(limit, (value, value))


def evaluate_all(sources: Sequence[Source], machine: str) -> Evaluation:
    """The sum of *sources*, those of the cloud, if there are any, in their places."""
    own = [source for source in sources if source.kind not in documents.KINDS]
    found = evaluate_bounded(own)
    if len(own) == len(sources):
        return found
    foreign = [source for source in sources if source.kind in documents.KINDS]
    cloud = documents.documents(foreign, machine, wanted_names(found.config)[0])
    # Only the firmware's document is stronger than what the kernel is given.
    end = next((n for n, s in enumerate(own) if s.path.startswith(FIRMWARE)), len(own))
    found = evaluate_bounded([*cloud.below, *own[:end], *cloud.inline, *own[end:], *cloud.above])
    found.problems += cloud.problems
    found.notices += cloud.notices
    # Of what is not from a file only the user data is copied; the answer is kept as a whole.
    user_data = found.good.get(USER_DATA)
    found.good = {path: text for path, text in found.good.items() if path.startswith("/")}
    if user_data is not None:
        found.good[USER_DATA] = user_data + cloud.copy_tail
    found.cloud = cloud.report
    return found


def evaluate_bounded(sources: Sequence[Source]) -> Evaluation:
    """Put *sources* together; each has a limited time."""
    signal.signal(signal.SIGPROF, _out_of_time)
    found = Evaluation()
    for source in in_order(sources):
        signal.setitimer(signal.ITIMER_PROF, SOURCE_CPU_S)
        if source.kind == "cmdline":
            _add_command_line(found, source.content)
        else:
            found.add(source)
    signal.setitimer(signal.ITIMER_PROF, 0)
    return found


def _out_of_time(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError


def _add_command_line(found: Evaluation, content: Content) -> None:
    """Each word by itself: a mistake in one takes none of the others away."""
    if isinstance(content, OSError):
        return
    names = [PREFIX + row.key for row in PARAMETERS]
    for name, value in configuration_words(content.decode(errors="replace")):
        found.add_word(partial(kernel_document, name, value, names))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
