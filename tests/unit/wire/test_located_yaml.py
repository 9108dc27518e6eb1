"""Strict YAML: values, places, and what is refused."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.located_yaml import MAX_LENGTH, parse_yaml

TEXT = """\
# a comment
hostname: ship
orlop:
  network:
    nameservers:
      - 192.0.2.1
      - 192.0.2.2
mode: 0644
hex: 0x10
port: 22:22
when: 2026-01-02
ratio: 1.5
on_: yes
nothing:
"""


def test_values() -> None:
    assert parse_yaml("a.yml", TEXT).data == {
        "hostname": "ship",
        "orlop": {"network": {"nameservers": ["192.0.2.1", "192.0.2.2"]}},
        "mode": 0o644,
        "hex": 16,
        "port": "22:22",
        "when": "2026-01-02",
        "ratio": 1.5,
        "on_": True,
        "nothing": None,
    }


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("hostname",), "a.yml:2: "),
        (("orlop", "network"), "a.yml:4: "),
        (("orlop", "network", "nameservers[1]"), "a.yml:7: "),
        (("orlop.network.nameservers",), "a.yml:5: "),
        (("orlop", "nothing-there"), "a.yml:3: "),
        ((), "a.yml:1: "),
    ],
)
def test_places(path: tuple[str, ...], place: str) -> None:
    expected = "a.yml:2: " if path == () else place
    assert parse_yaml("a.yml", TEXT).locate(path) == expected


def test_crlf_and_empty() -> None:
    assert parse_yaml("a", "a: 1\r\nb: 2\r\n").data == {"a": 1, "b": 2}
    assert parse_yaml("a", "").data is None
    assert parse_yaml("a", "").locate(("x",)) == "a: "


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\na: 2\n", r"^f:2:1: a is here a second time"),
        ("a: [1\nb: 2\n", r"^f:2:"),
        ("a: !!python/object:os.system x\n", r"^f:1:4: the tag .* is not supported"),
        ("? [a]\n: 1\n", r"^f:1:3: a key must be a plain word"),
        ("x: &x {a: 1}\ny:\n  <<: *x\n", r"^f:3:3: merge keys"),
        ("a: *nobody\n", r"^f:1:4: "),
        ("a: 1\n---\nb: 2\n", r"^f:2:1: "),
        ("a: \x00", r"^f:1: "),
        ("[" * 60 + "]" * 60, r"nested deeper"),
        ("[" * 20000, r"nested deeper"),
        ("a" * (MAX_LENGTH + 1), r"^f:1: longer than"),
        ("\n".join(["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"] + [
            f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)
        ]), r"more than \d+ values"),
    ],
)  # fmt: skip
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        parse_yaml("f", text)
