"""The table of commands: name, line in the help, and how to get its file.

A new command is one file with `USAGE`, `OPTIONS`, `WORDS` and `run`, a loader here and a row in
`COMMANDS`; for those that have them also `MORE` (further help), `VERBS` (its first words, each with
what it does) and `COMPLETES` (what its words are: `containers`, `services`, `keys` or `commands`).
Help, completions and manual pages (`./orlop man`) are made from that. Loaders are import statements
and not names because the image builder reads imports to know which files to take along; each file
is imported only when its command is run.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from orlop.cli.arguments import Arguments, Option

    class Command(Protocol):
        """What a command's file holds; `WORDS` is how many words it takes, at least and at most."""

        @property
        def USAGE(self) -> str: ...  # noqa: N802 - a module's constant
        @property
        def OPTIONS(self) -> tuple[Option, ...]: ...  # noqa: N802
        @property
        def WORDS(self) -> tuple[int, int]: ...  # noqa: N802
        def run(self, arguments: Arguments, /) -> int: ...

    type Loader = Callable[[], Command]

MANY = 1 << 30
"""For `WORDS`: as many as one likes."""


def _status() -> Command:
    from orlop.cli import status

    return status


def _ps() -> Command:
    from orlop.cli import ps

    return ps


def _logs() -> Command:
    from orlop.cli import logs

    return logs


def _service() -> Command:
    from orlop.cli import service

    return service


def _boot() -> Command:
    from orlop.cli import boot

    return boot


def _exec() -> Command:
    from orlop.cli import exec_command

    return exec_command


def _console() -> Command:
    from orlop.cli import console

    return console


def _engine() -> Command:
    from orlop.cli import engine_command

    return engine_command


def _recovery() -> Command:
    from orlop.cli import recovery

    return recovery


def _toolbox() -> Command:
    from orlop.cli import toolbox

    return toolbox


def _inspect() -> Command:
    from orlop.cli import inspect_command

    return inspect_command


def _stats() -> Command:
    from orlop.cli import stats

    return stats


def _top() -> Command:
    from orlop.cli import top

    return top


def _events() -> Command:
    from orlop.cli import events

    return events


def _disks() -> Command:
    from orlop.cli import disks

    return disks


def _net() -> Command:
    from orlop.cli import net

    return net


def _health() -> Command:
    from orlop.cli import health

    return health


def _dmesg() -> Command:
    from orlop.cli import dmesg

    return dmesg


def _config() -> Command:
    from orlop.cli import config

    return config


def _migrate() -> Command:
    from orlop.cli import migrate

    return migrate


def _firewall() -> Command:
    from orlop.cli import firewall

    return firewall


def _os() -> Command:
    from orlop.cli import os_command

    return os_command


def _cloud() -> Command:
    from orlop.cli import cloud

    return cloud


def _tls() -> Command:
    from orlop.cli import tls

    return tls


def _support() -> Command:
    from orlop.cli import support

    return support


def _sudo() -> Command:
    from orlop.cli import sudo

    return sudo


def _passwd() -> Command:
    from orlop.cli import passwd

    return passwd


def _install() -> Command:
    from orlop.cli import install

    return install


def _poweroff() -> Command:
    from orlop.cli import poweroff

    return poweroff


def _shutdown() -> Command:
    from orlop.cli import shutdown

    return shutdown


def _reboot() -> Command:
    from orlop.cli import reboot

    return reboot


def _halt() -> Command:
    from orlop.cli import halt

    return halt


def _system() -> Command:
    from orlop.cli import system

    return system


def _version() -> Command:
    from orlop.cli import version

    return version


def _help() -> Command:
    from orlop.cli import help_command

    return help_command


def _man() -> Command:
    from orlop.cli import man

    return man


def _completion() -> Command:
    from orlop.cli import completion

    return completion


COMMANDS: dict[str, tuple[Loader, str]] = {
    "status": (_status, "the machine at a glance"),
    "ps": (_ps, "list the system's containers"),
    "logs": (_logs, "what a service, or the whole system, has to say"),
    "service": (_service, "services: list, add, start, stop; why one is not running"),
    "exec": (_exec, "run a program inside a container"),
    "console": (_console, "list and choose the console in which sessions begin"),
    "engine": (_engine, "list and choose the engine of the user's containers"),
    "recovery": (_recovery, "the password of recovery mode"),
    "toolbox": (_toolbox, "a shell in a container that is thrown away"),
    "inspect": (_inspect, "everything about a container, as JSON"),
    "stats": (_stats, "processor and memory of each container"),
    "top": (_top, "the processes of each container"),
    "events": (_events, "what containers, images and networks go through"),
    "disks": (_disks, "disks, partitions, file systems, and what is kept on which"),
    "net": (_net, "interfaces, addresses, routes, and who listens on which port"),
    "health": (_health, "whether the machine, its services and your workloads work"),
    "boot": (_boot, "when each stage of the boot was reached"),
    "dmesg": (_dmesg, "the kernel's messages"),
    "os": (_os, "generations of the system: update, trial, way back"),
    "config": (_config, "the machine's configuration"),
    "migrate": (_migrate, "a document for RancherOS or cloud-init in this system's words"),
    "firewall": (_firewall, "what is let in to the machine"),
    "cloud": (_cloud, "the data source that has configured the machine"),
    "tls": (_tls, "certificates for the Docker API over TCP"),
    "support": (_support, "a file with all that is needed to look for a fault; no secrets"),
    "sudo": (_sudo, "a command as root, for users who may"),
    "install": (_install, "put this system on a disk"),
    "passwd": (_passwd, "the hash of a password, for the configuration"),
    "poweroff": (_poweroff, "stop everything and switch off"),
    "reboot": (_reboot, "stop everything and start again"),
    "halt": (_halt, "stop everything and stay"),
    "shutdown": (_shutdown, "one of these, in the words of other systems"),
    "system": (_system, "replace the engine in place, without a container noticing"),
    "version": (_version, "what this machine runs"),
    "man": (_man, "the manual page of a command"),
    "completion": (_completion, "completions for bash, zsh or fish"),
    "help": (_help, "this list, or how to use one command"),
}
"""In the order of the help."""

LEADING_WORDS = frozenset({"exec", "sudo"})
"""Commands whose options end at the first word: what follows has options of its own."""

PROGRAMS = frozenset({"console", "os", "recovery", "toolbox"})
"""Commands that run the program which follows `--`."""


def verbs_of(command: Command) -> dict[str, str]:
    """The first words that *command* knows, each with what it does; empty if it has no such."""
    verbs: dict[str, str] = getattr(command, "VERBS", {})
    return verbs


def find(name: str) -> Command | None:
    """The file of command *name*, imported; None if there is none."""
    return COMMANDS[name][0]() if name in COMMANDS else None
