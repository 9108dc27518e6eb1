"""An image's configuration is parsed or refused as invalid."""

from __future__ import annotations

import json

from orlop.lib.errors import InvalidArgument
from orlop.wire.image_config import parse_config

_DIGEST = "sha256:" + "cd" * 32
_FIELDS = {"Env": ["A=b"], "Cmd": ["sh"], "Volumes": {"/v": {}}, "ExposedPorts": {"80/tcp": {}}}
SEEDS = (
    json.dumps(
        {
            "config": _FIELDS,
            "rootfs": {"type": "layers", "diff_ids": [_DIGEST]},
            "history": [{"created_by": "x", "empty_layer": True}],
        }
    ).encode(),
    b'{"config": null, "rootfs": {"type": "layers", "diff_ids": []}}',
    b'{"config": {"Healthcheck": {"Test": ["CMD", "x"], "Interval": 1}, "StopSignal": "9"}}',
)
TOKENS = (b"null", b"[]", b"{}", b'""', b"-1", b"1e400", b"[" * 50, b'"Env":', b"true", b"\\u0000")


def check(data: bytes) -> None:
    try:
        parse_config(data)
    except InvalidArgument:
        return
