"""Usage and help, made from the tables of commands and flags."""

from __future__ import annotations

from orlop.cli.docker import table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.command import Command
    from orlop.cli.docker.flags import Flag

INDENT = "  "
GLOBAL_FLAGS = (
    ("    --config DIR", "where config.json is (~/.docker)"),
    ("-D, --debug", "say more about errors"),
    ("-H, --host unix://PATH", "the engine's socket (unix:///var/run/docker.sock)"),
    ("-v, --version", "this command's version"),
)


def usage(name: str, command: Command) -> str:
    """`Usage:  docker stop [OPTIONS] CONTAINER...`, a line for each form, and what it does."""
    forms = command.synopsis.split("\n")
    lines = [f"docker {name} {form}".rstrip() for form in forms]
    return "Usage:  " + "\n\t".join(lines) + f"\n\n{table.summary(name)}"


def describe(name: str, command: Command) -> str:
    """All about one command."""
    lines = [usage(name, command)]
    if command.note:
        lines += ["", command.note]
    shown = [flag for flag in command.flags if flag.text]
    if shown:
        lines += ["", "Options:", *_columns([(_spelled(flag), flag.text) for flag in shown])]
    return "\n".join(lines)


def _spelled(flag: Flag) -> str:
    short = f"-{flag.short}, " if flag.short else "    "
    return f"{short}--{flag.name}" + (f" {flag.kind}" if flag.kind else "")


def overview() -> str:
    """All commands."""
    groups = [(name, table.GROUPS[name]) for name in sorted(table.GROUPS)]
    single = [(name, text) for name, (_, text) in table.ROWS.items() if " " not in name]
    return "\n".join(
        [
            "Usage:  docker [OPTIONS] COMMAND",
            "",
            "Runs containers on the engine of this machine",
            "",
            "Management Commands:",
            *_columns([(name, text) for name, (text, _) in groups]),
            "",
            "Commands:",
            *_columns(sorted(single)),
            "",
            "Global Options:",
            *_columns(list(GLOBAL_FLAGS)),
            "",
            "Run 'docker COMMAND --help' for more information on a command.",
        ]
    )


def group_overview(group: str) -> str:
    """The commands of `docker container` and the like."""
    text, names = table.GROUPS[group]
    rows = [(name, table.summary(f"{group} {name}")) for name in names.split()]
    return "\n".join(
        [
            "",
            f"Usage:  docker {group} COMMAND",
            "",
            text,
            "",
            "Commands:",
            *_columns(rows),
            "",
            f"Run 'docker {group} COMMAND --help' for more information on a command.",
        ]
    )


def _columns(rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return [f"{INDENT}{name.ljust(width)}  {text}" for name, text in rows]
