"""`orlop console`: what is listed, and how images are named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.cli import console

if TYPE_CHECKING:
    from orlop.cli.answers import Object


def test_what_is_listed() -> None:
    answer: Object = {
        "name": "debian",
        "enabled": "alpine:3",
        "state": "running",
        "reason": "",
        "images": ["catalogue.internal/debian:latest", "alpine:3", "fedora:42"],
    }
    assert console.rows(answer) == [
        ("default", "available", ""),
        ("debian", "current", "until the next boot"),
        ("alpine:3", "enabled", "from the next boot on"),
        ("fedora:42", "available", ""),
    ]


def test_a_console_that_is_not_there_is_listed() -> None:
    reason = "No such image: alpine:3"
    answer: Object = {"name": "alpine:3", "enabled": "alpine:3"}
    answer |= {"state": "failed", "reason": reason}
    assert console.rows(answer) == [
        ("default", "available", ""),
        ("alpine:3", "failed", reason),
    ]


def test_names_of_images() -> None:
    assert console.references("debian") == ["debian", "catalogue.internal/debian:latest"]
    assert console.references("debian:13") == ["debian:13"]
    assert console.references("example/debian") == ["example/debian"]
    assert console.shown("catalogue.internal/debian:latest") == "debian"
