"""A service's part of the machine's configuration, as PID 1 hands it over.

PID 1 has parsed and checked it; a service only looks up what it knows. No file, or one that is not
readable JSON, means no settings: a service with its defaults is better than none.
"""

import json
import sys
from collections.abc import Mapping

SETTINGS_PATH = "/run/config.json"
MAX_SETTINGS_BYTES = 1 << 20


def read_settings(path: str = SETTINGS_PATH) -> Mapping[str, object]:
    """The object in the file at *path*; empty if there is none, with a word on stderr if it is
    broken."""
    try:
        with open(path, "rb") as stream:
            data = stream.read(MAX_SETTINGS_BYTES + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        print(f"cannot read {path}: {error}, ignoring", file=sys.stderr, flush=True)
        return {}
    try:
        settings = json.loads(data)
    except ValueError as error:
        print(f"cannot read {path}: {error}, ignoring", file=sys.stderr, flush=True)
        return {}
    return settings if isinstance(settings, dict) else {}


def text_setting(settings: Mapping[str, object], key: str) -> str:
    """The string at *key*; nothing if it is missing or something else."""
    value = settings.get(key)
    return value if isinstance(value, str) else ""


def list_setting(settings: Mapping[str, object], key: str) -> list[str]:
    """The strings of the list at *key*."""
    value = settings.get(key)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def map_setting(settings: Mapping[str, object], key: str) -> Mapping[str, object]:
    """The object at *key*."""
    value = settings.get(key)
    return value if isinstance(value, dict) else {}


def integer_setting(settings: Mapping[str, object], key: str, default: int) -> int:
    """The whole number at *key*, or *default*."""
    value = settings.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else default
