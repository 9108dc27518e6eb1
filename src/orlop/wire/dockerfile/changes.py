"""`docker commit --change`: instructions on a configuration, without a build."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.dockerfile import image_config, model
from orlop.wire.dockerfile.evaluate import expand
from orlop.wire.dockerfile.instructions import parse_instruction
from orlop.wire.dockerfile.source import located, read_source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.wire.dockerfile.image_config import ImageConfig

ALLOWED = frozenset(
    {
        "cmd",
        "entrypoint",
        "env",
        "expose",
        "healthcheck",
        "label",
        "onbuild",
        "stopsignal",
        "user",
        "volume",
        "workdir",
    }
)
MAX_CHANGES_CHARACTERS = 1 << 16


def apply_changes(config: ImageConfig, changes: Sequence[str]) -> ImageConfig:
    """*config* after *changes*, each one or more lines of a Dockerfile.

    Raises:
        InvalidArgument: an instruction that is wrong, or that needs a build.
    """
    text = "\n".join(changes)
    if not text.strip():
        return config
    if len(text) > MAX_CHANGES_CHARACTERS:
        raise InvalidArgument(f"changes of more than {MAX_CHANGES_CHARACTERS} characters")
    source = read_source(text)
    for statement in source.statements:
        if statement.keyword not in ALLOWED:
            raise InvalidArgument(f"{statement.keyword} is not a valid change command")
    command_is_set = False
    for statement in source.statements:
        try:
            instruction = parse_instruction(statement)
            instruction = expand(instruction, config.environment_map(), source.escape)
            config, _ = image_config.apply(config, instruction, command_is_set=command_is_set)
        except InvalidArgument as error:
            raise located(statement.line, error) from error
        command_is_set = command_is_set or isinstance(instruction, model.Cmd)
    return config
