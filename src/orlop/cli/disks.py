"""`orlop disks`: disks, partitions, file systems, how full, how well, and what a reboot keeps.

`orlop disks seal` lets the machine's TPM open an encrypted one, `orlop disks mirror` takes in one
in the place of a broken one.
"""

from __future__ import annotations

from orlop.cli.answers import Object, get_object, member, number_of, objects, strings_of, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.cli.client import Client
from orlop.cli.json_text import encode
from orlop.cli.terminal import fitted
from orlop.cli.text import columns, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.arguments import Arguments

USAGE = "disks [OPTION...] [seal [DEVICE]|mirror DISK]"
OPTIONS = (
    Option("json", help="as the engine's API gives it"),
    Option("key-file", value="FILE", help="for seal: what opens the disk now; - is the input"),
    Option("pcrs", value="N,...", help="for seal: which registers have to stay as they are (7)"),
    Option("remove", help="for seal: the TPM shall not open it any more"),
    Option("wipe", help="for mirror: give up what is on the disk"),
)
WORDS = (0, 2)
VERBS = {
    "seal": "[DEVICE]: let the TPM open an encrypted disk; the state's",
    "mirror": "DISK: make it the half that the state's mirror lacks",
}
MORE = """\
Health is what the kernel knows without asking the disk: its state, errors that
it has counted, its temperature. The mark * is on what holds the machine's
state, which is all that a reboot keeps.

To seal asks for the passphrase, or takes --key-file, and adds a key that only
this machine's TPM has, for as long as what it has measured stays the same. The
passphrase and other keys go on to work. Seal once more when that has changed.

A disk for the mirror has to be empty, unless --wipe is given, or it was a half
of it before. One that was used without the other half needs --wipe as well, as
what was written to it alone is lost. It starts the machine at once; the state
is copied to it while the machine works."""

HEADER = ("DEVICE", "SIZE", "TYPE", "LABEL", "USED", "MOUNTED", "HEALTH", "WHAT")
WORDS_OF = {"in_sync": "is whole", "spare": "is being filled", "faulty": "is broken"}
WELL = ("running", "live")
"""What SCSI and NVMe call a device that works."""


def run(arguments: Arguments) -> int:
    if arguments.words:
        verb, *devices = arguments.words
        if verb not in VERBS:
            raise UsageError(f"{verb!r} is nothing that can be done with disks")
        return _seal(arguments, devices) if verb == "seal" else _mirror(arguments, devices)
    answer = get_object(Client(), "/orlop/disks")
    if arguments.flag("json"):
        print(encode(answer))
    else:
        print(text(answer))
    return 0


def _seal(arguments: Arguments, devices: list[str]) -> int:
    from orlop.cli import disk_sealing

    request = disk_sealing.request_of(arguments, devices)
    answer = Client().post("/orlop/disks/seal", request)
    if arguments.flag("json"):
        print(encode(answer))
    else:
        print(disk_sealing.text(answer))
    return 0


def _mirror(arguments: Arguments, disks: list[str]) -> int:
    from orlop.cli.install import follow

    if len(disks) != 1:
        raise UsageError("mirror DISK is needed; orlop install --list shows what there is")
    request: Object = {"disk": disks[0], "wipe": arguments.flag("wipe")}
    response = Client().request("POST", "/orlop/disks/mirror", request)
    return follow(response, as_json=arguments.flag("json"))


def mirror_line(mirror: Object) -> str:
    """The halves of the state's mirror, and what is done to it."""
    parts = [
        f"{text_of(part, 'device')} {WORDS_OF.get(state := text_of(part, 'state'), state)}"
        for part in objects(mirror.get("parts"), "list of parts")
    ]
    lacks = [] if len(parts) >= number_of(mirror, "wanted") else ["a disk is missing"]
    lacks += [
        f"{text_of(part, 'device')} was used alone and is left as it is"
        for part in objects(mirror.get("apart", []), "list of parts")
        if lacks
    ]
    share = mirror.get("share")
    filled = [f"{share:.0%} done"] if isinstance(share, float) else []
    return f"mirror {text_of(mirror, 'device')}: {', '.join((*parts, *lacks, *filled))}"


def text(answer: Object) -> str:
    """The table, and a sentence on what is kept."""
    rows = []
    for disk in objects(answer.get("disks"), "list of disks"):
        rows.append(_row(disk, "", health(disk), what(disk)))
        rows += [
            _row(part, "  ", "", text_of(part, "label"))
            for part in objects(disk.get("partitions"), "list of partitions")
        ]
    table = fitted(columns(HEADER, rows)) if rows else "there are no disks"
    mirror = member(answer, "persistence", "mirror")
    more = f"\n{mirror_line(mirror)}" if isinstance(mirror, dict) else ""
    return f"{table}\n\n{kept(answer)}{more}"


def _row(entry: Object, indent: str, well: str, about: str) -> tuple[str, ...]:
    content = entry.get("content")
    content = content if isinstance(content, dict) else {}
    total = number_of(content, "total_bytes")
    used = number_of(content, "used_bytes")
    mark = "*" if content.get("is_state") is True else ""
    return (
        f"{indent}{text_of(entry, 'device')}{mark}",
        size(number_of(entry, "size_bytes")),
        text_of(content, "filesystem") or "-",
        text_of(content, "label") or "-",
        f"{size(used)} ({used / total:.0%})" if total else "-",
        " ".join(strings_of(content, "mounts")[:3]) or "-",
        well or "-",
        about or "-",
    )


def what(disk: Object) -> str:
    """Maker, model and kind of a disk."""
    kind = "rotating" if disk.get("rotational") is True else ""
    removable = "removable" if disk.get("removable") is True else ""
    read_only = "read-only" if disk.get("read_only") is True else ""
    serial = text_of(disk, "serial")
    parts = [text_of(disk, "vendor"), text_of(disk, "model"), f"({serial})" if serial else ""]
    return " ".join(part for part in (*parts, kind, removable, read_only) if part)


def health(disk: Object) -> str:
    """`well`, or what is known against it."""
    state = str(member(disk, "health", "state") or "unknown")
    errors = number_of(disk, "health", "io_errors")
    warmth = number_of(disk, "health", "temperature_c")
    parts = ["well" if state in WELL and not errors else state]
    parts += [f"{errors:.0f} errors"] if errors else []
    parts += [f"{warmth:.0f} C"] if warmth else []
    return ", ".join(parts)


def kept(answer: Object) -> str:
    """Which paths a reboot keeps."""
    if member(answer, "persistence", "kind") != "disk":
        return "nothing is kept: the state is in memory, and lost with the next boot"
    persistence = answer.get("persistence")
    assert isinstance(persistence, dict)
    paths = ", ".join(strings_of(persistence, "paths"))
    return f"kept on {text_of(persistence, 'device')}: {paths}; all else is new at each boot"
