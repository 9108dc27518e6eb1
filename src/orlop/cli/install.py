"""`orlop install`: put the system of this machine on a disk, by questions or by options."""

from __future__ import annotations

import os
import sys

from orlop.cli.answers import Object, get_object, number_of, objects, strings_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import compact, decode, encode
from orlop.cli.text import columns, printable, size
from orlop.lib.errors import Internal, InvalidArgument, NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.cli.arguments import Arguments
    from orlop.cli.client import Response

USAGE = "install [OPTION...]"
OPTIONS = (
    Option("disk", "d", value="DISK", help="where to: an id of --list, SERIAL=, ID=, /dev/..."),
    Option("mirror", value="DISK", help="a second disk that has everything as well (RAID 1)"),
    Option("config", "c", value="FILE", help="the machine's configuration: file, https://, or -"),
    Option("append", "a", value="PARAMETERS", help="more kernel parameters for it"),
    Option("image", "i", value="FILE", help="the ISO to install: a path of the system, or a URL"),
    Option("image-sha256", value="DIGITS", help="what the SHA-256 of --image must be"),
    Option("wipe", help="give up what is on the disk"),
    Option("keep-state", help="keep the state of an Orlop that is on the disk"),
    Option("encrypt", value="HOW", help="encrypt the state: passphrase, keyfile, tpm"),
    Option("passphrase-file", value="FILE", help="what opens the state, a line; - is the input"),
    Option("key-file", value="DISK:/FILE", help="for keyfile: where it is, now and at each boot"),
    Option("yes", "y", help="ask nothing"),
    Option("force", "f", help="the same, as RancherOS has it"),
    Option("type", "t", value="TYPE", help="as RancherOS has it: generic, gptsyslinux"),
    Option("reboot", help="start the machine again when it is installed"),
    Option("poweroff", help="switch it off then"),
    Option("no-reboot", help="do neither, which is so without this word, too"),
    Option("dry-run", help="look at everything, change nothing"),
    Option("list", help="the disks there are"),
    Option("follow", help="watch an installation that goes on"),
    Option("json", help="an object for each thing that happens"),
)
WORDS = (0, 0)
MORE = """\
Without --yes it asks: for the disk, for how to log in, and for the disk's name
before it changes anything. Without --config the installed machine is told what
this one has been told.

A disk on which there is something is refused unless --wipe is given, one that
is in use, or that the machine was started from, in any case. An installation
that was interrupted can be begun again.

With --mirror the machine starts from either of two disks and keeps its state on
both; orlop disks mirror takes in one that replaces a broken one.

With --encrypt it makes a recovery key, which is shown once: keep it. It opens
the state when nothing else does.

See also: docs/install.md, for many machines and for PXE."""

MAX_CONFIG_BYTES = 1 << 20
TYPES = ("generic", "gptsyslinux")
TARGET = "/orlop/install"


def run(arguments: Arguments) -> int:
    client, as_json = Client(), arguments.flag("json")
    _check(arguments)
    if arguments.flag("follow"):
        return follow(client.request("GET", f"{TARGET}/progress"), as_json=as_json)
    if arguments.flag("list"):
        found = get_object(client, TARGET)
        print(encode(found) if as_json else table(disks_of(found)))
        return 0
    if not (arguments.flag("yes") or arguments.flag("force")):
        if not os.isatty(0) or as_json:
            raise UsageError("--disk DISK and --yes are needed where nobody can be asked")
        from orlop.cli import install_dialogue

        return install_dialogue.run(client, request_of(arguments), arguments)
    if not arguments.flag("disk"):
        raise UsageError("--disk DISK is needed; orlop install --list shows what there is")
    from orlop.cli import install_keys

    request = request_of(arguments)
    recovery = install_keys.complete(request, arguments)
    response = client.request("POST", TARGET, request)
    if recovery:
        print(compact({"recovery_key": recovery}) if as_json else install_keys.text(recovery))
    return follow(response, as_json=as_json)


def _check(arguments: Arguments) -> None:
    kind = arguments.value("type", TYPES[0])
    if kind not in TYPES:
        hint = "orlop install makes one kind of disk, which starts on BIOS and UEFI"
        raise InvalidArgument(f"there is no type {kind} here", hint=hint)
    ends = [name for name in ("reboot", "poweroff", "no-reboot") if arguments.flag(name)]
    if len(ends) > 1:
        raise UsageError(f"either --{ends[0]} or --{ends[1]}")
    if arguments.flag("wipe") and arguments.flag("keep-state"):
        raise UsageError("either --wipe or --keep-state")
    if arguments.flag("mirror") and arguments.flag("keep-state"):
        raise UsageError("either --mirror or --keep-state")


def request_of(arguments: Arguments) -> Object:
    """What the options ask for, as the API has it.

    Raises:
        NotFound: there is no such file.
    """
    then = next((name for name in ("reboot", "poweroff") if arguments.flag(name)), "stay")
    found: Object = {"then": then}
    if arguments.flag("disk"):
        found["disk"] = arguments.value("disk")
    for name in ("wipe", "keep-state", "dry-run"):
        if arguments.flag(name):
            found[name.replace("-", "_")] = True
    for name in ("mirror", "append", "image", "image-sha256", "encrypt", "key-file"):
        if arguments.flag(name):
            found[name.replace("-", "_")] = arguments.value(name)
    if arguments.flag("config"):
        found |= configuration(arguments.value("config"))
    return found


def configuration(word: str) -> Object:
    """The configuration that *word* names, as the API has it.

    Raises:
        NotFound, OrlopError: it cannot be read.
    """
    if word.startswith(("http://", "https://")):
        return {"config_url": word}
    try:
        if word == "-":
            data = sys.stdin.buffer.read(MAX_CONFIG_BYTES + 1)
        else:
            with open(os.path.expanduser(word), "rb") as stream:
                data = stream.read(MAX_CONFIG_BYTES + 1)
        text = data.decode()
    except OSError as error:
        raise NotFound(f"cannot read {word}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise OrlopError(f"{word}: not a text in UTF-8") from None
    if len(data) > MAX_CONFIG_BYTES:
        raise OrlopError(f"{word}: longer than {MAX_CONFIG_BYTES} bytes")
    return {"config": text, "config_name": "stdin" if word == "-" else word}


def disks_of(answer: Object) -> list[Object]:
    """The disks in the API's answer."""
    return objects(answer.get("disks"), "list of disks")


def table(disks: list[Object]) -> str:
    """The disks, a row each, and below it what is on them and what speaks against them."""
    if not disks:
        return "there are no disks"
    rows = [
        (
            str(number),
            text_of(disk, "id"),
            text_of(disk, "device"),
            size(number_of(disk, "size_bytes")),
            text_of(disk, "model") or "-",
            state(disk),
        )
        for number, disk in enumerate(disks, 1)
    ]
    return columns(("", "ID", "DEVICE", "SIZE", "MODEL", "WHAT"), rows)


def state(disk: Object) -> str:
    """What is on a disk, in a few words."""
    if problem := text_of(disk, "problem"):
        return problem
    if busy := text_of(disk, "busy"):
        return f"in use: {busy}"
    return ", ".join(strings_of(disk, "found")) or "empty"


def follow(response: Response, *, as_json: bool) -> int:
    """Show what happens until the end.

    Raises:
        OrlopError: it has failed.
    """
    shown = Progress(is_terminal=sys.stdout.isatty())
    failed: Object | None = {"error": "the installation has ended without a result"}
    for event in _events(response):
        if {"error", "result"} & event.keys():
            failed = event if "error" in event else None
        if as_json:
            print(compact(event), flush=True)
        elif "error" not in event:
            shown.show(event)
    shown.end()
    if failed is None:
        return 0
    if as_json:
        return 1
    raise OrlopError(text_of(failed, "error"), hint=text_of(failed, "hint") or None)


def _events(response: Response) -> Iterator[Object]:
    """The lines of the answer."""
    buffer = bytearray()
    for part in response.parts():
        buffer += part
        while (end := buffer.find(b"\n")) >= 0:
            line = bytes(buffer[:end])
            del buffer[: end + 1]
            value = decode(line) if line.strip() else None
            if isinstance(value, dict):
                yield value
    if buffer:
        raise Internal("the engine's answer ends in the middle of a line")


class Progress:
    """Events as lines; on a terminal a step that goes on is one line that changes."""

    def __init__(self, *, is_terminal: bool) -> None:
        self._is_terminal = is_terminal
        self._step = ""
        self._line = ""

    def show(self, event: Object) -> None:
        """Print *event*."""
        if notice := text_of(event, "notice"):
            self.end()
            print(f"orlop: {printable(notice)}", file=sys.stderr)
            return
        if not (text := printable(text_of(event, "text"))):
            return
        step, total = text_of(event, "step"), number_of(event, "total_bytes")
        is_new, self._step = not step or step != self._step, step
        if not self._is_terminal:
            if is_new:
                print(text, flush=True)
            return
        if is_new:
            self.end()
        share = f" {number_of(event, 'done_bytes') / total:4.0%}" if total else ""
        line = f"{text}{share}"
        if line != self._line:
            print(f"\r{line}\x1b[K", end="", flush=True)
            self._line = line

    def end(self) -> None:
        """Leave the line that changes."""
        if self._line:
            print(flush=True)
        self._line = ""
