"""Images as the Docker API shows them: lists, inspect, history. Pure."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from orlop.engine.api.render import health_check
from orlop.engine.api.times import to_text
from orlop.engine.store.chains import chain_ids
from orlop.engine.store.records import parse_created

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from orlop.engine.images import Image

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def render_image(image: Image, api_version: tuple[int, int] = (1, 47)) -> dict[str, Any]:
    """An element of `GET /images/json`."""
    tags, digests = list(image.tags), list(image.digests)
    if not tags and not digests and api_version < (1, 43):
        tags, digests = ["<none>:<none>"], ["<none>@<none>"]
    result: dict[str, Any] = {
        "Containers": -1,
        "Created": image.created_ns // 1_000_000_000,
        "Id": image.id,
        "Labels": dict(image.labels) or None,
        "ParentId": image.parent,
        "RepoDigests": digests,
        "RepoTags": tags,
        "SharedSize": -1,
        "Size": image.size_bytes,
    }
    if api_version < (1, 44):
        result["VirtualSize"] = image.size_bytes
    return result


def shared_sizes(images: Sequence[Image], layer_size: Callable[[str], int]) -> dict[str, int]:
    """For each image's id the bytes in layers that others of *images* have too."""
    counts: Counter[str] = Counter()
    for image in images:
        counts.update(set(chain_ids(image.layers)))
    result = {}
    for image in images:
        pairs = zip(chain_ids(image.layers), image.layers, strict=True)
        result[image.id] = sum(layer_size(diff) for chain, diff in pairs if counts[chain] > 1)
    return result


def layers_size(images: Iterable[Image], layer_size: Callable[[str], int]) -> int:
    """Bytes in all layers of *images*, each counted once."""
    return sum(layer_size(diff) for diff in {diff for image in images for diff in image.layers})


def inspect_image(image: Image, api_version: tuple[int, int] = (1, 47)) -> dict[str, Any]:
    """`GET /images/NAME/json`."""
    document = image.document
    machine = os.uname().machine
    result: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": list(image.tags),
        "RepoDigests": list(image.digests),
        "Parent": image.parent,
        "Comment": document.get("comment") or _last_comment(image),
        "Created": _created(image),
        "DockerVersion": document.get("docker_version") or "",
        "Author": document.get("author") or "",
        "Config": _config(image),
        "Architecture": document.get("architecture") or _MACHINES.get(machine, machine),
        "Os": document.get("os") or "linux",
        "Size": image.size_bytes,
        "GraphDriver": {"Name": "overlay2", "Data": _graph_data(image)},
        "RootFS": {"Type": "layers", "Layers": list(image.layers or (image.id,))},
        "Metadata": {"LastTagTime": to_text(image.tagged_ns)},
    }
    if document:
        result["RootFS"] = {"Type": "layers"}
        if image.layers:
            result["RootFS"]["Layers"] = list(image.layers)
    for key, field in (("Variant", "variant"), ("OsVersion", "os.version")):
        if document.get(field):
            result[key] = document[field]
    if api_version < (1, 44):
        result["VirtualSize"] = image.size_bytes
    if api_version < (1, 45):
        result |= {"Container": "", "ContainerConfig": None}
    return result


def _created(image: Image) -> str:
    text = image.document.get("created")
    if text:
        return str(text)
    return to_text(image.created_ns)


def _last_comment(image: Image) -> str:
    history = image.document.get("history")
    if isinstance(history, list) and history:
        comment = history[-1].get("comment")
        return comment if isinstance(comment, str) else ""
    return ""


def _graph_data(image: Image) -> dict[str, str]:
    data = {"UpperDir": str(image.lower[0])}
    if len(image.lower) > 1:
        data["LowerDir"] = ":".join(map(str, image.lower[1:]))
    return data


def _config(image: Image) -> dict[str, Any]:
    """Docker's `container.Config`, from the image's own where it has one."""
    own = image.document.get("config")
    raw: dict[str, Any] = own if isinstance(own, dict) else {}
    config: dict[str, Any] = {
        "Hostname": raw.get("Hostname") or "",
        "Domainname": raw.get("Domainname") or "",
        "User": image.user,
        "AttachStdin": False,
        "AttachStdout": False,
        "AttachStderr": False,
        "Tty": False,
        "OpenStdin": False,
        "StdinOnce": False,
        "Env": raw.get("Env") or [f"{key}={value}" for key, value in image.environment] or None,
        "Cmd": list(image.command) or None,
        "Image": raw.get("Image") or "",
        "Volumes": raw.get("Volumes") or None,
        "WorkingDir": image.working_dir,
        "Entrypoint": list(image.entrypoint) or None,
        "OnBuild": raw.get("OnBuild") or None,
        "Labels": dict(image.labels) or None,
    }
    if raw.get("ExposedPorts"):
        config["ExposedPorts"] = raw["ExposedPorts"]
    if image.stop_signal:
        config["StopSignal"] = image.stop_signal
    if raw.get("Shell"):
        config["Shell"] = raw["Shell"]
    if raw.get("ArgsEscaped"):
        config["ArgsEscaped"] = True
    if raw.get("Healthcheck"):
        config["Healthcheck"] = raw["Healthcheck"]
    elif image.healthcheck is not None:
        config["Healthcheck"] = health_check(image.healthcheck)
    return config


def history(
    image: Image, layer_size: Callable[[str], int], known: Mapping[str, Image]
) -> list[dict[str, Any]]:
    """`GET /images/NAME/history`, newest first. *known* has the images there are, by id."""
    entries = image.document.get("history")
    if not isinstance(entries, list):
        return [_entry(image, {"created_by": "part of the system image"}, image.size_bytes)]
    sizes = [layer_size(diff_id) for diff_id in image.layers]
    result = []
    for item in entries:
        # Entries and layers may disagree in number in images of careless tools.
        size = 0 if item.get("empty_layer") or not sizes else sizes.pop(0)
        result.append(_entry(image, item, size) | {"Id": "<missing>", "Tags": None})
    result.reverse()
    step: Image | None = image
    for entry in result:  # what was built here has the images of its steps
        if step is None:
            break
        entry |= {"Id": step.id, "Tags": list(step.tags) or None}
        step = known.get(step.parent)
    return result


def _entry(image: Image, item: dict[str, Any], size: int) -> dict[str, Any]:
    def text(key: str) -> str:
        value = item.get(key)
        return value if isinstance(value, str) else ""

    created_ns = parse_created(item.get("created"))
    if not created_ns and "created" not in item:
        created_ns = image.created_ns if not image.document else 0
    return {
        "Comment": text("comment"),
        "Created": created_ns // 1_000_000_000 if created_ns else _GO_ZERO_S,
        "CreatedBy": text("created_by"),
        "Id": image.id,
        "Size": size,
        "Tags": list(image.tags) or None,
    }


_GO_ZERO_S = -62135596800
"""What a Go time that was never set is in seconds since 1970."""
