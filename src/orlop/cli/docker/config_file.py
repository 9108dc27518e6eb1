"""~/.docker/config.json: formats of listings, and who the user is at registries."""

from __future__ import annotations

import os

from orlop.cli.docker.failure import Failure
from orlop.cli.json_text import decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.session import Object

FILE_NAME = "config.json"
LIMIT_BYTES = 1 << 20


def read_config(directory: str) -> Object:
    """The object in *directory*/config.json; empty if there is no such file.

    Raises:
        Failure: it cannot be read or is no JSON object.
    """
    path = os.path.join(directory, FILE_NAME)
    try:
        with open(path, "rb") as file:
            value = decode(file.read(LIMIT_BYTES))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise Failure(f"WARNING: Error loading config file: {path}: {error}") from None
    if not isinstance(value, dict):
        raise Failure(f"WARNING: Error loading config file: {path}: no JSON object")
    return value


def write_config(directory: str, config: Object) -> None:
    """Put *config* in place of the file, whole or not at all; only the user may read it."""
    from json import dumps

    os.makedirs(directory, 0o700, exist_ok=True)
    path = os.path.realpath(os.path.join(directory, FILE_NAME))
    temporary = f"{path}.{os.getpid()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(dumps(config, indent="\t"))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
