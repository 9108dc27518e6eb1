"""Events, sizes and version rules of the general API, without a connection."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from orlop.engine.api import cluster, events
from orlop.engine.api.disk_usage import tree_size_bytes
from orlop.engine.api.filters import parse_filters
from orlop.engine.api.router import Router
from orlop.engine.events import Event
from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

DIE = Event(
    1_700_000_000_000_000_005,
    "container",
    "die",
    "f00d",
    {"image": "docker.io/library/web:1", "name": "shop-web-1", "exitCode": "0", "tier": "front"},
)
CHECKED = Event(1, "container", "health_status: healthy", "f00d", {"image": "web", "name": "web"})
PULLED = Event(2, "image", "pull", "web:1", {"name": "web"})
JOINED = Event(3, "network", "connect", "beef", {"name": "shop", "container": "f00d"})


@pytest.mark.parametrize(
    ("event", "filters", "passes"),
    [
        (DIE, "", True),
        (DIE, '{"type":["container"]}', True),
        (DIE, '{"type":["image"]}', False),
        (DIE, '{"event":{"die":true}}', True),
        (DIE, '{"event":["di"]}', False),
        (CHECKED, '{"event":["health_status"]}', True),
        (CHECKED, '{"event":["health_status: unhealthy"]}', False),
        (DIE, '{"container":["shop"]}', True),
        (DIE, '{"container":["f0"]}', True),
        (DIE, '{"container":["web"]}', False),
        (DIE, '{"image":["web"]}', True),
        (DIE, '{"image":["web:1"]}', False),
        (DIE, '{"image":["docker.io/library/web:1"]}', True),
        (PULLED, '{"image":["web:1"]}', True),
        (PULLED, '{"image":["other"]}', False),
        (DIE, '{"label":["tier=front"]}', True),
        (DIE, '{"label":["tier=back"]}', False),
        (JOINED, '{"network":["be"]}', True),
        (JOINED, '{"network":["shop"],"type":["network"]}', True),
        (JOINED, '{"volume":["data"]}', False),
        (DIE, '{"scope":["swarm"]}', False),
        (DIE, '{"nonsense":["x"]}', True),
    ],
)
def test_event_filters(event: Event, filters: str, passes: bool) -> None:
    assert events.matches(event, parse_filters(filters)) is passes


def test_an_event_has_old_and_new_fields() -> None:
    assert events.render(DIE) == {
        "status": "die",
        "id": "f00d",
        "from": "docker.io/library/web:1",
        "Type": "container",
        "Action": "die",
        "Actor": {"ID": "f00d", "Attributes": dict(DIE.attributes)},
        "scope": "local",
        "time": 1_700_000_000,
        "timeNano": 1_700_000_000_000_000_005,
    }
    assert {"status", "id"} <= events.render(PULLED).keys()
    assert not {"status", "id", "from"} & events.render(JOINED).keys()


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("web", "web"),
        ("web:1", "web"),
        ("docker.io/library/web:1", "web"),
        ("localhost:5000/a/b", "localhost:5000/a/b"),
        ("localhost:5000/a/b:2@sha256:00", "localhost:5000/a/b"),
    ],
)
def test_a_reference_without_its_tag(reference: str, name: str) -> None:
    assert events.without_tag(reference) == name


def test_filters_that_are_no_filters() -> None:
    for text in ("[]", "{", '{"a":1}', '{"a":[1]}'):
        with pytest.raises(InvalidArgument, match="invalid filter"):
            parse_filters(text)


def test_size_of_a_tree(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below/one").write_bytes(b"x" * 1000)
    os.link(tmp_path / "below/one", tmp_path / "two")
    (tmp_path / "three").write_bytes(b"y" * 10)
    (tmp_path / "link").symlink_to("below/one")
    assert tree_size_bytes(tmp_path) == 1010 + len("below/one")
    assert tree_size_bytes(tmp_path / "absent") == 0


def test_the_cluster_has_every_path_once() -> None:
    paths = [(route.method, route.pattern) for route in cluster.routes()]
    assert len(paths) == len(set(paths)) == 41
    Router(cluster.routes())
