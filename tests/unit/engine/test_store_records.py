"""What the store writes it reads again; times, chains and configurations made here."""

import json

import pytest

from orlop.engine.store import child_image
from orlop.engine.store.chains import chain_ids
from orlop.engine.store.image_view import to_image
from orlop.engine.store.records import (
    BlobRecord,
    ImageRecord,
    LayerRecord,
    ManifestRecord,
    image_from,
    layer_from,
    parse_created,
)
from orlop.lib.errors import Internal

A, B = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"


def test_records_come_back() -> None:
    layer = LayerRecord(A, 1, 2, 3, 4, 5)
    image = ImageRecord(
        id=A,
        layers=(B,),
        config={"created": "2024-01-02T03:04:05.5Z", "config": {"Cmd": ["x"]}},
        manifest=ManifestRecord(B, 7, "type", (BlobRecord(A, 8, "t"),)),
        parent=B,
        added_ns=9,
        removed=True,
    )

    assert layer_from(json.loads(json.dumps(layer.to_json()))) == layer
    assert image_from(json.loads(json.dumps(image.to_json()))) == image
    assert image.section() == {"Cmd": ["x"]}


@pytest.mark.parametrize("data", [{}, {"diff_id": A}, {"id": A, "layers": 5, "config": {}}])
def test_damaged_records_are_told(data: dict[str, object]) -> None:
    with pytest.raises(Internal):
        layer_from(data)
    with pytest.raises(Internal):
        image_from(data)


@pytest.mark.parametrize(
    ("text", "time_ns"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("2024-05-06T07:08:09.123456789Z", 1_714_979_289_123_456_789),
        ("2024-05-06T09:08:09.1+02:00", 1_714_979_289_100_000_000),
        ("0001-01-01T00:00:00Z", 0),
        ("yesterday", 0),
        (None, 0),
        ("2024-05-06T07:08:09", 0),
    ],
)
def test_times(text: object, time_ns: int) -> None:
    assert parse_created(text) == time_ns


def test_chains() -> None:
    # printf '%s %s' A B | sha256sum
    second = "sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c"

    assert chain_ids([A, B]) == [A, second]
    assert chain_ids([A]) == [A]
    assert chain_ids([]) == []


def test_a_child_without_changes_has_no_layer_of_its_own() -> None:
    parent = {"rootfs": {"diff_ids": [A]}, "history": [{"created_by": "x"}], "architecture": "arm"}

    def make(diff_id: str) -> dict[str, object]:
        data = child_image.child_config(
            parent, diff_id=diff_id, config={}, entry={"comment": "c", "author": ""},
            created="2024-01-01T00:00:00Z", platform={"os": "linux", "architecture": "amd64"},
            version="1",
        )  # fmt: skip
        document: dict[str, object] = json.loads(data)
        return document

    same, more = make(child_image.EMPTY_LAYER), make(B)

    assert same["rootfs"] == {"type": "layers", "diff_ids": [A]}
    assert more["rootfs"] == {"type": "layers", "diff_ids": [A, B]}
    assert same["history"] == [
        {"created_by": "x"},
        {"created": "2024-01-01T00:00:00Z", "comment": "c", "empty_layer": True},
    ]
    assert (same["os"], same["architecture"]) == ("linux", "arm")


def test_merging_keeps_what_is_wanted() -> None:
    merged = child_image.merge_config(
        {"Env": ["A=1"], "Cmd": ["x"], "Labels": {"l": "new"}},
        {"Env": ["A=0", "B=2"], "Cmd": ["y"], "Entrypoint": ["e"], "Labels": {"l": "old", "m": "1"},
         "User": "u"},
    )  # fmt: skip

    assert merged["Env"] == ["A=1", "B=2"]
    assert (merged["Cmd"], merged["Entrypoint"], merged["User"]) == (["x"], ["e"], "u")
    assert merged["Labels"] == {"l": "new", "m": "1"}


def test_exposed_ports_of_an_image_are_ports() -> None:
    said = ("8080", "53/UDP", "80/tcp", "http/tcp", "1-2/tcp", "0", "9/x")
    section: dict[str, object] = {"ExposedPorts": {text: {} for text in said}}
    record = ImageRecord(id=A, layers=(), config={"config": section})
    image = to_image(record, lower=(), tags=(), digests=(), size_bytes=0, tagged_ns=0)
    assert image.exposed_ports == ("8080/tcp", "53/udp", "80/tcp")
