"""The `orlop.*` keys of the kernel command line: a table, its reader, and what was wrong.

docs/kernel-parameters.md is checked against this table by a unit test. A value that is not
understood becomes a warning on the console and in the status; it never stops the boot and is never
dropped silently. A key that is not in the table is one of the configuration, or wrong: the
configuration worker knows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.system.storage import disk_references

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "orlop."
CONFIGURATION_PREFIXES = (PREFIX, "rancher.", "cc.")

_DEFAULT_STATE_WAIT_S = 10
_DEFAULT_WATCHDOG_S = 60
_DEFAULT_SHUTDOWN_S = 90


@dataclass(frozen=True, slots=True)
class Parameters:
    """What the command line asks of PID 1. *values* holds every `orlop.*` key as written."""

    debug: bool = False
    state: str | None = None
    state_wait_s: int = _DEFAULT_STATE_WAIT_S
    state_fstype: str = "auto"
    state_directory: str = ""
    state_required: bool = False
    state_key: str = ""
    state_sealed: bool = False
    autoformat: tuple[str, ...] = ()
    recovery: bool = False
    recovery_password: str = ""
    hostname: str | None = None
    consoles: tuple[str, ...] = ()
    disabled_services: tuple[str, ...] = ()
    tuning: bool = True
    watchdog_s: int = _DEFAULT_WATCHDOG_S
    shutdown_s: int = _DEFAULT_SHUTDOWN_S
    install: bool | None = None
    values: tuple[tuple[str, str], ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row: *key* without the prefix, the *form* of its value, and what it does.

    *alias* is RancherOS's word for it, whole.
    """

    key: str
    form: str
    default: str
    what: str
    apply: Callable[[Parameters, str], Parameters]
    alias: str = ""


def _boolean(text: str) -> bool:
    """`orlop.debug` alone means on."""
    match text.lower():
        case "" | "1" | "y" | "yes" | "on" | "true":
            return True
        case "0" | "n" | "no" | "off" | "false":
            return False
        case _:
            raise ValueError("must be on or off")


def _seconds(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or not low <= int(text) <= high:
        raise ValueError(f"must be a number of seconds from {low} to {high}")
    return int(text)


def _hash(text: str) -> str:
    from orlop.lib.password_hash import is_hash

    if not is_hash(text):
        raise ValueError("must be what `orlop recovery hash` prints")
    return text


def _words(text: str) -> tuple[str, ...]:
    return tuple(filter(None, text.split(",")))


def _state(text: str) -> str:
    if text == "none":
        return text
    try:
        disk_references.split(text)
    except ValueError as error:
        raise ValueError(f"must be none, or {str(error).removeprefix('must be ')}") from None
    return text


def _autoformat(parameters: Parameters, text: str) -> Parameters:
    """Alone it means the disk that `orlop.state` names; a list may be in brackets."""
    names = _words(text.removeprefix("[").removesuffix("]"))
    if text.lower() in ("", "on", "true", "yes", "1"):
        names = (parameters.state or "",)
    elif text.lower() in ("off", "false", "no", "0"):
        return replace(parameters, autoformat=())
    for name in names:
        try:
            kind, _ = disk_references.split(name)
        except ValueError:
            kind = ""
        if kind not in ("SERIAL", "ID"):
            raise ValueError(
                "only a disk that is named by SERIAL=... or /dev/disk/by-id/... is formatted: "
                "another may be where it was"
            )
    return replace(parameters, autoformat=names)


def _state_fstype(text: str) -> str:
    if text not in ("auto", "ext4", "xfs", "btrfs"):
        raise ValueError("must be auto, ext4, xfs or btrfs")
    return text


def _key(text: str) -> str:
    disk, colon, path = text.partition(":/")
    if not colon or not path or ".." in path.split("/"):
        raise ValueError("must be DISK:/FILE, such as LABEL=KEYS:/state.key")
    disk_references.split(disk)
    return text


def _directory(text: str) -> str:
    path = text.strip("/")
    if not path or {"", ".", ".."} & set(path.split("/")):
        raise ValueError("must be a directory on the state partition")
    return path


def _wait(text: str) -> int:
    """RancherOS has a switch there."""
    if text.lower() in ("", "true", "yes", "on"):
        return _DEFAULT_STATE_WAIT_S
    return 0 if text.lower() in ("false", "no", "off") else _seconds(text, 0, 600)


def is_hostname(text: str) -> bool:
    """Whether *text* may name a machine: labels of letters, digits and inner dashes."""
    return len(text) <= 64 and all(
        label
        and label[0] != "-"
        and label[-1] != "-"
        and label.isascii()
        and label.replace("-", "a").isalnum()
        for label in text.split(".")
    )


def _hostname(text: str) -> str:
    if not is_hostname(text):
        raise ValueError("must be a host name")
    return text


def _checked_url(parameters: Parameters, text: str) -> Parameters:
    """Data sources read it from the command line themselves."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("must be a URL, http:// or https://")
    return parameters


PARAMETERS: tuple[Parameter, ...] = (
    Parameter(
        "debug",
        "on, off",
        "off",
        "Log every step of PID 1 and of the engine, also to the console.",
        lambda p, text: replace(p, debug=_boolean(text)),
    ),
    Parameter(
        "state",
        "LABEL=NAME, UUID=ID, PARTLABEL=NAME, PARTUUID=ID, SERIAL=NUMBER, /dev/NAME, none",
        "LABEL=ORLOP_STATE, if present",
        "The file system that is mounted at /var. `none`: memory, whatever disks there are.",
        lambda p, text: replace(p, state=_state(text)),
        "rancher.state.dev",
    ),
    Parameter(
        "state.autoformat",
        "SERIAL=NUMBER, /dev/disk/by-id/NAME, on",
        "off",
        "The disk that becomes the state's if there is none yet and it is empty; see "
        "[storage](storage.md). `on`: the one that `orlop.state` names.",
        _autoformat,
        "rancher.state.autoformat",
    ),
    Parameter(
        "state.fstype",
        "auto, ext4, xfs, btrfs",
        "auto",
        "What `orlop.state.autoformat` makes (auto: ext4), and the only type that is mounted.",
        lambda p, text: replace(p, state_fstype=_state_fstype(text)),
        "rancher.state.fstype",
    ),
    Parameter(
        "state.directory",
        "DIRECTORY",
        "all of it",
        "The directory of the state partition that is used, if that has other things on it too.",
        lambda p, text: replace(p, state_directory=_directory(text)),
        "rancher.state.directory",
    ),
    Parameter(
        "state.key",
        "DISK:/FILE",
        "none: the console asks",
        "Where the key of an encrypted state is: `LABEL=KEYS:/state.key`.",
        lambda p, text: replace(p, state_key=_key(text)),
    ),
    Parameter(
        "state.required",
        "on, off",
        "off",
        "Leave the user's engine off while the state is in memory: no container works on nothing.",
        lambda p, text: replace(p, state_required=_boolean(text)),
        "rancher.state.required",
    ),
    Parameter(
        "state.sealed",
        "on, off",
        "off",
        "Use a state only if its key is sealed by this machine's TPM, and no seed disk; see "
        "[Secure Boot](secure-boot.md#another-disk-in-the-machine).",
        lambda p, text: replace(p, state_sealed=_boolean(text)),
    ),
    Parameter(
        "state.wait",
        "seconds, 0 to 600",
        "10",
        "How long to wait for the disk that `orlop.state` or `orlop.state.autoformat` names.",
        lambda p, text: replace(p, state_wait_s=_wait(text)),
        "rancher.state.wait",
    ),
    Parameter(
        "config.url",
        "URL",
        "none",
        "A configuration that is fetched once there is a network; `cloud-config-url=` is the same.",
        _checked_url,
    ),
    Parameter(
        "config.inline",
        "base64",
        "none",
        "A configuration, which may be compressed with gzip.",
        lambda p, _: p,
    ),
    Parameter(
        "install",
        "on, off",
        "as orlop.install.disk says",
        "Install the machine without a person, on its only disk unless the configuration names "
        "another; `off`: never. See [installation](install.md).",
        lambda p, text: replace(p, install=_boolean(text)),
    ),
    Parameter(
        "recovery",
        "on, off",
        "off",
        "Start a shell on the console and no other service; the state partition is not mounted.",
        lambda p, text: replace(p, recovery=_boolean(text)),
    ),
    Parameter(
        "recovery.password",
        "hash of `orlop recovery hash`",
        "that of the configuration",
        "What the shell of recovery mode asks for.",
        lambda p, text: replace(p, recovery_password=_hash(text)),
    ),
    Parameter(
        "hostname",
        "NAME",
        "orlop",
        "Name of the machine; stronger than every other source of configuration.",
        lambda p, text: replace(p, hostname=_hostname(text)),
    ),
    Parameter(
        "console",
        "tty1,ttyS0,...",
        "tty1 and the kernel's consoles",
        "Terminals on which the console service offers a login.",
        lambda p, text: replace(p, consoles=_words(text)),
    ),
    Parameter(
        "services.disable",
        "NAME,NAME,...",
        "none",
        "System services that are not started. Given several times, the lists add up.",
        lambda p, text: replace(p, disabled_services=p.disabled_services + _words(text)),
    ),
    Parameter(
        "tuning",
        "on, off",
        "on",
        "`off` leaves the performance rows of the tuning table at the kernel's values, to compare.",
        lambda p, text: replace(p, tuning=_boolean(text)),
    ),
    Parameter(
        "watchdog",
        "seconds, 0 to 600",
        str(_DEFAULT_WATCHDOG_S),
        "Time-out of the hardware watchdog that PID 1 serves, if there is one. 0 leaves it alone.",
        lambda p, text: replace(p, watchdog_s=_seconds(text, 0, 600)),
    ),
    Parameter(
        "shutdown.timeout",
        "seconds, 1 to 3600",
        str(_DEFAULT_SHUTDOWN_S),
        "The longest that all containers together may take to stop before they are killed.",
        lambda p, text: replace(p, shutdown_s=_seconds(text, 1, 3600)),
    ),
)


def split_command_line(text: str) -> list[tuple[str, str | None]]:
    """Keys and values as the kernel splits them: spaces separate, double quotes protect.

    What follows a word `--` belongs to init and is left out. A key without `=` has the value None.
    Source: Linux 6.12 lib/cmdline.c, next_arg().
    """
    words: list[str] = []
    current, quoted, started = "", False, False
    for character in text.strip():
        if character == '"':
            quoted, started = not quoted, True
        elif character.isspace() and not quoted:
            if started:
                words.append(current)
            current, started = "", False
        else:
            current, started = current + character, True
    if started:
        words.append(current)
    if "--" in words:
        words = words[: words.index("--")]
    pairs: list[tuple[str, str | None]] = []
    for word in words:
        key, equals, value = word.partition("=")
        pairs.append((key, value if equals else None))
    return pairs


def parse_parameters(command_line: str) -> Parameters:
    """Read the `orlop.*` keys of *command_line*; what is wrong with them is in `warnings`."""
    found = Parameters()
    rows = {name: row for row in PARAMETERS for name in (PREFIX + row.key, row.alias) if name}
    warnings: list[str] = []
    values: list[tuple[str, str]] = []
    for name, value in split_command_line(command_line):
        row = rows.get(name)
        if row is None:
            continue
        values.append((name, value or ""))
        try:
            found = row.apply(found, value or "")
        except ValueError as error:
            warnings.append(f"kernel parameter {name}={value or ''}: {error}, ignoring")
        else:
            if name == row.alias:
                warnings.append(f"kernel parameter {name} is called {PREFIX}{row.key} here")
    unread = [word.partition("=")[0] for word in command_line.partition(" -- ")[2].split()]
    if unread := [name for name in unread if name.startswith(CONFIGURATION_PREFIXES)]:
        # RancherOS hid them there from /proc/cmdline.
        warnings.append(f"kernel parameters behind -- are not read: {', '.join(unread)}")
    return replace(found, values=tuple(values), warnings=tuple(warnings))


def configuration_words(command_line: str) -> list[tuple[str, str | None]]:
    """The words of *command_line* that are keys of the configuration, or meant to be one."""
    own = {name for row in PARAMETERS for name in (PREFIX + row.key, row.alias)}
    return [
        (name, value)
        for name, value in split_command_line(command_line)
        if name.startswith(CONFIGURATION_PREFIXES) and name not in own
    ]


def kernel_consoles(command_line: str) -> tuple[str, ...]:
    """Devices named by `console=`, in order, without options such as `,115200n8`."""
    return tuple(
        value.split(",")[0]
        for key, value in split_command_line(command_line)
        if key == "console" and value
    )


def consoles(parameters: Parameters, command_line: str) -> tuple[str, ...]:
    """Terminals for the console service."""
    names = ("tty1" if name == "tty0" else name for name in kernel_consoles(command_line))
    return parameters.consoles or tuple(dict.fromkeys(("tty1", *names)))
