"""The machine's configuration as PID 1 sees it: checked values from the configuration worker.

PID 1 only lists the sources and starts the worker, and that only when there is a source: a machine
without configuration does not pay for one. What comes back is data whose keys and types were
checked there; it is bounded here and read with `get`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.lib.errors import DeadlineExceeded, InvalidArgument, NotFound, OrlopError
from orlop.wire.compose import parse_service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.lib.children import Child, Children, ExitStatus
    from orlop.wire.compose_model import Json, ServiceDefinition

BASE = "/var/lib/orlop"

OWN = "config.yml"
OWN_SECRET = "config/current/secrets.yml"
"""The document that `orlop config` writes, below `BASE`; `config.store` says how."""

USER_DATA = "user-data"
"""What the user data of a data source is called, in errors and as a copy."""

FIRMWARE_FILE = "/sys/firmware/qemu_fw_cfg/by_name/opt/org.orlop/config/raw"

WORKER_TIMEOUT_S = 60.0
"""Parsing 1 MiB of YAML in an emulator takes ten seconds."""

MAX_ANSWER_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Configuration:
    """The effective configuration. *origins* says which file and line set each value."""

    data: Mapping[str, Json] = field(default_factory=dict)
    origins: Mapping[str, Json] = field(default_factory=dict)
    services: Mapping[str, ServiceDefinition] = field(default_factory=dict)
    service_files: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    """What is in force and should be written differently."""
    good: Mapping[str, str] = field(default_factory=dict)
    """Sources that are whole and not as their copies are, with their content."""
    secrets: tuple[tuple[str, ...], ...] = ()
    """What nobody is shown: patterns of `wire.config.secrets`."""
    at_boot: tuple[str, ...] = ()
    """Keys whose change takes effect at the next boot."""
    cloud: Mapping[str, Json] = field(default_factory=dict)
    """What a data source said, for people; see docs/system-api.md."""

    def get(self, key: str) -> Json:
        """The value at the dotted *key*, None when it is not set."""
        value: Json = dict(self.data)
        for name in key.split("."):
            if not isinstance(value, dict) or name not in value:
                return None
            value = value[name]
        return value

    def is_configured(self, key: str) -> bool:
        """Whether *key* has a value that is not empty."""
        return self.get(key) not in (None, "", [], {})

    @property
    def hostname(self) -> str | None:
        value, full = self.get("hostname"), self.fqdn
        if full and (value is None or self.get("prefer_fqdn_over_hostname") is True):
            prefer = self.get("prefer_fqdn_over_hostname") is True
            return full if prefer else full.partition(".")[0]
        return value if isinstance(value, str) else None

    @property
    def fqdn(self) -> str:
        """The full name; empty if none is configured."""
        return str(self.get("fqdn") or "")

    def is_enabled(self, service: str) -> bool:
        """Whether the configuration lets *service* start."""
        services = self.get("orlop.services")
        entry = services.get(service) if isinstance(services, dict) else None
        return not isinstance(entry, dict) or entry.get("enabled") is not False


def sources(
    root: str = "/var",
    firmware_file: str = FIRMWARE_FILE,
    *,
    command_line: bool = False,
    cloud: Sequence[str] = (),
    with_own: bool = False,
) -> list[str]:
    """What the worker has to read, in rising order of precedence; *root* is the state's.

    *cloud* are the answers of data sources. *with_own*: the machine's own document, even if there
    is none.
    """
    base = f"{root}/lib/orlop"
    endings = (".yml", ".yaml")
    found = [f"services:{path}" for path in _files(f"{base}/services", (".json", *endings))]
    for path in _files(f"{base}/conf.d", endings):
        found += _with_copy(path, base)
    if with_own or os.path.exists(f"{base}/{OWN}"):
        found += _with_copy(f"{base}/{OWN}", base, "own")
        if with_own or os.path.exists(f"{base}/{OWN_SECRET}"):
            found.append(f"secret:{base}/{OWN_SECRET}")
    if command_line:
        found.append("cmdline:/proc/cmdline")
    if os.path.exists(firmware_file):
        found += _with_copy(firmware_file, base)
    return [*found, *cloud]


def _with_copy(path: str, base: str, kind: str = "config") -> list[str]:
    """*path* as a source, and the copy of what it last was, if there is one."""
    copy = copy_path(path, base)
    return [f"{kind}:{path}"] + ([f"good:{copy}"] if os.path.exists(copy) else [])


def copy_path(path: str, base: str) -> str:
    """Where the last good content of source *path* is kept below *base*."""
    return f"{base}/config/good/{path.removeprefix('/').replace('/', '%')}"


def _files(directory: str, endings: tuple[str, ...]) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    # A dot file is one that is being written, or a backup of an editor.
    return [
        f"{directory}/{name}" for name in names if name.endswith(endings) and name[0] not in ".#"
    ]


def program(*arguments: str) -> list[str]:
    """The command line of another program of Orlop, started as this one was."""
    words = list(sys.orig_argv)
    start = words.index("init") if "init" in words else len(words)
    interpreter = sys.executable or words[0]
    return [interpreter, *words[1:start], *arguments]


async def load(children: Children, names: list[str]) -> Configuration:
    """Let the worker read *names*; an error of the worker itself is a problem too."""
    if not names:
        return Configuration()
    try:
        return parse_answer(await _ask_worker(children, names))
    except _FAILURES as error:
        return await _load_one_by_one(children, names, error)


_FAILURES = (OrlopError, OSError, ValueError)


async def _load_one_by_one(
    children: Children, names: list[str], failure: Exception
) -> Configuration:
    """The worker has died of one of *names*: find out which, and do without it."""
    problems: list[str] = []
    left: list[str] = []
    for source in names:
        kind, _, path = source.partition(":")
        if kind == "good":
            continue  # it was whole: if its source is now, nobody needs it
        try:
            await _ask_worker(children, [source])
            left.append(source)
        except _FAILURES as error:
            problems.append(f"{path}:1: cannot be read: {_text(error)}")
            follower = names[names.index(source) + 1 :][:1]
            left += [f"config:{name[5:]}" for name in follower if name.startswith("good:")]
    if not problems:
        problems.append(f"configuration cannot be read: {_text(failure)}")
    try:
        found = parse_answer(await _ask_worker(children, left))
    except _FAILURES as error:
        return Configuration(problems=(*problems, f"configuration cannot be read: {_text(error)}"))
    return replace(found, problems=(*problems, *found.problems))


def _text(error: Exception) -> str:
    return str(error) or type(error).__name__


def parse_answer(answer: Mapping[str, Json]) -> Configuration:
    """The worker's answer as a `Configuration`; definitions are checked once more here."""
    problems = [str(problem) for problem in as_list(answer.get("problems"))]
    definitions: dict[str, ServiceDefinition] = {}
    files: dict[str, str] = {}
    for name, entry in as_map(answer.get("services")).items():
        try:
            definitions[name] = parse_service(name, as_map(as_map(entry).get("definition")))
            files[name] = str(as_map(entry).get("file"))
        except OrlopError as error:
            problems.append(str(error))
    return Configuration(
        as_map(answer.get("config")),
        as_map(answer.get("origins")),
        definitions,
        files,
        tuple(problems),
        tuple(str(notice) for notice in as_list(answer.get("notices"))),
        {path: str(text) for path, text in as_map(answer.get("good")).items()},
        tuple(tuple(map(str, as_list(path))) for path in as_list(answer.get("secrets"))),
        tuple(map(str, as_list(answer.get("at_boot")))),
        as_map(answer.get("cloud")),
    )


async def ask_change(
    children: Children, names: list[str], operation: Mapping[str, str]
) -> Mapping[str, Json]:
    """Let the worker say what *operation* makes of the sources: see `wire.config.change`.

    Raises:
        InvalidArgument, NotFound: the change is wrong; with what the worker says.
        OrlopError, OSError, ValueError: the worker failed.
    """
    return _or_raise(await _ask_worker(children, names, json.dumps(operation).encode()))


async def ask_services(children: Children, request: Mapping[str, Json]) -> Mapping[str, Json]:
    """Let the worker say what it finds in a text about services: see `services.worker`.

    Raises:
        InvalidArgument, NotFound: what is in it is wrong, or not there.
        OrlopError, OSError, ValueError: the worker failed.
    """
    descriptor = os.memfd_create("services", os.MFD_CLOEXEC)
    try:
        os.pwrite(descriptor, json.dumps(request).encode(), 0)
        answer = await ask(children, ["services"], WORKER_TIMEOUT_S, {0: descriptor})
    finally:
        os.close(descriptor)
    return _or_raise(as_map(json.loads(answer)))


def _or_raise(answer: Mapping[str, Json]) -> Mapping[str, Json]:
    if "error" in answer:
        kind = NotFound if answer.get("kind") == "NotFound" else InvalidArgument
        hint = f" ({answer['hint']})" if answer.get("hint") else ""
        raise kind(f"{answer['error']}{hint}")  # the API has no place for a hint
    return answer


async def _ask_worker(
    children: Children, names: list[str], operation: bytes = b""
) -> Mapping[str, Json]:
    fds: dict[int, int] = {}
    try:
        if operation:
            fds[0] = os.memfd_create("operation", os.MFD_CLOEXEC)
            os.pwrite(fds[0], operation, 0)
            names = ["change:/proc/self/fd/0", *names]
        return as_map(json.loads(await ask(children, ["config", *names], WORKER_TIMEOUT_S, fds)))
    finally:
        for descriptor in fds.values():
            os.close(descriptor)


async def ask(
    children: Children, words: list[str], timeout_s: float, fds: Mapping[int, int] | None = None
) -> bytes:
    """What the worker that *words* start writes to stdout; *fds* are more of its descriptors.

    Raises:
        OrlopError, OSError: it failed, took too long, or said too much.
    """
    output = os.memfd_create(words[0], os.MFD_CLOEXEC)
    try:
        command = program("worker", *words)
        child = await children.spawn_patiently(command, fds={**(fds or {}), 1: output})
        status = await _end_of(child, words[0], timeout_s)
        if not status.ok:
            raise OrlopError(f"the {words[0]} worker ended with status {status.code}")
        size_bytes = os.fstat(output).st_size
        if size_bytes > MAX_ANSWER_BYTES:
            raise OrlopError(f"the {words[0]} worker's answer has {size_bytes} bytes")
        return os.pread(output, size_bytes, 0)
    finally:
        os.close(output)


async def _end_of(child: Child, name: str, timeout_s: float) -> ExitStatus:
    try:
        async with asyncio.timeout(timeout_s):
            return await child.wait()
    except TimeoutError:
        # Not as it is: the API takes it for a client that is too slow.
        raise DeadlineExceeded(f"the {name} worker took longer than {timeout_s:g} s") from None
    finally:
        child.send_signal(9)


def as_map(value: object) -> dict[str, Json]:
    """*value* if it is a map, else an empty one."""
    return value if isinstance(value, dict) else {}


def as_list(value: object) -> list[Json]:
    """*value* if it is a list, else an empty one."""
    return value if isinstance(value, list) else []
