"""A service definition is parsed or refused as invalid."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose import parse_service
from orlop.wire.located_yaml import parse_yaml

SEEDS = (
    b"image: busybox\ncommand: [sh, -c, 'true']\nenvironment: {A: b}\nrestart: on-failure:3\n",
    b"image: x\nvolumes:\n  - /a:/b:ro\n  - {type: tmpfs, target: /t, tmpfs: {size: 1m}}\n",
    b"image: x\nhealthcheck: {test: [CMD, 'true'], interval: 1m30s, retries: 3}\nmem_limit: 64m\n",
    b"image: x\nx-orlop: {stage: early}\ncap_add: [NET_ADMIN]\nulimits: {nofile: {soft: 1}}\n",
)
TOKENS = (
    *(b"&a", b"*a", b"!!int ", b": ", b"- ", b"[", b"]", b"{", b"}", b"\n  ", b"|", b"null", b"0x"),
    *(b"1e999", b"~", b"<<: ", b"? "),
)


def check(data: bytes) -> None:
    try:
        found = parse_yaml("fuzz.yml", data.decode("utf-8", errors="replace"))
        if isinstance(found.data, dict):
            parse_service("fuzz", found.data)
    except InvalidArgument:
        return
