"""Where a registry is asked, and how."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.endpoints import (
    OFFICIAL_REGISTRY,
    check_mirror,
    endpoint_hosts,
    host_only,
    parse_insecure,
    plan_endpoints,
)

MIRROR = "http://mirror.example:5000"


def test_official_images_come_from_mirrors_first() -> None:
    plan = plan_endpoints(
        "docker.io", [MIRROR], frozenset({"mirror.example:5000"}), with_mirrors=True
    )

    assert [(endpoint.url, endpoint.mirror) for endpoint in plan] == [
        (MIRROR, True),
        (OFFICIAL_REGISTRY, False),
    ]
    assert plan[0].insecure
    assert not plan[1].insecure
    pushes = plan_endpoints("docker.io", [MIRROR], frozenset(), with_mirrors=False)
    assert [endpoint.url for endpoint in pushes] == [OFFICIAL_REGISTRY]
    assert endpoint_hosts("docker.io", [MIRROR]) == ["mirror.example:5000"]


def test_plain_http_only_where_configured() -> None:
    host = "registry.example"

    secure = plan_endpoints(host, [MIRROR], frozenset(), with_mirrors=True)
    insecure = plan_endpoints(host, [MIRROR], frozenset({host}), with_mirrors=True)

    assert [(endpoint.url, endpoint.insecure) for endpoint in secure] == [
        ("https://registry.example", False)
    ]
    assert [(endpoint.url, endpoint.insecure) for endpoint in insecure] == [
        ("https://registry.example", True),
        ("http://registry.example", True),
    ]


def test_insecure_registries() -> None:
    insecure = parse_insecure(["http://a.example:5000", "10.1.0.0/16"])

    assert insecure.matches_host("a.example:5000")
    assert not insecure.matches_host("a.example")
    assert insecure.matches_address(["192.0.2.1", "10.1.2.3"])
    assert insecure.matches_address(["127.0.0.9"])
    assert insecure.matches_address(["::1"])
    assert not insecure.matches_address(["10.2.0.1", "fe80::1%eth0", "rubbish"])


@pytest.mark.parametrize("entry", ["ftp://a", "a b", "", "a/b"])
def test_insecure_registries_refused(entry: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^insecure registry {entry} "):
        parse_insecure([entry])


def test_mirrors() -> None:
    assert check_mirror("https://m.example/") == "https://m.example"
    for wrong in ("m.example", "ftp://m", "https://u:p@m", "https://m/?q", "https://m/#f"):
        with pytest.raises(InvalidArgument, match=r"^invalid mirror: "):
            check_mirror(wrong)
    with pytest.raises(InvalidArgument, match="is not a valid URI"):
        check_mirror("http://[m")


def test_host_only() -> None:
    assert host_only("a.example:5000") == "a.example"
    assert host_only("[::1]:5000") == "::1"
    assert host_only("a.example") == "a.example"
