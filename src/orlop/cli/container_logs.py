"""The outputs of containers line by line: of several at once, chosen, or as JSON.

Each line is asked for with its time, by which those of several containers are put in order.
Followed, each container has a thread that waits for it.
"""

from __future__ import annotations

from orlop.cli.client import Client
from orlop.cli.json_text import compact
from orlop.cli.log_choice import choice_of
from orlop.cli.logs import target_of
from orlop.cli.relay import write_all
from orlop.cli.text import parse_time
from orlop.wire.stdcopy_frames import STDERR, take

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.cli.arguments import Arguments
    from orlop.cli.log_choice import Choice

STDOUT = 1
RAW = "application/vnd.docker.raw-stream"


class Line:
    """A line of *container*, without its end; *time* as the engine writes it."""

    __slots__ = ("container", "stream", "text", "time")

    def __init__(self, container: str, stream: str, time: str, text: str) -> None:
        self.container = container
        self.stream = stream
        self.time = time
        self.text = text


class Writer:
    """Writes lines as they are wanted: *width* of the names before them, 0 for none."""

    def __init__(self, *, as_json: bool, timestamps: bool, width: int) -> None:
        self._as_json, self._timestamps, self._width = as_json, timestamps, width

    def write(self, line: Line) -> None:
        write_all(STDOUT, f"{self.form(line)}\n".encode(errors="replace"))

    def form(self, line: Line) -> str:
        if self._as_json:
            members = {"time": line.time, "container": line.container, "stream": line.stream}
            return compact({**members, "message": line.text})
        name = f"{line.container.ljust(self._width)} | " if self._width else ""
        return name + (f"{line.time} " if self._timestamps else "") + line.text


def show(arguments: Arguments) -> int:
    """What `orlop logs NAME...` asks for.

    Raises:
        OrlopError: there is no such container.
    """
    names = list(dict.fromkeys(arguments.words))
    choice = choice_of(arguments)
    tail = arguments.number("tail", 0) if arguments.flag("tail") else None
    writer = Writer(
        as_json=arguments.flag("json"),
        timestamps=arguments.flag("timestamps"),
        width=max(map(len, names)) if len(names) > 1 else 0,
    )
    if arguments.flag("follow"):
        _follow(names, choice, tail, writer)
        return 0
    lines: list[Line] = []
    for name in names:
        asked = tail if choice.is_all else None
        found = [line for line in read(name, choice, tail=asked) if _wanted(choice, line)]
        lines += found if tail is None else found[len(found) - min(tail, len(found)) :]
    lines.sort(key=lambda line: line.time)  # RFC 3339 with nine digits, in UTC: texts sort as times
    for line in lines:
        writer.write(line)
    return 0


def read(name: str, choice: Choice, *, tail: int | None, follow: bool = False) -> Iterator[Line]:
    """The lines of container *name*, each stream's in order."""
    response = Client().request(
        "GET",
        target_of(name, tail=tail, follow=follow, timestamps=True, since_s=choice.since_s),
    )
    is_raw = response.headers.get("content-type") == RAW
    buffer, rests = bytearray(), {"stdout": b"", "stderr": b""}
    for part in response.parts():
        buffer += part
        if is_raw:
            frames = [(STDOUT, bytes(buffer))]
            buffer.clear()
        else:
            frames = take(buffer)
        for number, payload in frames:
            stream = "stderr" if number == STDERR else "stdout"
            *whole, rests[stream] = (rests[stream] + payload).split(b"\n")
            yield from (_line(name, stream, line) for line in whole)
    yield from (_line(name, stream, rest) for stream, rest in rests.items() if rest)


def _line(name: str, stream: str, data: bytes) -> Line:
    time, _, text = data.decode(errors="replace").partition(" ")
    return Line(name, stream, time, text.removesuffix("\r"))


def _wanted(choice: Choice, line: Line) -> bool:
    return choice.wants(line.text, parse_time(line.time) if choice.until_s is not None else None)


def _follow(names: list[str], choice: Choice, tail: int | None, writer: Writer) -> None:
    """Until each container has ended; a failure of one is raised when the others have."""
    import threading

    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for line in read(name, choice, tail=tail, follow=True):
                if _wanted(choice, line):
                    writer.write(line)
        except Exception as error:  # noqa: BLE001 - handed to the main thread
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
