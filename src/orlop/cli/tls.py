"""`orlop tls`: certificates for the Docker API over TCP, of the machine's own authority."""

from __future__ import annotations

import os
import sys
import time

from orlop.cli.arguments import Option, UsageError
from orlop.cli.json_text import compact, encode
from orlop.cli.text import duration
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.cli.answers import Object
    from orlop.cli.arguments import Arguments
    from orlop.lib.authority import Authority

USAGE = "tls generate|client|renew|show [OPTION...] [NAME]"
OPTIONS = (
    Option("server", "s", help="generate: the engine's certificate, and not a client's"),
    Option("host", "H", value="NAME", help="what clients call the machine by; several times"),
    Option("days", value="N", help="for how long (365)"),
    Option("directory", "d", value="DIR", help="where to: ~/.docker, or /var/lib/orlop/tls"),
    Option("output", "o", value="FILE", help="client: where to; - for the standard output"),
    Option("ca", help="renew: a new authority, too; ends all clients'"),
    Option("json", help="generate, renew, show: as JSON"),
)
WORDS = (1, 2)
VERBS = {
    "generate": "a client's certificate into DIR; --server: the engine's",
    "client": "NAME: a client as one file, for `docker context import NAME FILE`",
    "renew": "the engine's certificate once more; --ca: everything",
    "show": "what there is, and until when",
}
MORE = """\
The engine listens on TCP when the configuration says so, with certificates that
it makes when there are none, and only to clients that have one:

  orlop config set orlop.engine.tls.enabled true
  orlop tls client me > ship.tar

Elsewhere, with that file, `docker context import ship ship.tar`, and then
`docker --context ship ps`. Or unpack it: tls/docker is a DOCKER_CERT_PATH.

To take a certificate away from somebody, renew the authority with --ca, and
make new ones for the others."""

CONTEXT_FILES = ("ca.pem", "cert.pem", "key.pem")
PORT = 2376
MAX_DAYS = 3650
"""As long as the authority itself counts."""


def run(arguments: Arguments) -> int:
    verb, *names = arguments.words
    if verb not in _VERBS:
        raise UsageError(f"{verb!r} is nothing that tls can do")
    if bool(names) != (verb == "client"):
        raise UsageError("tls client wants a name" if verb == "client" else f"{verb} wants no name")
    return _VERBS[verb](arguments)


def _authority(arguments: Arguments, *, here: bool) -> Authority:
    from pathlib import Path

    from orlop.lib.authority import DIRECTORY, Authority

    given = arguments.value("directory")
    return Authority(Path(given) if given and here else DIRECTORY)


def _generate(arguments: Arguments) -> int:
    is_server = arguments.flag("server")
    authority = _authority(arguments, here=is_server)
    name, days = os.uname().nodename, _days(arguments)
    try:
        authority.ensure(name)
        if is_server:
            authority.make_server(name, days=days, hosts=_hosts(arguments))
            _say(
                arguments, f"the engine's certificate is in {authority.directory}, for {days} days"
            )
            return _made(arguments, authority)
        directory = arguments.value("directory") or os.path.expanduser("~/.docker")
        texts = _client(authority, os.environ.get("USER") or "client", days)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for file, text in texts.items():
            _write(f"{directory}/{file}", text.encode())
    except OSError as error:
        raise InvalidArgument(f"{error.filename}: {error.strerror}") from None
    if arguments.flag("json"):
        print(encode({"directory": directory, "files": [*texts]}))
        return 0
    print(f"{', '.join(texts)} are in {directory}; with them:")
    print(f"  DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH={directory} DOCKER_HOST=tcp://{name}:{PORT}")
    return 0


def _days(arguments: Arguments) -> int:
    days = arguments.number("days", 365)
    if not 0 < days <= MAX_DAYS:
        raise UsageError(f"--days must be from 1 to {MAX_DAYS}")
    return days


def _hosts(arguments: Arguments) -> list[str]:
    """What clients may call the machine by: what is asked for, its name, its addresses."""
    from orlop.cli.netlink import addresses

    own = [
        str(entry["address"]).partition("/")[0]
        for entries in addresses().values()
        for entry in entries
        if entry["scope"] != "link"
    ]
    return list(dict.fromkeys([*arguments.every("host"), os.uname().nodename, "localhost", *own]))


def _client(authority: Authority, name: str, days: int) -> dict[str, str]:
    from orlop.lib.authority import CA
    from orlop.lib.certificate import Purpose

    pair = authority.make(Purpose.CLIENT, name, days=days)
    texts = (authority.read(CA), pair.certificate, pair.key)
    return dict(zip(CONTEXT_FILES, texts, strict=True))


def _make_client(arguments: Arguments) -> int:
    output = arguments.value("output", "-")
    if output == "-" and sys.stdout.isatty():
        raise UsageError("a key is nothing for a terminal", hint="orlop tls client NAME > FILE")
    name = arguments.words[1]
    authority = _authority(arguments, here=True)
    texts = _client(authority, name, _days(arguments))
    given = arguments.every("host")
    host = given[0] if given else _first_address(arguments)
    data = context_archive(os.uname().nodename, host, texts)
    if output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        return 0
    try:
        _write(output, data)
    except OSError as error:
        raise InvalidArgument(f"{output}: {error.strerror}") from None
    return 0


def _first_address(arguments: Arguments) -> str:
    hosts = [host for host in _hosts(arguments) if host[0].isdigit() and host != "127.0.0.1"]
    return next((host for host in hosts if ":" not in host), os.uname().nodename)


def context_archive(name: str, host: str, texts: dict[str, str]) -> bytes:
    """What `docker context import` takes: a tar with the context *name*, and its files."""
    from orlop.cli.docker.archive import END, data_entry

    address = f"[{host}]" if ":" in host else host
    endpoint = {"Host": f"tcp://{address}:{PORT}", "SkipTLSVerify": False}
    meta = {"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}
    entries = [data_entry("meta.json", compact(meta).encode())]
    entries += [data_entry(f"tls/docker/{file}", text.encode()) for file, text in texts.items()]
    return b"".join((*entries, END))


def _renew(arguments: Arguments) -> int:
    authority = _authority(arguments, here=True)
    name, days = os.uname().nodename, _days(arguments)
    try:
        if arguments.flag("ca"):
            authority.renew(name)
        hosts = list(dict.fromkeys([*_hosts(arguments), *authority.hosts()]))
        authority.make_server(name, days=days, hosts=hosts)
    except OSError as error:
        raise InvalidArgument(f"{error.filename}: {error.strerror}") from None
    _say(arguments, f"the engine has a new certificate, for {days} days")
    if arguments.flag("ca"):
        _say(arguments, "no client's certificate counts any more: orlop tls client NAME")
    return _made(arguments, authority)


def _say(arguments: Arguments, text: str) -> None:
    """To a person, wherever that does not disturb a program."""
    print(text, file=sys.stderr if arguments.flag("json") else sys.stdout)


def _made(arguments: Arguments, authority: Authority) -> int:
    """The engine takes the new files when it begins; its containers go on."""
    from orlop.cli.answers import get_object, member
    from orlop.cli.client import Client

    try:
        client = Client()
        config = get_object(client, "/orlop/config").get("config")
        if member(config, "orlop", "engine", "tls", "enabled") is True:
            client.post("/orlop/services/engine/restart")
            _say(arguments, "the engine was restarted")
        else:
            command = "orlop config set orlop.engine.tls.enabled true"
            _say(arguments, f"the engine does not listen: {command}")
    except OrlopError as error:
        print(f"restart the engine to have it take them: {error}", file=sys.stderr)
    if arguments.flag("json"):
        print(encode(describe(authority)))
    return 0


def _show(arguments: Arguments) -> int:
    found = describe(_authority(arguments, here=True))
    if arguments.flag("json"):
        print(encode(found))
        return 0
    if not found["certificates"]:
        raise NotFound("there are no certificates", hint="orlop tls generate --server")
    certificates = found["certificates"]
    assert isinstance(certificates, list)
    for entry in certificates:
        until = time.strftime("%Y-%m-%d", time.gmtime(entry["ends_at"]))
        print(f"{entry['file']:<16} until {until}, {duration(entry['ends_at'] - time.time())}")
    hosts = found["hosts"]
    assert isinstance(hosts, list)
    if hosts:  # the engine's certificate may not be there
        print(f"for {', '.join(hosts)}")
    return 0


def describe(authority: Authority) -> Object:
    """`directory`; `certificates`: a list of `file` and `ends_at`, seconds since 1970; `hosts`."""
    from orlop.lib.authority import CA, SERVER

    certificates = []
    for file in (CA, SERVER):
        try:
            ends_s = authority.describe(file).ends_s
        except OrlopError:
            continue
        certificates.append({"file": file, "ends_at": ends_s})
    return {
        "directory": str(authority.directory),
        "certificates": certificates,
        "hosts": authority.hosts(),
    }


def warning() -> str:
    """What `orlop status` says of a certificate that ends soon; empty if none does."""
    from orlop.lib.authority import CA, RENEW_DAYS, SERVER, Authority

    for file in (SERVER, CA):
        try:
            left_days = (Authority().describe(file).ends_s - time.time()) / 86400
        except OrlopError:
            continue
        if left_days < RENEW_DAYS:
            when = f"ends in {left_days:.0f} days" if left_days > 0 else "has ended"
            command = "orlop tls renew" + (" --ca" if file == CA else "")
            return f"the certificate {file} of the engine {when}: {command}"
    return ""


def _write(path: str, data: bytes) -> None:
    mode = 0o600 if not path.endswith(("ca.pem", "cert.pem")) else 0o644
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as stream:
        os.fchmod(descriptor, mode)
        stream.write(data)


_VERBS: dict[str, Callable[[Arguments], int]] = {
    "generate": _generate,
    "client": _make_client,
    "renew": _renew,
    "show": _show,
}
