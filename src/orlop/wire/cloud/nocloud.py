"""NoCloud: files called user-data, meta-data and network-config, on a disk or below a URL.

Where they are is told by a disk's label (`cidata`), or by `ds=nocloud;s=URL;h=NAME;i=ID` on the
kernel command line or as the firmware's serial number.
Source: cloud-init's document "NoCloud".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.cloud.answer import Answer
from orlop.wire.cloud.conversation import NoAnswer, get_optional
from orlop.wire.cloud.netplan import parse_network_config
from orlop.wire.cloud.nics import to_network
from orlop.wire.cloud.values import items, lines, mapping, text
from orlop.wire.located_yaml import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.cloud.conversation import Conversation, Surroundings

USER_DATA, META_DATA, NETWORK_CONFIG = "user-data", "meta-data", "network-config"
DEFAULT_INSTANCE_ID = "nocloud"


def converse(around: Surroundings) -> Conversation:
    """Ask the server that the command line or the firmware names."""
    seed = around.kernel_seed
    url = seed.get("seedfrom", "")
    if not url.startswith(("http://", "https://")):
        raise NoAnswer(f"NoCloud's seed {url!r} is no http:// or https:// URL")
    # cloud-init puts the file's name behind it as it is: `?file=` is a use of that.
    meta_data = yield from get_optional(f"{url}{META_DATA}")
    user_data = yield from get_optional(f"{url}{USER_DATA}")
    network_config = yield from get_optional(f"{url}{NETWORK_CONFIG}")
    if not meta_data and not user_data:
        raise NoAnswer(f"there is neither {META_DATA} nor {USER_DATA} at {url}")
    return parse(meta_data, user_data, network_config, around.interfaces, seed)


def parse(
    meta_data: bytes,
    user_data: bytes,
    network_config: bytes,
    interfaces: Mapping[str, str],
    seed: Mapping[str, str] | None = None,
) -> Answer:
    """The answer in the three files; what *seed* says is stronger than the metadata."""
    seed = seed or {}
    problems: list[str] = []
    data = _document(META_DATA, meta_data, problems)
    found = parse_network_config(_document(NETWORK_CONFIG, network_config, problems))
    network, notes = to_network(found, interfaces)
    warnings = (*problems, *notes)
    keys = items(data, "public-keys") or list(mapping(data, "public-keys").values())
    if text(data, "seedfrom"):
        warnings += (f"{META_DATA}: seedfrom is not followed",)
    return Answer(
        "nocloud",
        seed.get("instance-id") or text(data, "instance-id") or DEFAULT_INSTANCE_ID,
        seed.get("local-hostname") or text(data, "local-hostname") or text(data, "hostname"),
        # A list, a text with a key per line, or a map of names to either.
        tuple(line for key in _flat(keys) for line in lines(key)),
        network,
        user_data,
        warnings=warnings,
    )


def yaml_document(name: str, data: bytes) -> object:
    """The document in *data*; None when it is empty.

    Raises:
        InvalidArgument: with file and line.
    """
    try:
        return parse_yaml(name, data.decode().removeprefix("\ufeff")).data
    except UnicodeDecodeError as error:
        raise InvalidArgument(f"{name}: not a text in UTF-8") from error


def _document(name: str, data: bytes, problems: list[str]) -> object:
    """As `yaml_document`; a broken file counts for nothing, and the others for what they say."""
    try:
        return yaml_document(name, data)
    except InvalidArgument as error:
        problems.append(str(error))
        return None


def _flat(values: list[object]) -> list[str]:
    found: list[str] = []
    for value in values:
        found += [str(item) for item in value] if isinstance(value, list) else [str(value)]
    return found
