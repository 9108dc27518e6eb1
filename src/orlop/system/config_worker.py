"""The configuration worker: reads the sources, then parses and checks them without any privilege.

A short-lived process of PID 1: `worker config SOURCE...`, each SOURCE `config:PATH` or
`services:PATH`, in rising order of precedence. It reads all files first, as root, up to a limit;
then gives up its user, groups, capabilities, network and most of its limits for good; only then
does it look at the bytes. The answer is one JSON object on stdout:

    {"config": {...}, "origins": {"orlop.time.servers": "FILE:LINE"},
     "services": {"NAME": {...}}, "problems": ["FILE:LINE: ..."]}

A file with an error counts for nothing and becomes a problem. The exit status is 0 then too.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import TYPE_CHECKING

from orlop.lib.errors import OrlopError
from orlop.system.config_schema import check_document, leaves, merge
from orlop.wire.compose import parse_services, to_json
from orlop.wire.located_yaml import MAX_LENGTH, LocatedYaml, parse_yaml

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json

NOBODY = 65534
MEMORY_BYTES = 256 << 20
CPU_S = 20
MAX_SOURCES = 256

PR_SET_NO_NEW_PRIVS = 38
CLONE_FLAGS = os.CLONE_NEWNET | os.CLONE_NEWIPC | os.CLONE_NEWUTS | os.CLONE_NEWCGROUP


def main(argv: list[str]) -> int:
    """Read, drop, parse, answer."""
    sources = [(kind, path, _read(path)) for kind, _, path in map(_split, argv[:MAX_SOURCES])]
    drop_privileges()
    answer = json.dumps(evaluate(sources)).encode()
    while answer:
        answer = answer[os.write(1, answer) :]
    return 0


def _split(source: str) -> tuple[str, str, str]:
    kind, _, path = source.partition(":")
    return kind, "", path


def _read(path: str) -> bytes | OSError:
    """The file, or why it cannot be read; one byte more than allowed shows that it is too long."""
    try:
        with open(path, "rb") as stream:
            return stream.read(MAX_LENGTH + 1)
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


def evaluate(sources: list[tuple[str, str, bytes | OSError]]) -> dict[str, Json]:
    """Put *sources* (kind, path, content) together; pure."""
    config: dict[str, Json] = {}
    origins: dict[str, Json] = {}
    services: dict[str, Json] = {}
    problems: list[Json] = []
    for kind, path, content in sources:
        try:
            document = _document(path, content)
            if kind == "config":
                checked = check_document(document)
                config = merge(config, checked)
                origins.update(
                    (".".join(leaf), document.locate(leaf).removesuffix(": "))
                    for leaf in leaves(checked)
                )
            else:
                services.update(_services(path, document))
        except OrlopError as error:
            problems.append(f"{error}{f' ({error.hint})' if error.hint else ''}")
    return {"config": config, "origins": origins, "services": services, "problems": problems}


def _document(path: str, content: bytes | OSError) -> LocatedYaml:
    if isinstance(content, OSError):
        raise OrlopError(f"{path}: {content.strerror}")
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise OrlopError(f"{path}:{line}: not a text in UTF-8") from error
    return parse_yaml(path, text.removeprefix("\ufeff"))


def _services(path: str, document: LocatedYaml) -> dict[str, Json]:
    """The definitions in one file, all or none; JSON is YAML, so one reader serves both."""
    if not isinstance(document.data, dict):
        raise OrlopError(f"{document.locate(())}must be a map with `services:`")
    return {
        service.name: {"file": path, "definition": to_json(service)}
        for service in parse_services(document.data, document.locate)
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
