"""The WWW-Authenticate header, whole and cut at every byte."""

import pytest

from orlop.wire.registry.challenge import Challenge, find_challenge, parse_challenges

BEARER = (
    'Bearer realm="https://auth.example/token",service="registry.example",'
    'scope="repository:a/b:pull,push"'
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (
            BEARER,
            [
                Challenge(
                    "bearer",
                    {
                        "realm": "https://auth.example/token",
                        "service": "registry.example",
                        "scope": "repository:a/b:pull,push",
                    },
                )
            ],
        ),
        ('Basic realm="Registry"', [Challenge("basic", {"realm": "Registry"})]),
        ("Negotiate", [Challenge("negotiate", {})]),
        (
            'Negotiate, Basic realm="x, y", Bearer realm=token , error="invalid_token"',
            [
                Challenge("negotiate", {}),
                Challenge("basic", {"realm": "x, y"}),
                Challenge("bearer", {"realm": "token", "error": "invalid_token"}),
            ],
        ),
        (r'Basic realm="a \"b\" \\ c"', [Challenge("basic", {"realm": r'a "b" \ c'})]),
        ("basic REALM=Foo, realm=bar", [Challenge("basic", {"realm": "Foo"})]),
        ('Basic realm="never ends', [Challenge("basic", {})]),
        ("", []),
        ("=,=;", []),
        ("x" * 9000, []),
    ],
)
def test_parse(header: str, expected: list[Challenge]) -> None:
    assert parse_challenges([header]) == expected


def test_every_prefix_is_taken_without_a_fuss() -> None:
    for end in range(len(BEARER)):
        parsed = parse_challenges([BEARER[:end]])

        # The beginning of a parameter's name reads as another scheme.
        assert len(parsed) <= 2
        assert all(BEARER.lower().startswith(challenge.scheme) for challenge in parsed[:1])
        for challenge in parsed:
            assert set(challenge.parameters) <= {"realm", "service", "scope"}


def test_several_headers_and_find() -> None:
    challenges = parse_challenges(["Basic realm=a", "Bearer realm=b"])

    found = find_challenge(challenges, "bearer")

    assert found is not None
    assert found.parameters == {"realm": "b"}
    assert find_challenge(challenges, "digest") is None
