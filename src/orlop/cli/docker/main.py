"""The `docker` command of the machine: global flags, then the command by its name.

Exit status: 0; 1 the command failed; 125 its flags are wrong, or `run` failed before the program;
126 and 127 the program cannot be run or is not there; else the program's own. As docker's.
"""

from __future__ import annotations

import os
import sys

from orlop.cli.docker import table
from orlop.cli.docker.failure import FAILED, FLAGS_STATUS, Failure
from orlop.cli.docker.flags import BOOL, LIST, MANY, STRING, Flag, FlagError, parse_flags
from orlop.cli.docker.session import SOCKET, Session
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.cli.docker.command import Command
    from orlop.cli.docker.flags import Values

BROKEN_PIPE_STATUS = 141
INTERRUPTED_STATUS = 130
BUG_STATUS = 70

GLOBAL_FLAGS = (
    Flag("config", "", STRING),
    Flag("context", "c", STRING),
    Flag("debug", "D"),
    Flag("host", "H", LIST),
    Flag("log-level", "l", STRING),
    Flag("version", "v"),
    Flag("help", "h"),
)
HELP = Flag("help", "", BOOL, "show this")


def main(argv: Sequence[str]) -> int:
    """Run the command that *argv* names and return its exit status; never raises."""
    try:
        status = _run(list(argv))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:
        # As a program ends whose output nobody reads, without a second error at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return BROKEN_PIPE_STATUS
    except FlagError as error:
        from orlop.cli.docker import help as help_text

        usage = help_text.overview()
        return _say(f"{error.message}\nSee 'docker --help'.\n\n{usage}", FLAGS_STATUS)
    except OrlopError as error:
        return _say(error.message, getattr(error, "status", FAILED))
    except Exception as error:
        if "DOCKER_DEBUG" in os.environ:
            raise
        return _say(
            f"docker: {type(error).__name__}: {error}: this is a fault of Orlop", BUG_STATUS
        )


def _interrupted() -> int:
    """End by the signal, so that a shell's loop around this command ends too."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGINT)
    return INTERRUPTED_STATUS


def _say(message: str, status: int) -> int:
    sys.stdout.flush()
    if message:
        print(message, file=sys.stderr)
    return status


def _run(argv: list[str]) -> int:
    values = parse_flags(argv, GLOBAL_FLAGS, leading=True)
    if values.flag("version"):
        from orlop.cli.docker.version import one_line

        print(one_line())
        return 0
    words = values.words
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"] if len(words) > 1 else []
    if not words or (values.flag("help") and not words):
        from orlop.cli.docker import help as help_text

        print(help_text.overview())
        return 0
    name, rest = table.resolve(words)
    if not name:
        raise Failure(f"docker: {words[0]!r} is not a docker command.\nSee 'docker --help'")
    if name in table.GROUPS:
        return _group(name, rest)
    return _command(_session(values), name, table.load(name), rest)


def _session(values: Values) -> Session:
    hosts = values.many("host")
    if len(hosts) > 1:
        raise Failure("Please specify only one -H")
    host = (hosts or [os.environ.get("DOCKER_HOST", "")])[0] or SOCKET
    if "://" not in host and host.startswith("/"):
        host = f"unix://{host}"
    home = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return Session(host, values.text("config") or home)


def _group(group: str, rest: list[str]) -> int:
    from orlop.cli.docker import help as help_text

    text = help_text.group_overview(group)
    for word in rest:
        if word.startswith("-") and word not in ("-h", "--help"):
            kind = "flag" if word.startswith("--") else "shorthand flag"
            shown = word.partition("=")[0] if word.startswith("--") else f"{word[1]!r} in {word}"
            message = f"unknown {kind}: {shown}\nSee 'docker {group} --help'.\n{text}"
            return _say(message, FLAGS_STATUS)
    if rest and not rest[0].startswith("-"):
        return _say(text, FAILED)
    print(text)
    return 0


def _command(session: Session, name: str, command: Command, argv: list[str]) -> int:
    try:
        values = parse_flags(argv, (*command.flags, HELP), leading=command.leading)
    except FlagError as error:
        if argv[-1:] == ["-h"] or argv[:1] == ["-h"]:
            return _show_help(name, command)
        return _say(f"{error.message}\nSee 'docker {name} --help'.", FLAGS_STATUS)
    if values.flag("help"):
        return _show_help(name, command)
    wrong = wrong_count(len(values.words), *command.words)
    if wrong:
        from orlop.cli.docker.help import usage

        text = f"\"docker {name}\" {wrong}.\nSee 'docker {name} --help'.\n\n{usage(name, command)}"
        return _say(text, FAILED)
    return command.run(session, values)


def _show_help(name: str, command: Command) -> int:
    from orlop.cli.docker.help import describe

    print(describe(name, command))
    return 0


def wrong_count(count: int, least: int, most: int) -> str:
    """What is wrong about *count* words where *least* to *most* belong; empty if nothing is."""
    if least <= count <= most:
        return ""
    if most == 0:
        return "accepts no arguments"
    if least == most:
        return f"requires exactly {least} argument{'' if least == 1 else 's'}"
    if most == MANY:
        return f"requires at least {least} argument{'' if least == 1 else 's'}"
    if least == 0:
        return f"requires at most {most} argument{'' if most == 1 else 's'}"
    return f"requires at least {least} and at most {most} arguments"
