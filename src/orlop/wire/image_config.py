"""Image configurations: bytes to checked values. No I/O.

Everything is bounded: these documents come from anybody. A field that is not looked at here is
passed on as it is. Manifests are in `wire.registry.manifest`.

Source: OCI image specification 1.1, `config.md`, and the fields Docker adds.
"""

from __future__ import annotations

import json

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.reference import is_digest

MAX_DOCUMENT_BYTES = 4 << 20
"""dockerd takes manifests up to this."""

MAX_LAYERS = 500
"""As many directories as an overlay mount takes."""

MAX_DEPTH = 32


def parse_document(data: bytes, what: str) -> dict[str, object]:
    """A JSON object of bounded size and depth.

    Raises:
        InvalidArgument: it is none.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise InvalidArgument(f"invalid {what}: larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"invalid {what}: {error}") from error
    if not isinstance(value, dict) or _depth(value) > MAX_DEPTH:
        raise InvalidArgument(f"invalid {what}: not a JSON object, or too deep")
    return value


def _depth(value: object) -> int:
    level: list[object] = [value]
    depth = 0
    while level and depth <= MAX_DEPTH:
        depth += 1
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = [item for item in below if isinstance(item, (dict, list))]
    return depth


def parse_config(data: bytes) -> tuple[dict[str, object], tuple[str, ...]]:
    """An image's configuration, with what the engine reads of it checked, and its diff ids.

    Raises:
        InvalidArgument: with the field.
    """
    document = parse_document(data, "image configuration")
    rootfs = document.get("rootfs")
    if rootfs is not None and not isinstance(rootfs, dict):
        raise InvalidArgument("invalid image configuration: rootfs")
    diff_ids = rootfs.get("diff_ids") if rootfs else None
    if diff_ids is None:
        diff_ids = []
    if not isinstance(diff_ids, list) or len(diff_ids) > MAX_LAYERS:
        raise InvalidArgument("invalid image configuration: rootfs.diff_ids")
    if not all(isinstance(item, str) and is_digest(item) for item in diff_ids):
        raise InvalidArgument("invalid image configuration: rootfs.diff_ids holds no digests")
    for key in ("architecture", "os", "created", "author", "variant", "comment", "docker_version"):
        if not isinstance(document.get(key) or "", str):
            raise InvalidArgument(f"invalid image configuration: {key}")
    history = document.get("history")
    if history is not None and (
        not isinstance(history, list) or not all(isinstance(item, dict) for item in history)
    ):
        raise InvalidArgument("invalid image configuration: history")
    check_container_config(document.get("config"))
    return document, tuple(diff_ids)


def check_container_config(config: object) -> None:
    """Check the types in the `config` of an image; None is an empty one.

    Raises:
        InvalidArgument: with the field.
    """
    if config is None:
        return
    if not isinstance(config, dict):
        raise InvalidArgument("invalid image configuration: config")
    for key, fits in _FIELDS.items():
        value = config.get(key)
        if value is not None and not fits(value):
            raise InvalidArgument(f"invalid image configuration: config.{key}")
    _check_health(config.get("Healthcheck"))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_command(value: object) -> bool:
    return isinstance(value, str) or _is_list(value)


def _is_map(value: object) -> bool:
    return isinstance(value, dict)


def _is_text_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


_FIELDS = {
    **dict.fromkeys(("User", "WorkingDir", "StopSignal", "Hostname", "Domainname"), _is_text),
    **dict.fromkeys(("Env", "OnBuild", "Shell"), _is_list),
    **dict.fromkeys(("Cmd", "Entrypoint"), _is_command),
    **dict.fromkeys(("ExposedPorts", "Volumes"), _is_map),
    "Labels": _is_text_map,
}


def _check_health(check: object) -> None:
    if check is None:
        return
    if not isinstance(check, dict):
        raise InvalidArgument("invalid image configuration: config.Healthcheck")
    test = check.get("Test") or []
    if not isinstance(test, list) or not all(isinstance(item, str) for item in test):
        raise InvalidArgument("invalid image configuration: config.Healthcheck")
    for key in ("Interval", "Timeout", "StartPeriod", "StartInterval", "Retries"):
        if not isinstance(check.get(key) or 0, int):
            raise InvalidArgument(f"invalid image configuration: config.Healthcheck.{key}")
