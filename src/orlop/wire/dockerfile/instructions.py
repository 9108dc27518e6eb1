"""From statements to instructions: which arguments and flags each one takes.

Source: the Dockerfile reference; texts as BuildKit's frontend/dockerfile/instructions/parse.go.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.lib.units import parse_duration_s
from orlop.wire.dockerfile import model
from orlop.wire.dockerfile.flags import Flags, Kind, requires_buildkit
from orlop.wire.dockerfile.run_mounts import parse_mount
from orlop.wire.dockerfile.source import match_heredoc, read_source

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.wire.dockerfile.source import Statement

STAGE_NAME = re.compile(r"[a-z][a-z0-9-_.]*")
MIN_INTERVAL_NS = 1_000_000
MAX_RETRIES = (1 << 31) - 1
_NS = 1_000_000_000


def parse_instruction(statement: Statement) -> model.Instruction:
    """What *statement* says. *statement*'s line is not in the error: see `source.located`.

    Raises:
        InvalidArgument: unknown, or with arguments or flags that it does not take.
    """
    parse = _PARSERS.get(statement.keyword)
    if parse is None:
        close = _closest(statement.keyword)
        hint = f" (did you mean {close.upper()}?)" if close else ""
        raise InvalidArgument(f"unknown instruction: {statement.name[:80]}{hint}")
    return parse(statement)


def _closest(word: str) -> str:
    """An instruction that differs by at most two letters."""
    distances = [(_distance(word, name), name) for name in _PARSERS if len(word) < 20]
    best = min(distances, default=(9, ""))
    return best[1] if best[0] < 3 else ""


def _distance(left: str, right: str) -> int:
    row = list(range(len(right) + 1))
    for index, char in enumerate(left, 1):
        before, row[0] = row[0], index
        for column, other in enumerate(right, 1):
            before, row[column] = (
                row[column],
                min(row[column] + 1, row[column - 1] + 1, before + (char != other)),
            )
    return row[-1]


def _no_flags(statement: Statement) -> None:
    Flags(statement.flags, {})


def _one(statement: Statement) -> str:
    if len(statement.arguments) != 1:
        raise InvalidArgument(f"{statement.keyword.upper()} requires exactly one argument")
    _no_flags(statement)
    return statement.arguments[0]


def _some(statement: Statement) -> tuple[str, ...]:
    if not statement.arguments:
        raise InvalidArgument(f"{statement.keyword.upper()} requires at least one argument")
    return statement.arguments


def _from(statement: Statement) -> model.From:
    arguments = statement.arguments
    name = ""
    if len(arguments) == 3 and arguments[1].lower() == "as":
        name = arguments[2].lower()
        if STAGE_NAME.fullmatch(name) is None:
            raise InvalidArgument(
                f'invalid name for build stage: "{arguments[2]}", name can\'t start with a number '
                "or contain symbols"
            )
    elif len(arguments) != 1:
        raise InvalidArgument("FROM requires either one or three arguments")
    flags = Flags(statement.flags, {"platform": Kind.TEXT})
    return model.From(base=arguments[0], name=name, platform=flags.text("platform"))


def _command_line(statement: Statement) -> model.CommandLine:
    return model.CommandLine(statement.arguments, not statement.is_array, statement.heredocs)


_RUN_FLAGS = {
    "mount": Kind.TEXTS,
    "network": Kind.TEXT,
    "security": Kind.TEXT,
    "device": Kind.BUILDKIT,
}


def _run(statement: Statement) -> model.Run:
    flags = Flags(statement.flags, _RUN_FLAGS)
    network = flags.text("network") or "default"
    if network not in model.RunNetwork:
        raise InvalidArgument(f"invalid network mode {network[:80]}")
    security = flags.text("security")
    if security == "insecure":
        raise requires_buildkit("--security=insecure")
    if security not in ("", "sandbox"):
        raise InvalidArgument(f'security "{security[:80]}" is not valid')
    if statement.heredocs and statement.is_array:
        raise InvalidArgument("RUN cannot accept a heredoc with the array form")
    return model.Run(
        command=_command_line(statement),
        mounts=tuple(parse_mount(text) for text in flags.texts("mount")),
        network=model.RunNetwork(network),
    )


def _cmd(statement: Statement) -> model.Cmd:
    _no_flags(statement)
    return model.Cmd(_command_line(statement))


def _entrypoint(statement: Statement) -> model.Entrypoint:
    _no_flags(statement)
    return model.Entrypoint(_command_line(statement))


def _pairs(statement: Statement) -> tuple[tuple[str, str], ...]:
    _no_flags(statement)
    arguments = _some(statement)
    pairs = tuple(zip(arguments[::2], arguments[1::2], strict=True))
    if not all(name for name, _ in pairs):
        raise InvalidArgument(f"{statement.keyword.upper()} names can not be blank")
    return pairs


def _arg(statement: Statement) -> model.Arg:
    _no_flags(statement)
    pairs: list[tuple[str, str | None]] = []
    for word in _some(statement):
        name, equals, value = word.partition("=")
        if not name:
            raise InvalidArgument("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    return model.Arg(tuple(pairs))


def _expose(statement: Statement) -> model.Expose:
    _no_flags(statement)
    return model.Expose(tuple(sorted(_some(statement))))


_COPY_FLAGS = {
    "from": Kind.TEXT,
    "chown": Kind.TEXT,
    "chmod": Kind.TEXT,
    "link": Kind.SWITCH,
    "parents": Kind.SWITCH,
    "exclude": Kind.TEXTS,
}
_ADD_FLAGS = {
    "chown": Kind.TEXT,
    "chmod": Kind.TEXT,
    "link": Kind.SWITCH,
    "keep-git-dir": Kind.BUILDKIT,
    "checksum": Kind.TEXT,
    "exclude": Kind.TEXTS,
    "unpack": Kind.SWITCH,
}
_CHECKSUM = re.compile(r"sha256:[0-9a-f]{64}")
_GIT = re.compile(r"(?:git://|git@|ssh://)|https?://[^?#]*\.git(?:[?#]|$)")


def _copy(statement: Statement) -> model.Copy:
    keyword = statement.keyword.upper()
    if len(statement.arguments) < 2:
        raise InvalidArgument(
            f"{keyword} requires at least two arguments, but only one was provided. Destination "
            "could not be determined"
        )
    flags = Flags(statement.flags, _COPY_FLAGS if keyword == "COPY" else _ADD_FLAGS)
    *sources, destination = statement.arguments
    if match_heredoc(destination) is not None:
        raise InvalidArgument(f"{keyword} cannot accept a heredoc as a destination")
    checksum = flags.text("checksum")
    if checksum and _CHECKSUM.fullmatch(checksum) is None and "$" not in checksum:
        raise InvalidArgument(f"invalid checksum: {checksum[:100]}")
    if keyword == "ADD" and any(_GIT.match(source) for source in sources):
        raise requires_buildkit("ADD of a git repository")
    return model.Copy(
        keyword=keyword,
        # In an array, where no heredoc was read, it is a name like others.
        sources=tuple(
            source for source in sources if not statement.heredocs or match_heredoc(source) is None
        ),
        heredocs=statement.heredocs,
        destination=destination,
        from_=flags.text("from"),
        chown=flags.text("chown"),
        chmod=flags.text("chmod"),
        parents=flags.switch("parents"),
        exclude=flags.texts("exclude"),
        checksum=checksum,
        unpack=flags.switch("unpack") if flags.given("unpack") else None,
    )


def _volume(statement: Statement) -> model.Volume:
    _no_flags(statement)
    paths = tuple(path.strip() for path in _some(statement))
    if not all(paths):
        raise InvalidArgument("VOLUME specified can not be an empty string")
    return model.Volume(paths)


def _onbuild(statement: Statement) -> model.Onbuild:
    trigger = _some(statement)[0]
    for heredoc in statement.heredocs:
        trigger += f"\n{heredoc.content}{heredoc.name}"
    keyword = trigger.split(maxsplit=1)[0].upper()
    if keyword == "ONBUILD":
        raise InvalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if keyword in ("FROM", "MAINTAINER"):
        raise InvalidArgument(f"{keyword} isn't allowed as an ONBUILD trigger")
    return model.Onbuild(trigger)


def parse_trigger(trigger: str) -> model.Step:
    """The instruction that an image asks its children to begin with.

    Raises:
        InvalidArgument: it is not exactly one.
    """
    source = read_source(trigger)
    if len(source.statements) != 1:
        raise InvalidArgument("onbuild trigger should be a single expression")
    statement = source.statements[0]
    instruction = parse_instruction(statement)
    if isinstance(instruction, (model.From, model.Onbuild, model.Maintainer)):
        raise InvalidArgument(f"{statement.keyword.upper()} isn't allowed as an ONBUILD trigger")
    return model.Step(statement.line, statement.text, instruction)


_HEALTH_FLAGS = dict.fromkeys(
    ("interval", "timeout", "start-period", "start-interval", "retries"), Kind.TEXT
)


def _healthcheck(statement: Statement) -> model.Healthcheck:
    kind, *command = _some(statement)
    kind = kind.upper()
    if kind == "NONE":
        if command:
            raise InvalidArgument("HEALTHCHECK NONE takes no arguments")
        return model.Healthcheck(test=("NONE",))
    flags = Flags(statement.flags, _HEALTH_FLAGS)
    if kind != "CMD":
        raise InvalidArgument(f'Unknown type "{kind[:80]}" in HEALTHCHECK (try CMD)')
    if not command:
        raise InvalidArgument("Missing command after HEALTHCHECK CMD")
    return model.Healthcheck(
        test=("CMD" if statement.is_array else "CMD-SHELL", *command),
        interval_ns=_interval_ns(flags, "interval"),
        timeout_ns=_interval_ns(flags, "timeout"),
        start_period_ns=_interval_ns(flags, "start-period"),
        start_interval_ns=_interval_ns(flags, "start-interval"),
        retries=_retries(flags.text("retries")),
    )


def _interval_ns(flags: Flags, name: str) -> int:
    text = flags.text(name)
    if not text:
        return 0
    try:
        value_ns = round(parse_duration_s(text) * _NS)
    except InvalidArgument as error:
        raise InvalidArgument(f'time: invalid duration "{text[:80]}"') from error
    if 0 < value_ns < MIN_INTERVAL_NS:
        raise InvalidArgument(f'Interval "{name}" cannot be less than 1ms')
    return value_ns


def _retries(text: str) -> int:
    if not text:
        return 0
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text.removeprefix("+"))
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 10:
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text[:80]}": invalid syntax')
    if sign and int(digits):
        raise InvalidArgument(f"--retries cannot be negative ({text})")
    if int(digits) > MAX_RETRIES:
        raise InvalidArgument(f'strconv.ParseInt: parsing "{text}": value out of range')
    return int(digits)


def _shell(statement: Statement) -> model.Shell:
    _no_flags(statement)
    words = _some(statement)
    if not statement.is_array:
        raise InvalidArgument(
            f'SHELL requires the arguments to be in JSON form: "{statement.text[:200]}"'
        )
    return model.Shell(words)


_PARSERS: dict[str, Callable[[Statement], model.Instruction]] = {
    "add": _copy,
    "arg": _arg,
    "cmd": _cmd,
    "copy": _copy,
    "entrypoint": _entrypoint,
    "env": lambda statement: model.Env(_pairs(statement)),
    "expose": _expose,
    "from": _from,
    "healthcheck": _healthcheck,
    "label": lambda statement: model.Label(_pairs(statement)),
    "maintainer": lambda statement: model.Maintainer(_one(statement)),
    "onbuild": _onbuild,
    "run": _run,
    "shell": _shell,
    "stopsignal": lambda statement: model.StopSignal(_one(statement)),
    "user": lambda statement: model.User(_one(statement)),
    "volume": _volume,
    "workdir": lambda statement: model.Workdir(_one(statement)),
}
