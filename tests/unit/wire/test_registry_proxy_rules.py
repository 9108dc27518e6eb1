"""Which proxy a request goes through."""

from __future__ import annotations

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.proxies import Proxies, without_password
from orlop.wire.registry.proxy_rules import (
    check_proxy,
    choose,
    from_environment,
    parse_proxies,
)

PROXIES = Proxies(http="http://plain:3128", https="http://secure:3128")


def test_by_scheme() -> None:
    assert choose(PROXIES, "http://registry.example/v2/") == "http://plain:3128"
    assert choose(PROXIES, "https://registry.example/v2/") == "http://secure:3128"
    assert choose(Proxies(http="http://plain"), "https://registry.example") == ""


@pytest.mark.parametrize("host", ["localhost", "127.0.0.9:5000", "[::1]:5000"])
def test_this_machine_is_asked_directly(host: str) -> None:
    assert choose(PROXIES, f"http://{host}/") == ""


@pytest.mark.parametrize(
    ("item", "url", "direct"),
    [
        ("*", "https://a.example", True),
        ("example", "https://a.example", True),
        ("a.example", "https://a.example", True),
        ("A.Example", "https://a.example/x", True),
        ("b.example", "https://a.example", False),
        ("example", "https://notexample", False),
        (".example", "https://a.example", True),
        (".a.example", "https://a.example", False),
        ("*.example", "https://a.example", True),
        ("a.example:443", "https://a.example", True),
        ("a.example:5000", "https://a.example", False),
        ("a.example:5000", "http://a.example:5000", True),
        ("10.0.0.0/8", "http://10.1.2.3:5000", True),
        ("10.0.0.0/8", "http://11.1.2.3", False),
        ("10.0.0.0/8", "http://name", False),
        ("10.1.2.3", "http://10.1.2.3", True),
        ("2.3", "http://10.1.2.3", False),
        ("fd00::1", "http://[fd00::1]:80", True),
        ("[fd00::1]:81", "http://[fd00::1]:80", False),
        ("nonsense/x", "http://a.example", False),
        ("x, a.example ,,", "http://a.example", True),
    ],
)
def test_what_is_asked_without(item: str, url: str, direct: bool) -> None:
    found = parse_proxies("http://p:1", "http://p:1", [item])
    assert choose(found, url) == ("" if direct else "http://p:1")


def test_environment_in_either_case() -> None:
    found = from_environment({"http_proxy": "p:1", "HTTPS_PROXY": "http://q", "no_proxy": "a,b"})
    assert found == Proxies(http="http://p:1", https="http://q", none=("a", "b"))
    assert from_environment({}) == Proxies()


@pytest.mark.parametrize("text", ["socks5://p:1", "https://p", "http://", "http://p:x", "a b"])
def test_other_proxies_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        check_proxy(text)


def test_passwords_are_not_shown() -> None:
    assert without_password("http://me:secret@proxy:1/") == "http://xxxxx:xxxxx@proxy:1/"
    assert without_password("http://proxy:1") == "http://proxy:1"
    for wrong in ("socks5://me:secret@proxy", "me:secret@pro xy:1", "http://me:secret@proxy:x"):
        with pytest.raises(InvalidArgument) as caught:
            check_proxy(wrong)
        assert "secret" not in str(caught.value)
