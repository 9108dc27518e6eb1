"""Services that a release has replaced: by build, and with those of the image to fall back to."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from orlop.system.services.definitions import Definitions
from orlop.system.services.overlay import (
    Overlay,
    ServiceVersion,
    is_reference,
    parse_versions,
    read,
    reference,
    write,
)
from orlop.wire.compose import parse_service
from orlop.wire.registry.reference import parse_reference

if TYPE_CHECKING:
    from pathlib import Path

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32


def test_each_build_has_its_own(tmp_path: Path) -> None:
    path = tmp_path / "os/services.json"
    assert read(path, "one") == {}
    first = {"time": ServiceVersion(DIGEST, 2, handover=True, definition='{"image": "x"}')}
    write(path, "one", first, ["one"])
    write(path, "two", {"ssh": ServiceVersion(OTHER)}, ["one", "two"])
    assert read(path, "one") == first
    assert read(path, "two") == {"ssh": ServiceVersion(OTHER)}
    # A build that no generation has any more is forgotten, one without services has no entry.
    write(path, "two", {}, ["two"])
    assert json.loads(path.read_bytes()) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"one": 3}', '{"one": {"time": {}}}', "\0\xff"])
def test_what_cannot_be_read_is_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "services.json"
    path.write_text(text)
    assert read(path, "one") == {}


def test_what_a_later_version_has_written_is_left_out() -> None:
    assert parse_versions({"a": {"digest": DIGEST, "more": 1}}) == {"a": ServiceVersion(DIGEST)}


def test_references_are_names_of_images_that_no_registry_has() -> None:
    name = reference("time", DIGEST)
    assert is_reference(name)
    assert is_reference(parse_reference(name).familiar)
    assert not is_reference("time")


def definitions() -> Definitions:
    found = {name: parse_service(name, {"restart": "always"}) for name in ("time", "ssh")}
    return Definitions(found, dict.fromkeys(found, "/usr/lib/orlop/images"))


def overlay(*, there: bool) -> Overlay:
    found = Overlay(lambda _: there, "build")
    found.set("time", ServiceVersion(DIGEST))
    found.set("ssh", ServiceVersion("", 4))
    found.set("new", ServiceVersion(OTHER, definition='{"command": ["x"]}'))
    return found


def test_it_takes_the_place_of_what_the_image_has() -> None:
    found = definitions()
    overlay(there=True).add_to(found)
    assert found.problems == []
    assert found.services["time"].image == reference("time", DIGEST)
    assert found.services["time"].restart == definitions().services["time"].restart
    assert found.services["new"].command == ("x",)
    assert found.services["ssh"] == definitions().services["ssh"]
    assert found.sources["time"] != found.sources["ssh"]


def test_without_its_image_there_is_that_of_the_system() -> None:
    found = definitions()
    overlay(there=False).add_to(found)
    assert found.services == definitions().services
    assert [problem.partition(":")[0] for problem in found.problems] == [
        "service time",
        "service new",
    ]


def test_one_that_nobody_describes() -> None:
    found, one = definitions(), Overlay(lambda _: True, "build")
    one.set("ghost", ServiceVersion(DIGEST))
    one.set("broken", ServiceVersion(DIGEST, definition="{"))
    one.add_to(found)
    assert found.services == definitions().services
    assert len(found.problems) == 2
    assert (one.epoch("ghost"), one.epoch("nothing")) == (0, 0)
