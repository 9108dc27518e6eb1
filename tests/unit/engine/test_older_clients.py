"""What a create request means that speaks an older version of the API."""

from __future__ import annotations

from typing import Any

import pytest

from orlop.engine.api.older_clients import as_meant
from orlop.lib.errors import InvalidArgument

BODY: dict[str, Any] = {
    "Image": "x",
    "Healthcheck": {"Test": ["NONE"], "StartInterval": 1},
    "HostConfig": {
        "Annotations": {"a": "b"},
        "ConsoleSize": [1, 2],
        "Mounts": [
            {
                "Type": "bind",
                "ReadOnly": True,
                "BindOptions": {"NonRecursive": True, "CreateMountpoint": True},
            }
        ],
    },
}


def test_a_present_client_means_what_it_says() -> None:
    assert as_meant(BODY, (1, 45)) is BODY


def test_what_came_later_is_not_meant() -> None:
    assert as_meant(BODY, (1, 44)) == BODY
    meant = as_meant(BODY, (1, 43))
    assert meant["Healthcheck"] == {"Test": ["NONE"]}
    assert meant["HostConfig"]["Mounts"][0]["BindOptions"]["ReadOnlyNonRecursive"] is True
    assert "Annotations" in meant["HostConfig"]
    assert "Annotations" not in as_meant(BODY, (1, 42))["HostConfig"]
    meant = as_meant(BODY, (1, 39))
    assert meant["HostConfig"] == {
        "IpcMode": "shareable",
        "Mounts": [
            {"Type": "bind", "ReadOnly": True, "BindOptions": {"ReadOnlyNonRecursive": True}}
        ],
    }
    assert BODY["HostConfig"]["ConsoleSize"] == [1, 2]


@pytest.mark.parametrize(
    ("body", "version", "message"),
    [
        (
            {"HostConfig": {"Mounts": [{"Type": "volume", "VolumeOptions": {"Subpath": "a"}}]}},
            (1, 44),
            "VolumeOptions.Subpath needs API v1.45 or newer",
        ),
        (
            {"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}},
            (1, 43),
            "Container cannot be created with multiple network endpoints: a, b",
        ),
        (
            {
                "HostConfig": {
                    "Mounts": [{"Type": "bind", "BindOptions": {"ReadOnlyForceRecursive": True}}]
                }
            },
            (1, 43),
            "BindOptions.ReadOnlyForceRecursive needs API v1.44 or newer",
        ),
    ],
)
def test_what_a_version_does_not_have(
    body: dict[str, Any], version: tuple[int, int], message: str
) -> None:
    with pytest.raises(InvalidArgument) as caught:
        as_meant(body, version)
    assert str(caught.value) == message


def test_what_is_no_object_is_left_for_others_to_refuse() -> None:
    body: dict[str, Any] = {"HostConfig": [1], "Healthcheck": {}, "NetworkingConfig": "x"}
    assert as_meant(body, (1, 43)) == body


def test_names_may_be_in_any_case() -> None:
    body = {"image": "x", "hostconfig": {"ipcmode": "host", "annotations": {"a": "b"}}}
    assert as_meant(body, (1, 39)) == {"image": "x", "HostConfig": {"IpcMode": "host"}}
