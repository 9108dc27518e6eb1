"""The roots of one build: the base and the service images in it, from what is under ``os/``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from orlop.image.contents import ImageContents, read_contents
from orlop.lib.errors import InvalidArgument
from orlop.wire.compose import parse_services, to_json
from orlop.wire.located_yaml import parse_yaml

IMAGES_FOLDER = "/usr/lib/orlop/images"


@dataclass(frozen=True, slots=True)
class Image:
    """One root: its description, the folder with its own files, and its service if it has one."""

    name: str
    contents: ImageContents
    overlay: Path
    service: bytes | None = None

    @property
    def prefix(self) -> str:
        """Where this root is in the base root; empty for the base itself."""
        return f"{IMAGES_FOLDER}/{self.name}/rootfs" if self.name else ""


def read_images(checkout: Path) -> tuple[Image, ...]:
    """The base root (with an empty name) first, then the service images by name.

    Raises:
        InvalidArgument: a description or a service definition is not valid.
    """
    root = checkout / "os/root"
    base = Image("", read_contents(root / "image.toml"), root / "rootfs")
    folders = sorted(path for path in (checkout / "os/services").iterdir() if path.is_dir())
    services = (
        Image(
            folder.name,
            read_contents(folder / "image.toml"),
            folder / "rootfs",
            read_service(folder / "service.yml", folder.name),
        )
        for folder in folders
    )
    return (base, *services)


def read_service(path: Path, name: str) -> bytes:
    """The definition in *path*, which is of the one service *name*, as the JSON PID 1 reads."""
    document = parse_yaml(str(path), path.read_text(encoding="utf-8"))
    if not isinstance(document.data, Mapping):
        raise InvalidArgument(f"{path}: want a mapping with `services`")
    services = parse_services(document.data, document.locate)
    if [service.name for service in services] != [name]:
        raise InvalidArgument(f"{path}: want exactly one service, {name}")
    return (json.dumps(to_json(services[0]), indent=1, sort_keys=True) + "\n").encode()
