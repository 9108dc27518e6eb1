"""`orlop support`: one file with what is needed to look for a fault, and no secrets in it.

Each entry is made by itself: what cannot be had is an entry that says why, because a machine
that needs this is not well. Nothing is larger than its limit; of logs the end counts.
"""

from __future__ import annotations

import os
import sys
import time

from orlop import __version__
from orlop.cli import messages, net
from orlop.cli.answers import get_object, get_objects, text_of
from orlop.cli.arguments import Option
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.ps import name_of
from orlop.cli.redaction import Redactor, secrets_of
from orlop.lib.errors import InvalidArgument, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orlop.cli.arguments import Arguments

USAGE = "support [--output FILE] [--lines N]"
OPTIONS = (
    Option("output", "o", value="FILE", help="where to; - for the standard output"),
    Option("lines", value="N", help="of each log, the last N (5000)"),
    Option("json", help="say where it is and what is in it, as JSON"),
)
WORDS = (0, 0)
MORE = """\
In the file are: versions, the configuration, states of services and both
engines' containers, the system's log and the outputs of services, the kernel's
messages, disks, mounts, network, processes, memory. Not in it are: secrets of
the configuration, contents of the files that it writes, passwords and tokens in
addresses, private keys, variables of containers, outputs of the user's
containers.

Elsewhere: ssh root@ADDRESS orlop support -o - > support.tar.gz"""

ENTRY_LIMIT_BYTES = 8 << 20
TOTAL_LIMIT_BYTES = 64 << 20
DEFAULT_LINES = 5000
GZIP = 31
"""zlib's number for a stream in gzip's form."""

API = (
    ("version.json", "/version"),
    ("status.json", "/orlop/status"),
    ("boot.json", "/orlop/boot"),
    ("services.json", "/orlop/services"),
    ("versions.json", "/orlop/config/versions"),
    ("cloud.json", "/orlop/cloud"),
    ("disks.json", "/orlop/disks"),
    ("info.json", "/info"),
)
PROC = (
    *("cmdline", "cpuinfo", "meminfo", "modules", "mounts", "loadavg", "interrupts", "softirqs"),
    *("vmstat", "swaps", "partitions", "diskstats", "uptime", "version", "pressure/cpu"),
    *("pressure/memory", "pressure/io", "net/dev", "net/route", "net/sockstat"),
)


def run(arguments: Arguments) -> int:
    lines = arguments.number("lines", DEFAULT_LINES)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    folder = f"orlop-support-{os.uname().nodename}-{stamp}"
    path = arguments.value("output") or f"{folder}.tar.gz"
    client = Client()
    redactor = Redactor(known_secrets(client))
    names: list[str] = []
    data = packed(folder, entries(client, lines), redactor, names)
    if path == "-":
        for part in data:
            sys.stdout.buffer.write(part)
        sys.stdout.flush()
        return 0
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as stream:
            for part in data:
                stream.write(part)
            size_bytes = stream.tell()
    except OSError as error:
        hint = "orlop support -o /tmp/support.tar.gz"
        raise InvalidArgument(f"cannot write {path}: {error.strerror}", hint=hint) from None
    if arguments.flag("json"):
        print(encode({"path": path, "size_bytes": size_bytes, "entries": names}))
    else:
        print(f"{path}: {len(names)} entries, {size_bytes >> 10} KiB; look before you send it")
    return 0


def known_secrets(client: Client) -> set[str]:
    """Every value that the configuration calls secret."""
    try:
        shown, hidden = (
            get_object(client, f"/orlop/config?secrets={how}").get("config")
            for how in ("show", "hide")
        )
    except OrlopError:
        return set()  # then no configuration is in the file either
    return secrets_of(shown, hidden)


def packed(
    folder: str,
    found: Iterator[tuple[str, Callable[[], str]]],
    redactor: Redactor,
    names: list[str],
) -> Iterator[bytes]:
    """The archive, compressed, in parts; *names* gets what is in it."""
    import zlib

    from orlop.cli.docker.archive import END, data_entry

    packer = zlib.compressobj(6, zlib.DEFLATED, GZIP)
    total = 0
    for name, make in found:
        try:
            text = make()
        except (OrlopError, OSError, ValueError) as error:
            text = f"not to be had: {error}\n"
        text = redactor.clean(text[-ENTRY_LIMIT_BYTES:])
        data = text.encode(errors="replace")
        total += len(data)
        if total > TOTAL_LIMIT_BYTES:
            data = b"left out: the file would be too large\n"
        names.append(name)
        yield packer.compress(data_entry(f"{folder}/{name}", data))
    yield packer.compress(END)
    yield packer.flush()


def entries(client: Client, lines: int) -> Iterator[tuple[str, Callable[[], str]]]:
    """What is in the file: the name of each entry, and what makes its text."""
    yield "README", _readme
    for name, target in API:
        yield name, lambda target=target: encode(client.get(target))  # type: ignore[misc]
    yield "configuration.json", lambda: _configuration(client)
    yield "containers.json", lambda: encode(get_objects(client, "/containers/json?all=1"))
    yield "user-containers.json", _user_containers
    yield "dmesg.txt", lambda: _dmesg(client)
    yield "messages.txt", lambda: _messages(lines)
    yield "network.json", lambda: encode(net.collect([*net.VERBS]))
    yield "processes.json", lambda: _processes(client)
    for path in PROC:
        yield f"proc/{path}", lambda path=path: _file(f"/proc/{path}")  # type: ignore[misc]
    try:
        names = sorted(map(name_of, get_objects(client, "/containers/json?all=1")))
    except OrlopError:
        names = []
    for name in names:
        yield f"logs/{name}.txt", lambda name=name: _output(name, lines)  # type: ignore[misc]


def _readme() -> str:
    return (
        f"Made by orlop support {__version__} on {os.uname().nodename}, kernel "
        f"{os.uname().release}.\nversion.json and status.json name the image: its packages are in "
        "the sbom.spdx.json of that build.\nSecrets are replaced by (hidden).\n"
    )


def _configuration(client: Client) -> str:
    """Nobody knows what is in files that it writes."""
    from orlop.wire.config.secrets import EACH, hide

    answer = get_object(client, "/orlop/config?secrets=hide")
    config = answer.get("config")
    shown = hide(config, [("write_files", EACH, "content")]) if isinstance(config, dict) else None
    return encode({**answer, "config": shown})


def _user_containers() -> str:
    """Without their variables, which this list does not have, and labels, which may be anything."""
    found = get_objects(Client(net.USER_SOCKET), "/containers/json?all=1")
    return encode([{k: v for k, v in entry.items() if k != "Labels"} for entry in found])


def _dmesg(client: Client) -> str:
    from orlop.cli.answers import number_of, objects

    found = objects(get_object(client, "/orlop/dmesg").get("messages"), "kernel log")
    return "".join(f"[{number_of(m, 'uptime_s'):12.6f}] {text_of(m, 'text')}\n" for m in found)


def _messages(lines: int) -> str:
    return b"".join(messages.latest(lines)).decode(errors="replace")


def _processes(client: Client) -> str:
    from orlop.cli.top import processes

    found = []
    for name in sorted(map(name_of, get_objects(client, "/containers/json"))):
        try:
            found += processes(name, get_object(client, f"/containers/{name}/top"))
        except OrlopError:
            continue  # it has just ended
    return encode(found)


def _output(name: str, lines: int) -> str:
    from orlop.cli.container_logs import read
    from orlop.cli.log_choice import Choice

    found = read(name, Choice(), tail=lines)
    return "".join(f"{line.time} {line.stream} {line.text}\n" for line in found)


def _file(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read(ENTRY_LIMIT_BYTES)
