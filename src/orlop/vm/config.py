"""The machine configuration that a machine started here is given: the user's, and a way in."""

import yaml

from orlop.lib.errors import InvalidArgument

KEYS = "ssh_authorized_keys"


def merge(text: str, public_key: str, hostname: str, *, source: str = "--config") -> bytes:
    """The configuration in *text* (YAML, may be empty) with *public_key* allowed to log in.

    *hostname* is set unless the user's configuration sets one. What the guest thinks of the rest
    is its business: it checks every key.

    Raises:
        InvalidArgument: not YAML, or not a mapping, or its keys are no list.
    """
    try:
        value = yaml.safe_load(text) if text.strip() else {}
    except yaml.YAMLError as error:
        raise InvalidArgument(f"{source} is not YAML: {error}") from error
    if not isinstance(value, dict):
        raise InvalidArgument(f"{source} is not a mapping of keys to values")
    keys = value.get(KEYS) or []
    if not isinstance(keys, list):
        raise InvalidArgument(f"{source}: {KEYS} is not a list")
    merged = {"hostname": hostname} | value | {KEYS: [*keys, public_key.strip()]}
    text_merged: str = yaml.safe_dump(merged, sort_keys=False, allow_unicode=True)
    return text_merged.encode()
