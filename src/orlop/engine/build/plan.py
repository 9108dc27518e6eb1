"""Which stages a build needs, and what each is made from. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.docker.fields import quoted
from orlop.wire.dockerfile import model
from orlop.wire.dockerfile.evaluate import expand
from orlop.wire.dockerfile.source import located
from orlop.wire.dockerfile.substitute import substitute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.dockerfile.arguments import Arguments

SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage that is needed. *base* is a stage's index, or the name of an image or `scratch`."""

    index: int
    stage: model.Stage
    base: int | str
    platform: str = ""


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """Needed stages in the order of the file; the last is the target."""

    arguments: tuple[model.Step, ...]
    stages: tuple[PlannedStage, ...]
    escape: str
    names: Mapping[str, int]

    @property
    def step_count(self) -> int:
        """How many steps are counted: ARGs before the first FROM, FROMs, and what follows them."""
        return len(self.arguments) + sum(1 + len(stage.stage.steps) for stage in self.stages)


def plan_build(
    dockerfile: model.Dockerfile,
    arguments: Arguments,
    *,
    target: str = "",
    labels: tuple[tuple[str, str], ...] = (),
) -> BuildPlan:
    """Evaluate the global *arguments* and choose stages; *labels* are put on the target.

    Raises:
        InvalidArgument: no such target, or a stage is made from itself or a later one.
    """
    steps = [_global(step, arguments, dockerfile.escape) for step in dockerfile.arguments]
    names = {
        stage.base.name: index for index, stage in enumerate(dockerfile.stages) if stage.base.name
    }
    last = _target_index(target, names, len(dockerfile.stages))
    values = arguments.global_values()
    planned: dict[int, PlannedStage] = {}
    waiting = [last]
    while waiting:
        index = waiting.pop()
        if index in planned:
            continue
        stage = dockerfile.stages[index]
        try:
            planned[index] = _plan_stage(index, stage, names, values, dockerfile.escape)
        except InvalidArgument as error:
            raise located(stage.line, error) from error
        base = planned[index].base
        if isinstance(base, int):
            waiting.append(base)
        waiting += _sources(index, stage, names)
    stages = [planned[index] for index in sorted(planned)]
    if labels:
        stages[-1] = _with_labels(stages[-1], labels)
    return BuildPlan(tuple(steps), tuple(stages), dockerfile.escape, names)


def _global(step: model.Step, arguments: Arguments, escape: str) -> model.Step:
    try:
        instruction = expand(step.instruction, arguments.global_values(), escape)
    except InvalidArgument as error:
        raise located(step.line, error) from error
    if isinstance(instruction, model.Arg):
        for name, default in instruction.pairs:
            arguments.declare_global(name, default)
    return step


def _target_index(target: str, names: Mapping[str, int], count: int) -> int:
    if not target:
        return count - 1
    index = names.get(target.lower())
    if index is None and target.isascii() and target.isdigit() and int(target) < count:
        index = int(target)
    if index is None:
        raise InvalidArgument(f"target stage {quoted(target)} could not be found")
    return index


def _plan_stage(
    index: int,
    stage: model.Stage,
    names: Mapping[str, int],
    values: Mapping[str, str],
    escape: str,
) -> PlannedStage:
    base = substitute(stage.base.base, values, escape=escape)
    if not base:
        raise InvalidArgument(f"base name ({stage.base.base}) should not be blank")
    platform = substitute(stage.base.platform, values, escape=escape)
    earlier = names.get(base.lower())
    if earlier is not None and earlier < index:
        return PlannedStage(index, stage, earlier, platform)
    return PlannedStage(index, stage, base, platform)


def find_stage(name: str, names: Mapping[str, int], index: int) -> int | None:
    """The stage that `--from=NAME` means in stage *index*; None: an image.

    Raises:
        InvalidArgument: this stage itself, or one that comes later.
    """
    found = names.get(name.lower())
    if found is None and name.isascii() and name.isdigit():
        found = int(name)
        if found > index:
            raise InvalidArgument(f"invalid from flag value {name}: index out of bounds")
    if found is None or (found > index and not name.isdigit()):
        return None
    if found == index:
        raise InvalidArgument(f"invalid from flag value {name}: refers to current build stage")
    return found


def _sources(index: int, stage: model.Stage, names: Mapping[str, int]) -> list[int]:
    """Other stages that a stage copies or mounts from."""
    found: list[int] = []
    for step in stage.steps:
        match step.instruction:
            case model.Copy(from_=name) if name:
                wanted = [name]
            case model.Run(mounts=mounts):
                wanted = [mount.from_ for mount in mounts if mount.from_]
            case _:
                continue
        for name in wanted:
            try:
                other = find_stage(name, names, index)
            except InvalidArgument as error:
                raise located(step.line, error) from error
            if other is not None:
                found.append(other)
    return found


def _with_labels(planned: PlannedStage, labels: tuple[tuple[str, str], ...]) -> PlannedStage:
    stage = planned.stage
    line = stage.steps[-1].line if stage.steps else stage.line
    # One step each, as dockerd has them.
    steps = tuple(
        model.Step(line, f"LABEL {name}={value}", model.Label(((name, value),), literal=True))
        for name, value in labels
    )
    changed = model.Stage(stage.line, stage.text, stage.base, (*stage.steps, *steps))
    return PlannedStage(planned.index, changed, planned.base, planned.platform)
