"""References as github.com/distribution/reference parses them."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.registry.reference import (
    Reference,
    check_digest,
    is_identifier,
    parse_reference,
    short_id,
)

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("team/app", "docker.io/team/app", "team/app"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:x", "localhost:5000/app:x", "localhost:5000/app:x"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("registry.example/app", "registry.example/app", "registry.example/app"),
        ("Upper/app", "Upper/app", "Upper/app"),
        (f"a@{DIGEST}", f"docker.io/library/a@{DIGEST}", f"a@{DIGEST}"),
        (f"a:t@{DIGEST}", f"docker.io/library/a:t@{DIGEST}", f"a:t@{DIGEST}"),
        ("a__b--c.d", "docker.io/library/a__b--c.d", "a__b--c.d"),
        ("library/x/y", "docker.io/library/x/y", "library/x/y"),
    ],
)
def test_parse(text: str, canonical: str, familiar: str) -> None:
    reference = parse_reference(text)

    assert str(reference) == canonical
    assert reference.familiar == familiar
    assert parse_reference(canonical) == reference


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "invalid reference format"),
        (":tag", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a/-b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("a" * 2000, "invalid reference format"),
        ("https://x/y", "invalid reference format"),
        ("busybox:" + "t" * 129, "invalid reference format"),
        (
            "Busybox",
            "invalid reference format: repository name (library/Busybox) must be lowercase",
        ),
        ("x.y/App:1", "invalid reference format: repository name (App) must be lowercase"),
        (
            "ab" * 32,
            f"invalid repository name ({'ab' * 32}), cannot specify 64-byte hexadecimal strings",
        ),
        ("x.y/" + "a" * 256, "repository name must not be more than 255 characters"),
        ("a@sha256:" + "0" * 63, "invalid checksum digest length"),
        ("a@md5:" + "0" * 32, "unsupported digest algorithm"),
        ("a@sha256:" + "A" * 64, "invalid checksum digest format"),
    ],
)
def test_parse_refuses(text: str, error: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_reference(text)

    assert str(caught.value) == error


def test_tags_and_digests_replace_each_other() -> None:
    name = parse_reference("app")

    assert name.is_name_only
    assert name.with_default_tag().tag == "latest"
    assert name.with_tag("1").with_digest(DIGEST) == Reference(
        "docker.io", "library/app", "", DIGEST
    )
    assert name.with_tag_or_digest(DIGEST).digest == DIGEST
    assert name.with_tag_or_digest("v1").tag == "v1"
    assert name.with_tag_or_digest("") == name
    with pytest.raises(InvalidArgument, match=r"^invalid tag format$"):
        name.with_tag(".x")


def test_identifiers() -> None:
    assert is_identifier("ab" * 32)
    assert is_identifier(DIGEST)
    assert not is_identifier("busybox")
    assert short_id(DIGEST) == "0123456789ab"
    assert check_digest(DIGEST) == DIGEST


def test_hostile_names_take_no_time() -> None:
    for text in ("a-" * 500, "a." * 500 + "!", "x" * 1000 + "@", "a/" * 500):
        with pytest.raises(InvalidArgument):
            parse_reference(text)
