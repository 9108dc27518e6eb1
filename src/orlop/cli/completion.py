"""`orlop completion`: what a shell needs to complete `orlop` commands, from the commands' table.

The machine's own shell, busybox's, completes file names only; these are for shells elsewhere and
in other consoles. Names of containers and services are asked for while completing.
"""

from __future__ import annotations

from orlop.cli.arguments import Option, UsageError
from orlop.cli.commands import COMMANDS, find, verbs_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.cli.arguments import Arguments

USAGE = "completion bash|zsh|fish"
OPTIONS: tuple[Option, ...] = ()
WORDS = (1, 1)
VERBS = {
    "bash": 'eval "$(orlop completion bash)"',
    "zsh": 'eval "$(orlop completion zsh)", after compinit',
    "fish": "orlop completion fish | source",
}

CONTAINERS = "orlop ps --all --quiet 2>/dev/null"
NAMES = {
    "containers": CONTAINERS,
    "services": CONTAINERS,
    "keys": "orlop config explain 2>/dev/null | cut -d ' ' -f 1",
}
"""What prints the names that may follow a command, or its verb, by what it `COMPLETES`."""


class Row:
    """What can follow one command: options and first words, each with its line of help."""

    __slots__ = ("line", "name", "names", "options", "valued", "words")

    def __init__(self, name: str) -> None:
        command = find(name)
        assert command is not None
        self.name = name
        self.line = COMMANDS[name][1]
        self.options = [(f"--{option.name}", option.help) for option in command.OPTIONS]
        self.options += [
            (f"-{option.short}", option.help) for option in command.OPTIONS if option.short
        ]
        self.options.append(("--help", "how to use this command"))
        self.valued = [f"--{option.name}" for option in command.OPTIONS if option.value]
        kind = getattr(command, "COMPLETES", "")
        self.words = dict(verbs_of(command))
        if kind == "commands":
            self.words = {known: line for known, (_, line) in COMMANDS.items()}
        self.names = NAMES.get(kind, "")


def rows() -> list[Row]:
    """All commands."""
    return [Row(name) for name in COMMANDS]


def run(arguments: Arguments) -> int:
    shell = arguments.words[0]
    if shell not in _WRITERS:
        raise UsageError(
            f"there are no completions for {shell!r}",
            hint="bash, zsh or fish; ash, the console's shell, has none",
        )
    print(_WRITERS[shell](rows()))
    return 0


def bash(table: list[Row]) -> str:
    """A function for `complete -F`."""
    lines = [
        "_orlop() {",
        '  local current="${COMP_WORDS[COMP_CWORD]}" previous="${COMP_WORDS[COMP_CWORD-1]}"',
        "  COMPREPLY=()",
        '  if [ "$COMP_CWORD" -eq 1 ]; then',
        f'    COMPREPLY=($(compgen -W "{" ".join(row.name for row in table)}" -- "$current"))',
        "    return",
        "  fi",
        '  local options="" words="" valued="" names=""',
        '  case "${COMP_WORDS[1]}" in',
    ]
    for row in table:
        parts = [f'options="{" ".join(option for option, _ in row.options)}"']
        parts += [f'words="{" ".join(row.words)}"'] if row.words else []
        parts += [f'valued=" {" ".join(row.valued)} "'] if row.valued else []
        parts += [f"names={_quoted(row.names)}"] if row.names else []
        lines.append(f"    {row.name}) {'; '.join(parts)} ;;")
    lines += [
        "  esac",
        '  case "$valued" in',
        '    *" $previous "*) COMPREPLY=($(compgen -f -- "$current")); return ;;',
        "  esac",
        '  case "$current" in',
        '    -*) COMPREPLY=($(compgen -W "$options" -- "$current")); return ;;',
        "  esac",
        '  [ "$COMP_CWORD" -gt 2 ] && words=""',
        '  [ -z "$words" ] && [ -n "$names" ] && words="$(eval "$names")"',
        '  COMPREPLY=($(compgen -W "$words" -- "$current"))',
        '  [ "${#COMPREPLY[@]}" -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))',
        "}",
        "complete -F _orlop orlop",
    ]
    return "\n".join(lines)


def zsh(table: list[Row]) -> str:
    """A function for compdef."""
    # `words` is zsh's own: the command line.
    lines = ["#compdef orlop", "_orlop() {", "  local -a commands options firsts names"]
    lines.append("  commands=(")
    lines += [f"    {_quoted(f'{row.name}:{row.line}')}" for row in table]
    lines += [
        "  )",
        "  if (( CURRENT == 2 )); then _describe command commands; return; fi",
        "  case $words[2] in",
    ]
    for row in table:
        options = " ".join(_quoted(f"{option}:{what}") for option, what in row.options)
        firsts = " ".join(_quoted(f"{word}:{what}") for word, what in row.words.items())
        names = f'; names=(${{(f)"$({row.names})"}})' if row.names else ""
        if names and row.words:
            names = f"; (( CURRENT > 3 )) && {names.removeprefix('; ')}"
        lines.append(f"    {row.name}) options=({options}); firsts=({firsts}){names} ;;")
    lines += [
        "  esac",
        "  if [[ $PREFIX == -* ]]; then _describe option options; return; fi",
        "  (( CURRENT == 3 )) && (( $#firsts )) && _describe word firsts",
        "  (( $#names )) && compadd -a names",
        "  (( CURRENT == 3 && $#firsts + $#names )) || _files",
        "}",
        "compdef _orlop orlop",
    ]
    return "\n".join(lines)


def fish(table: list[Row]) -> str:
    """Lines of `complete`."""
    lines = ["complete -c orlop -f"]
    for row in table:
        head = "complete -c orlop"
        lines.append(f"{head} -n __fish_use_subcommand -a {row.name} -d {_quoted(row.line)}")
        inside = f"{head} -n '__fish_seen_subcommand_from {row.name}'"
        for option, what in row.options:
            kind, name = ("-l", option[2:]) if option.startswith("--") else ("-s", option[1:])
            value = " -r" if option in row.valued else ""
            lines.append(f"{inside} {kind} {name}{value} -d {_quoted(what)}")
        lines += [f"{inside} -a {word} -d {_quoted(what)}" for word, what in row.words.items()]
        if row.names:
            lines.append(f"{inside} -a {_quoted(f'({row.names})')}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    """*text* for a shell, in single quotes."""
    return "'" + text.replace("'", "'\\''") + "'"


_WRITERS: dict[str, Callable[[list[Row]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}
