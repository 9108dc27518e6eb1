"""A whole Dockerfile: statements grouped into stages, and which of them a target needs."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile import model
from orlop.wire.dockerfile.instructions import parse_instruction, parse_trigger
from orlop.wire.dockerfile.source import Source, decode, located, read_source

MAX_STEPS = 10_000


def parse_dockerfile(data: bytes) -> model.Dockerfile:
    """The Dockerfile in *data*.

    Raises:
        InvalidArgument: with the line and what is wrong there.
    """
    return group(read_source(decode(data)))


def group(source: Source) -> model.Dockerfile:
    """Stages of *source*.

    Raises:
        InvalidArgument: as `parse_dockerfile`.
    """
    if len(source.statements) > MAX_STEPS:
        raise InvalidArgument(f"the Dockerfile has more than {MAX_STEPS} instructions")
    arguments: list[model.Step] = []
    heads: list[tuple[model.Step, model.From]] = []
    bodies: list[list[model.Step]] = []
    for statement in source.statements:
        try:
            instruction = parse_instruction(statement)
            if isinstance(instruction, model.Onbuild):
                parse_trigger(instruction.trigger)
        except InvalidArgument as error:
            raise located(statement.line, error) from error
        step = model.Step(statement.line, statement.text, instruction)
        if isinstance(instruction, model.From):
            heads.append((step, instruction))
            bodies.append([])
        elif bodies:
            bodies[-1].append(step)
        elif isinstance(instruction, model.Arg):
            arguments.append(step)
        else:
            outside = InvalidArgument("no build stage in current context")
            raise located(statement.line, outside)
    if not heads:
        raise InvalidArgument("no build stage in current context: a FROM is needed")
    stages = tuple(
        model.Stage(head.line, head.text, base, tuple(body))
        for (head, base), body in zip(heads, bodies, strict=True)
    )
    _check_names(stages)
    return model.Dockerfile(tuple(arguments), stages, source.escape, source.warnings)


def _check_names(stages: tuple[model.Stage, ...]) -> None:
    seen: set[str] = set()
    for stage in stages:
        if stage.base.name and stage.base.name in seen:
            error = InvalidArgument(f"{stage.base.name} stage name already used")
            raise located(stage.line, error)
        seen.add(stage.base.name)
