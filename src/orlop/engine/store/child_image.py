"""The configurations of images made here: by commit and import. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

EMPTY_LAYER = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
"""The digest of a tar with nothing in it: such a layer is left out."""


def child_config(
    parent: Mapping[str, Any],
    *,
    diff_id: str,
    config: Mapping[str, Any],
    entry: Mapping[str, Any],
    created: str,
    author: str = "",
    comment: str = "",
    platform: Mapping[str, str],
    version: str,
) -> bytes:
    """The configuration of an image with the layers of *parent* (empty: none) and *diff_id*.

    *entry* is its line in the history; *created* is RFC 3339; *platform* has os and architecture,
    for an image without a parent.
    """
    rootfs = parent.get("rootfs")
    diff_ids = list(rootfs.get("diff_ids") or []) if isinstance(rootfs, dict) else []
    history = list(parent.get("history") or [])
    line = {"created": created, **{key: value for key, value in entry.items() if value}}
    if diff_id == EMPTY_LAYER:
        line["empty_layer"] = True
    else:
        diff_ids.append(diff_id)
    document: dict[str, Any] = {
        "architecture": parent.get("architecture") or platform["architecture"],
        "config": dict(config),
        "created": created,
        "docker_version": version,
        "history": [*history, line],
        "os": parent.get("os") or platform["os"],
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    for key in ("variant", "os.version"):
        if parent.get(key):
            document[key] = parent[key]
    if author or parent.get("author"):
        document["author"] = author or parent["author"]
    if comment:
        document["comment"] = comment
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def merge_config(wanted: Mapping[str, Any], container: Mapping[str, Any]) -> dict[str, Any]:
    """*wanted*, with what it leaves open as the container has it; as dockerd's commit does."""
    merged = dict(wanted)
    for key in ("User", "WorkingDir", "StopSignal", "Healthcheck", "Shell", "OnBuild"):
        if not merged.get(key) and container.get(key):
            merged[key] = container[key]
    if not merged.get("Entrypoint"):
        if not merged.get("Cmd"):
            merged["Cmd"] = container.get("Cmd")
        merged["Entrypoint"] = container.get("Entrypoint")
    for key in ("ExposedPorts", "Labels", "Volumes"):
        both = {**(container.get(key) or {}), **(merged.get(key) or {})}
        if both:
            merged[key] = both
    present = {item.partition("=")[0] for item in merged.get("Env") or ()}
    inherited = [
        item for item in container.get("Env") or () if item.partition("=")[0] not in present
    ]
    merged["Env"] = [*(merged.get("Env") or ()), *inherited]
    return merged
