"""Downloads that are cut, resumed, too long or from the wrong place, against a scripted session."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from orlop.engine.registry.http import TransportError
from orlop.engine.registry.transfer import MAX_CUTS, Download
from orlop.lib.errors import OrlopError, Unavailable
from orlop.wire.registry.manifest import Descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.engine.registry.session import Session

DATA = bytes(range(256)) * 40


class Answer:
    """A response with *data*, which breaks at its end if *cut*."""

    def __init__(
        self, data: bytes, status: int = 200, span: str = "", *, cut: bool = False
    ) -> None:
        self.status = status
        self._data = data
        self._span = span
        self._cut = cut

    def header(self, name: str) -> str:
        return self._span if name == "Content-Range" else ""

    def read_into(self, buffer: memoryview) -> int:
        count = min(len(buffer), len(self._data), 777)
        if not count and self._cut:
            raise TransportError("unexpected EOF")
        buffer[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def close(self) -> None:
        pass


class Script:
    """Stands for a session: answers in order; `asked` has the Range headers."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return path

    def call(self, method: str, url: str, *, headers: Mapping[str, str], **_: object) -> Answer:
        self.asked.append(headers.get("Range", ""))
        return self._answers.pop(0)


def span(first: int) -> str:
    return f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"


def fetch(script: Script) -> tuple[bytes, Download]:
    received = bytearray()
    blob = Descriptor("", "sha256:" + "0" * 64, len(DATA))
    download = Download(cast("Session", script), blob, received.extend)
    download.run()
    return bytes(received), download


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orlop.engine.registry.transfer.time.sleep", lambda _: None)


def test_whole() -> None:
    data, download = fetch(Script(Answer(DATA)))

    assert data == DATA
    assert not download.resumed


@pytest.mark.parametrize("at", [1, 777, 5000, len(DATA) - 1])
def test_resumed(at: int) -> None:
    script = Script(Answer(DATA[:at], cut=True), Answer(DATA[at:], 206, span(at)))

    data, download = fetch(script)

    assert data == DATA
    assert download.resumed
    assert script.asked == ["", f"bytes={at}-"]


def test_a_server_without_ranges_and_one_that_begins_earlier() -> None:
    assert fetch(Script(Answer(DATA[:9], cut=True), Answer(DATA)))[0] == DATA
    assert fetch(Script(Answer(DATA[:9], cut=True), Answer(DATA[4:], 206, span(4))))[0] == DATA


def test_ends_early_without_an_error() -> None:
    assert fetch(Script(Answer(DATA[:9]), Answer(DATA[9:], 206, span(9))))[0] == DATA


def test_a_server_that_trickles_is_given_up_and_what_came_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr("orlop.engine.registry.transfer.time.monotonic", lambda: next(clock))
    received = bytearray()
    blob = Descriptor("", "sha256:" + "0" * 64, len(DATA))
    script = Script(Answer(DATA))
    download = Download(cast("Session", script), blob, received.extend, piece_s=5.0)
    with pytest.raises(Unavailable, match="less than 209,715 bytes a second"):
        download.run()
    assert DATA.startswith(received)
    assert len(received) == 6 * 777


def test_refused() -> None:
    with pytest.raises(OrlopError, match="sends more than"):
        fetch(Script(Answer(DATA + b"x")))
    with pytest.raises(OrlopError, match="another part"):
        fetch(Script(Answer(DATA[:9], cut=True), Answer(DATA[10:], 206, span(10))))
    with pytest.raises(OrlopError, match="another part"):
        fetch(Script(Answer(DATA[:9], cut=True), Answer(DATA[9:], 206, "rubbish")))
    with pytest.raises(TransportError):
        fetch(Script(*(Answer(b"", cut=True) for _ in range(9))))


def test_not_for_ever() -> None:
    drops = [Answer(DATA[:1], cut=True)]
    drops += [Answer(DATA[n : n + 1], 206, span(n), cut=True) for n in range(1, 2 * MAX_CUTS)]

    with pytest.raises(OrlopError, match="cut too often"):
        fetch(Script(*drops))
