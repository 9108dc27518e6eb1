"""What becomes of the services when another console or engine is chosen."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.system import consoles, engines
from orlop.wire.compose import parse_service
from orlop.wire.compose_model import ConfigDelivery
from orlop.wire.compose_values import Fields
from orlop.wire.config import kinds_consoles

if TYPE_CHECKING:
    from orlop.engine.images import Image
    from orlop.wire.config.kinds import Kind


def test_a_console_has_what_the_own_one_has() -> None:
    own = parse_service(
        "console",
        {"image": "console", "command": ["c"], "read_only": True, "cap_add": ["KILL"],
         "volumes": ["/var/lib/orlop/root:/root"], "pid": "host"},
    )  # fmt: skip
    made = consoles.define("debian:13", own)
    assert (made.name, made.image, made.read_only) == ("shell", "debian:13", False)
    assert made.entrypoint == ("/bin/sh",)
    assert (made.cap_add, made.pid_mode) == (own.cap_add, "host")
    assert made.mounts[:-1] == own.mounts
    assert (made.mounts[-1].target, made.mounts[-1].read_only) == (consoles.BASE, True)


def test_dockerd_is_behind_the_same_interface() -> None:
    own = parse_service(
        "engine",
        {"image": "engine", "command": ["e"], "cgroup": "host",
         "volumes": ["/var:/var:rslave", "/run/orlop/user:/run/orlop/user:rshared"],
         "x-orlop": {"config": "restart"}},
    )  # fmt: skip
    made = engines.define("docker:26", own)
    assert (made.name, made.image) == ("engine", "docker:26")
    assert made.config is ConfigDelivery.NONE
    assert made.cgroupns_mode == "host"
    words = (*(made.entrypoint or ()), *made.command)
    assert f"--host=unix://{engines.SOCKET}" in words
    assert "--cgroup-parent=/user" in words
    targets = [mount.target for mount in made.mounts]
    assert "/var" in targets
    assert "/run/orlop/user" not in targets


@pytest.mark.parametrize(
    ("entrypoint", "command", "expected"),
    [
        ((), ("/usr/sbin/dockerd",), True),
        (("dockerd",), ("--debug",), True),
        ((), ("sh", "-c", "dockerd"), False),
        ((), (), False),
    ],
)
def test_images_with_an_engine(
    entrypoint: tuple[str, ...], command: tuple[str, ...], expected: bool
) -> None:
    image = cast("Image", SimpleNamespace(entrypoint=entrypoint, command=command))
    assert engines.is_engine(image) is expected


def test_names_in_the_configuration() -> None:
    def check(kind: Kind, text: str) -> object:
        return kind.check(Fields("", {"key": text}), "key")

    assert check(kinds_consoles.CONSOLE, "debian:13") == "debian:13"
    assert check(kinds_consoles.ENGINE, "docker-19.03.11") == "docker"
    assert check(kinds_consoles.ENGINE, "orlop") == "orlop"
    with pytest.raises(InvalidArgument, match="name of an image"):
        check(kinds_consoles.CONSOLE, "No Image")
