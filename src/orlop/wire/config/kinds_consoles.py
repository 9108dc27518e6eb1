"""What the configuration keys of consoles, engines and recovery may be; see `kinds`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.lib.password_hash import is_hash
from orlop.wire.config.kinds import Kind
from orlop.wire.registry.reference import parse_reference

if TYPE_CHECKING:
    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields


def _console(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    try:
        parse_reference(text)
    except InvalidArgument as error:
        fields.fail(key, f"must be default or the name of an image: {error}")
    return text


CONSOLE = Kind("`default`, or the name of an image", {"type": "string"}, _console)


def _engine(fields: Fields, key: str) -> Json:
    """RancherOS's engines are called `docker-19.03.11` and the like."""
    text = str(_console(fields, key))
    return "docker" if text.startswith("docker-") else text


ENGINE = Kind("`orlop`, or the name of an image", {"type": "string"}, _engine)


def _recovery(fields: Fields, key: str) -> Json:
    text = fields.string(key)
    if not is_hash(text):
        fields.fail(key, "must be what `orlop recovery hash` prints")
    return text


RECOVERY = Kind("what `orlop recovery hash` prints", {"type": "string"}, _recovery)
