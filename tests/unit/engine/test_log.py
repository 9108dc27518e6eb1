"""Logs: blocks, torn ends, rotation, tails, lines with times."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from orlop.engine.logs import file
from orlop.engine.logs import format as log_format
from orlop.engine.logs.reader import LineStamper, LogQuery, LogReader, format_time
from orlop.engine.logs.writer import MIN_FILE_BYTES, LogWriter
from orlop.wire.compose_model import LogLimits
from orlop.wire.stdcopy import Stream

OUT, ERR = Stream.STDOUT, Stream.STDERR


def read(writer: LogWriter, query: LogQuery) -> bytes:
    async def collect() -> bytes:
        return b"".join([block.payload async for block in LogReader(writer, query).blocks()])

    return asyncio.run(collect())


def make(directory: Path, *parts: tuple[Stream, bytes]) -> LogWriter:
    writer = LogWriter(directory, LogLimits(1 << 20, 3))
    for number, (stream, data) in enumerate(parts):
        writer.append(stream, data, number + 1)
    return writer


def test_a_block_survives_and_no_part_of_it_passes_for_one() -> None:
    data = b"".join(log_format.encode(OUT, 12345, b"hello\n"))
    assert log_format.decode(data) == (log_format.Block(OUT, 12345, b"hello\n"), len(data))
    for length in range(len(data)):
        assert log_format.decode(data[:length]) is None


def test_a_damaged_block_is_none() -> None:
    data = b"".join(log_format.encode(ERR, 1, b"payload"))
    for position in range(len(data) - 4):
        damaged = bytearray(data)
        damaged[position] ^= 0x40
        assert log_format.decode(bytes(damaged)) is None, position


@pytest.mark.parametrize(
    "rubbish", [b"O", b"OL\1\0\xff\0\0\0", b"\0" * 100, bytes(range(255, 191, -1))]
)
def test_a_torn_end_is_cut_when_writing_goes_on(tmp_path: Path, rubbish: bytes) -> None:
    writer = make(tmp_path, (OUT, b"one\n"))
    writer.close()
    with writer.path().open("ab") as stream:
        stream.write(rubbish)
    assert read(writer, LogQuery()) == b"one\n"

    writer.append(OUT, b"two\n")

    assert read(writer, LogQuery()) == b"one\ntwo\n"
    writer.close()


def test_every_length_of_a_torn_file_reads_as_its_whole_blocks(tmp_path: Path) -> None:
    writer = make(tmp_path, (OUT, b"first\n"), (OUT, b"second\n"))
    writer.close()
    data = writer.path().read_bytes()
    first_bytes = log_format.OVERHEAD_BYTES + len(b"first\n")
    for length in range(first_bytes, len(data)):
        writer.path().write_bytes(data[:length])
        with writer.path().open("rb") as stream:
            assert file.whole_end(stream.fileno()) == first_bytes


def test_rotation_bounds_the_files_and_keeps_the_newest(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, LogLimits(MIN_FILE_BYTES, 3))
    for number in range(100):
        writer.append(OUT, f"{number}\n".encode() + b"x" * 9999 + b"\n")
    writer.close()

    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    assert all(path.stat().st_size <= MIN_FILE_BYTES + 100 for path in tmp_path.iterdir())
    lines = read(writer, LogQuery()).split(b"\n")
    numbers = [int(line) for line in lines if line.isdigit()]
    assert numbers == list(range(numbers[0], 100))


@pytest.mark.parametrize("is_reopened", [False, True])
def test_a_log_begins_with_a_whole_line_when_rotation_took_what_was_before(
    tmp_path: Path, *, is_reopened: bool
) -> None:
    writer = LogWriter(tmp_path, LogLimits(MIN_FILE_BYTES, 3))
    output = b"".join(f"{number}\n".encode() for number in range(200_000))
    numbers = [0]
    for start in range(0, len(output), 9973):
        if is_reopened:
            writer.close()
            writer = LogWriter(tmp_path, LogLimits(MIN_FILE_BYTES, 3))
        writer.append(OUT, output[start : start + 9973])
        lines = read(writer, LogQuery()).splitlines()
        numbers = [int(line) for line in lines[:-1]]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert read(writer, LogQuery(tail=10**6)).splitlines() == lines
    assert numbers[0] > 0
    writer.close()


@pytest.mark.parametrize("lines", range(8))
@pytest.mark.parametrize(
    "parts",
    [
        [b"1\n2\n3\n4\n5\n"],
        [b"1\n", b"2\n", b"3\n4\n", b"5\n"],
        [b"1", b"\n2\n3", b"\n", b"4\n5", b"\n"],
        [b"1\n2\n3\n4\n5"],
        [b"", b"1\n2\n", b"", b"3\n4\n5\n"],
    ],
)
def test_tail_counts_lines_over_any_division(
    tmp_path: Path, parts: list[bytes], lines: int
) -> None:
    writer = make(tmp_path, *[(OUT, part) for part in parts])
    expected = b"".join(parts).splitlines(keepends=True)[-lines:] if lines else []
    assert read(writer, LogQuery(tail=lines)) == b"".join(expected)
    writer.close()


def test_tail_over_rotated_files(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, LogLimits(MIN_FILE_BYTES, 4))
    for number in range(60_000):
        if number % 1000 == 0:
            batch = b"".join(f"{n}\n".encode() for n in range(number, number + 1000))
            writer.append(OUT, batch)
    assert writer.generation > 0
    found = read(writer, LogQuery(tail=30_000)).split()
    assert found == [str(n).encode() for n in range(30_000, 60_000)]
    writer.close()


def test_streams_since_and_until(tmp_path: Path) -> None:
    writer = make(tmp_path, (OUT, b"1\n"), (ERR, b"2\n"), (OUT, b"3\n"), (ERR, b"4\n"))
    assert read(writer, LogQuery(streams=frozenset({ERR}))) == b"2\n4\n"
    assert read(writer, LogQuery(streams=frozenset({OUT}), tail=1)) == b"3\n"
    assert read(writer, LogQuery(since_ns=3)) == b"3\n4\n"
    assert read(writer, LogQuery(until_ns=2)) == b"1\n2\n"
    writer.close()


def test_each_line_is_stamped_once() -> None:
    stamper = LineStamper()
    blocks = [(OUT, b"a\nb"), (ERR, b"e\n"), (OUT, b"c\nd\n"), (OUT, b"\n")]
    result = b"".join(stamper.stamp(log_format.Block(s, 0, data)) for s, data in blocks)
    stamp = b"1970-01-01T00:00:00.000000000Z "
    assert result == b"".join(
        (stamp, b"a\n", stamp, b"b", stamp, b"e\n", b"c\n", stamp, b"d\n", stamp, b"\n")
    )


def test_time_has_nine_digits() -> None:
    assert format_time(1_767_323_045_000_000_006) == b"2026-01-02T03:04:05.000000006Z"


def test_following_sees_what_is_written_and_ends(tmp_path: Path) -> None:
    async def run() -> list[bytes]:
        writer = make(tmp_path, (OUT, b"old\n"))
        ending = asyncio.Event()
        found = []
        async for block in LogReader(writer, LogQuery(follow=True)).blocks(ending.is_set):
            found.append(block.payload)
            if block.payload == b"old\n":
                asyncio.get_running_loop().call_soon(writer.append, OUT, b"new\n")
            else:
                ending.set()
                asyncio.get_running_loop().call_soon(writer.wake)
        writer.close()
        return found

    assert asyncio.run(run()) == [b"old\n", b"new\n"]


def test_a_directory_that_cannot_be_written_drops_and_counts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    writer = LogWriter(tmp_path / "file" / "logs", LogLimits())
    writer.append(OUT, b"lost")
    writer.append(OUT, b"too")
    assert writer.dropped_bytes == 7


def test_a_full_disk_drops_and_counts() -> None:
    writer = LogWriter(Path("/dev/full"), LogLimits())
    writer.append(OUT, b"lost")
    assert writer.dropped_bytes == 4


@pytest.mark.parametrize("query", [LogQuery(since_ns=10**6), LogQuery(tail=100_000)])
def test_others_have_their_turn_while_a_log_is_searched(tmp_path: Path, query: LogQuery) -> None:
    writer = make(tmp_path, *[(OUT, b"line\n")] * 500)

    async def scenario() -> int:
        turns = 0
        found: list[log_format.Block] = []

        async def search() -> None:
            async for block in LogReader(writer, query).blocks():
                found.append(block)
                raise EOFError  # what comes after the search takes turns anyway

        searching = asyncio.ensure_future(search())
        while not searching.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(scenario()) > 500 // 16


def test_a_tail_is_right_when_the_log_is_rotated_meanwhile(tmp_path: Path) -> None:
    writer = LogWriter(tmp_path, LogLimits(MIN_FILE_BYTES, 4))
    size = MIN_FILE_BYTES // 40
    for number in range(100):
        writer.append(OUT, f"{number:05}".encode().ljust(size - 1, b".") + b"\n", number + 1)
    assert writer.generation == 2

    async def scenario() -> list[bytes]:
        async def grow() -> None:
            while writer.generation == 2:
                writer.append(OUT, b"x" * 60_000 + b"\n")
                await asyncio.sleep(0)

        growing = asyncio.ensure_future(grow())
        query = LogQuery(tail=90)
        found = [block.payload[:5] async for block in LogReader(writer, query).blocks()]
        await growing
        return [number for number in found if number.isdigit()]

    # The ninety that were last, each once, whatever came meanwhile.
    assert asyncio.run(scenario()) == [f"{number:05}".encode() for number in range(10, 100)]
