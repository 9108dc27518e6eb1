"""What a data source said about this machine, in the one form that everything else here reads.

It is stored and handed from process to process as one JSON object, so that it is there whole or
not at all. Whoever reads one checks it again: the writer is a process without privileges.
"""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.cloud.values import number, parse_json_map, text, texts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.compose_model import Json

MAX_USER_DATA_BYTES = 1 << 20
MAX_INCLUDES = 16
MAX_INCLUDED_BYTES = 3 << 20
"""All together: with the user data, and in base64, they fit into an answer."""
MAX_ANSWER_BYTES = 8 << 20
MAX_WARNINGS = 50


@dataclass(frozen=True, slots=True)
class Answer:
    """One source's answer. *source* empty: none has answered, and *warnings* says why.

    *instance_id* changes when the machine is to be taken for a new one. *network* is what belongs
    under `orlop.network`. *included* holds what `#include` lines of the user data name, by URL.
    *machine* tells machines apart, so that a copied disk does not bring another's answer along.
    """

    source: str
    instance_id: str = ""
    hostname: str = ""
    ssh_keys: tuple[str, ...] = ()
    network: Mapping[str, Json] = field(default_factory=dict)
    user_data: bytes = b""
    included: Mapping[str, bytes] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    machine: str = ""
    place: str = ""
    took_ms: int = 0

    def warn(self, *more: str) -> Answer:
        """This answer with *more* warnings."""
        return replace(self, warnings=(*self.warnings, *more)[:MAX_WARNINGS])


def encode(answer: Answer) -> bytes:
    """*answer* as JSON, with sorted keys: equal answers are equal bytes."""
    data = asdict(answer)
    data["user_data"] = base64.b64encode(answer.user_data).decode()
    data["included"] = {
        url: base64.b64encode(content).decode() for url, content in answer.included.items()
    }
    return json.dumps(data, indent=1, sort_keys=True).encode() + b"\n"


def decode(data: bytes) -> Answer:
    """The answer in *data*.

    Raises:
        InvalidArgument: it is none, or too long.
    """
    if len(data) > MAX_ANSWER_BYTES:
        raise InvalidArgument(
            f"the answer of a data source is longer than {MAX_ANSWER_BYTES} bytes"
        )
    found = parse_json_map("the answer of a data source", data)
    network, included = found.get("network"), found.get("included")
    return Answer(
        source=text(found, "source"),
        instance_id=text(found, "instance_id"),
        hostname=text(found, "hostname"),
        ssh_keys=tuple(texts(found, "ssh_keys")),
        network=network if isinstance(network, dict) else {},
        user_data=_bytes(found.get("user_data")),
        included={
            str(url): _bytes(content)
            for url, content in (included.items() if isinstance(included, dict) else ())
        },
        warnings=tuple(texts(found, "warnings"))[:MAX_WARNINGS],
        machine=text(found, "machine"),
        place=text(found, "place"),
        took_ms=number(found, "took_ms") or 0,
    )


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(value if isinstance(value, str) else "", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidArgument(f"the answer of a data source is damaged: {error}") from error
