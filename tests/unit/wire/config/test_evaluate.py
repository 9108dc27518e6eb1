"""Sources put together: precedence, origins, and what a broken one is worth."""

from orlop.wire.config.evaluate import Source, evaluate
from tests.bad_configurations import BAD_DOCUMENTS


def config(path: str, content: bytes | OSError, good: bytes | None = None) -> Source:
    return Source("config", path, content, None if good is None else (f"good/{path}", good))


def test_order_and_origins() -> None:
    found = evaluate(
        [
            config("a.yml", b"hostname: one\norlop:\n  time:\n    servers: [a]\n"),
            config(
                "b.yml", b"#cloud-config\r\nhostname: two\r\norlop: {time: {servers+: [b]}}\r\n"
            ),
            config("c.yml", b"\xef\xbb\xbf"),
            config("d.yml", b""),
        ]
    ).answer()
    assert found["config"] == {"hostname": "two", "orlop": {"time": {"servers": ["a", "b"]}}}
    assert found["origins"] == {"hostname": "b.yml:2", "orlop.time.servers": "a.yml:4, b.yml:3"}
    assert found["problems"] == []


def test_a_bad_document_counts_for_nothing_and_says_where() -> None:
    for name, content in BAD_DOCUMENTS.items():
        path = f"{name}.yml"
        found = evaluate([config("good.yml", b"hostname: good\n"), config(path, content)])
        assert found.config == {"hostname": "good"}, name
        assert len(found.problems) == 1, name
        place, _, line = found.problems[0].split(": ")[0].partition(":")
        assert place == path, found.problems
        assert line.split(":")[0].isdecimal(), found.problems
        assert len(found.problems[0]) < 500, name
        assert list(found.good) == ["good.yml"]


def test_what_it_last_was_counts_instead() -> None:
    found = evaluate([config("a.yml", b"hostname: [\n", b"hostname: before\n")])
    assert found.config == {"hostname": "before"}
    assert found.origins == {("hostname",): "good/a.yml:1"}
    assert found.problems[0].startswith("a.yml:2:1: ")
    assert found.problems[0].endswith("; it counts as it was before that")
    assert found.good == {}
    worse = evaluate([config("a.yml", b"hostname: [\n", b"also: bad\n")])
    assert worse.config == {}
    assert len(worse.problems) == 2


def test_only_what_changed_is_to_be_copied() -> None:
    same = config("a.yml", b"hostname: a\n", b"hostname: a\n")
    assert evaluate([same, config("b.yml", b"{}", b"hostname: b")]).good == {"b.yml": "{}"}


def test_services() -> None:
    found = evaluate(
        [
            Source("services", "s.yml", b"services:\n  web:\n    imagee: x\n"),
            Source("services", "t.yml", b"- 1\n"),
            Source("services", "u.json", b'{"services": {"web": {"image": "console"}}}'),
            config("gone.yml", OSError(2, "No such file or directory")),
        ]
    )
    assert list(found.services) == ["web"]
    assert [problem.split(": ")[0] for problem in found.problems] == [
        "gone.yml",
        "s.yml:3",
        "t.yml:1",
    ]
    assert "service web: imagee: unknown key (did you mean image?)" in found.problems[1]
