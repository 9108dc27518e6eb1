"""Reads a container's log back: all of it or its end, a span of time, once or as it grows.

Works block by block on the files of `logs.writer`, newline handling at the speed of `bytes`
methods. A reader keeps a descriptor and a position, no content: a slow one costs nothing, and loses
only what rotation removes.
"""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.engine.logs import file
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator

    from orlop.engine.logs.format import Block
    from orlop.engine.logs.writer import LogWriter

BLOCKS_PER_TURN = 16
"""Looked at before others get their turn; each has up to 64 KiB."""


@dataclass(frozen=True, slots=True)
class LogQuery:
    """What `docker logs` asks. Times in ns, 0: no limit; *tail* is lines, None: all."""

    streams: frozenset[Stream] = frozenset({Stream.STDOUT, Stream.STDERR})
    since_ns: int = 0
    until_ns: int = 0
    tail: int | None = None
    timestamps: bool = False
    follow: bool = False


def format_time(time_ns: int) -> bytes:
    """RFC 3339 with nine digits, in UTC: `2026-01-02T03:04:05.000000006Z`."""
    seconds, fraction_ns = divmod(time_ns, 1_000_000_000)
    moment = time.gmtime(seconds)
    return (
        f"{moment.tm_year:04d}-{moment.tm_mon:02d}-{moment.tm_mday:02d}"
        f"T{moment.tm_hour:02d}:{moment.tm_min:02d}:{moment.tm_sec:02d}.{fraction_ns:09d}Z"
    ).encode()


class LineStamper:
    """Puts the time of its block before each line; a line over several blocks gets one.

    *details* comes between time and line; without *timestamps* it is alone.
    """

    def __init__(self, *, timestamps: bool = True, details: bytes = b"") -> None:
        self._timestamps = timestamps
        self._details = details
        self._inside_line: dict[Stream, bool] = {}

    def stamp(self, block: Block) -> bytes:
        prefix = self._details
        if self._timestamps:
            prefix = format_time(block.time_ns) + b" " + prefix
        payload = block.payload
        ends_line = payload.endswith(b"\n")
        body = payload[:-1] if ends_line else payload
        result = body.replace(b"\n", b"\n" + prefix)
        if not self._inside_line.get(block.stream):
            result = prefix + result
        self._inside_line[block.stream] = not ends_line
        return result + b"\n" if ends_line else result


class LogReader:
    """One reading of one log, from the oldest file to the newest."""

    def __init__(self, writer: LogWriter, query: LogQuery) -> None:
        self._writer = writer
        self._query = query
        self._generation = 0
        self._fd = -1
        self._offset = 0
        self._skip: dict[tuple[int, int], int] = {}
        self._first: tuple[int, int] = (-1 << 62, 0)
        self._seen: set[Stream] = set()
        self._torn: set[Stream] = set()

    async def blocks(self, ended: Callable[[], bool] = lambda: True) -> AsyncIterator[Block]:
        """The blocks that the query selects, those at the edge of a tail cut to whole lines.

        With `follow` it goes on until *ended* says that no more will come, which is asked again
        after each block and each `LogWriter.wake`.
        """
        grown = asyncio.Event()
        self._writer.follow(grown.set)
        try:
            await self._begin()
            while True:
                ending = not self._query.follow or ended()
                grown.clear()
                for block in self._read_available():
                    if block is None:
                        await asyncio.sleep(0)
                        continue
                    if self._query.until_ns and block.time_ns > self._query.until_ns:
                        return
                    yield block
                    # A block is quickly done, a log is not: others get their turn in between.
                    await asyncio.sleep(0)
                if ending:
                    return
                await grown.wait()
        finally:
            self._writer.unfollow(grown.set)
            self._close()

    async def _begin(self) -> None:
        count = self._writer.file_count()
        self._generation = self._writer.generation - max(count - 1, 0)
        if self._query.tail is None:
            return
        if self._query.tail > 0:
            await self._find_tail(self._query.tail, count)
            return
        # Nothing of what is there, everything that comes.
        self._generation = self._writer.generation
        if self._open():
            self._offset = file.whole_end(self._fd)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> bool:
        if self._fd >= 0:
            return True
        oldest = self._writer.generation - self._writer.limits[1] + 1
        self._generation = max(self._generation, oldest)
        path = self._writer.path(self._writer.generation - self._generation)
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        return True

    def _read_available(self) -> Iterator[Block | None]:
        """Blocks of the query's; None after some that are not: a turn for others."""
        passed = 0
        while self._open():
            for block, start, end in file.blocks_from(self._fd, self._offset):
                self._offset = end
                if (chosen := self._select(block, (self._generation, start))) is not None:
                    yield chosen
                    continue
                passed += 1
                if passed % BLOCKS_PER_TURN == 0:
                    yield None
            if self._generation >= self._writer.generation:
                return
            self._close()
            self._generation += 1
            self._offset = 0

    def _select(self, block: Block, key: tuple[int, int]) -> Block | None:
        torn_bytes = self._torn_bytes(block)
        if block.stream not in self._query.streams or block.time_ns < self._query.since_ns:
            return None
        if key < self._first:
            return None
        skip = max(torn_bytes, self._skip.pop(key, 0) if self._skip else 0)
        if not skip:
            return block
        return block._replace(payload=block.payload[skip:]) if skip < len(block.payload) else None

    def _torn_bytes(self, block: Block) -> int:
        """How much of *block* belongs to a line whose beginning rotation has taken."""
        stream = block.stream
        if block.continues and stream not in self._seen:
            self._torn.add(stream)
        self._seen.add(stream)
        if stream not in self._torn:
            return 0
        newline = block.payload.find(b"\n")
        if newline < 0:
            return len(block.payload)
        self._torn.discard(stream)
        return newline + 1

    async def _find_tail(self, lines: int, count: int) -> None:
        """Go backwards until *lines* lines are found; remember where they begin."""
        finder = _TailFinder(lines, self._query.streams)
        newest, passed = self._writer.generation, 0
        for generation in range(newest, newest - count, -1):
            # By generation: the log may be rotated while others have their turn.
            path = self._writer.path(self._writer.generation - generation)
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                break
            try:
                end = file.whole_end(descriptor)
                while not finder.done and (found := file.block_before(descriptor, end)):
                    block, end = found
                    finder.take(block, (generation, end))
                    passed += 1
                    if passed % BLOCKS_PER_TURN == 0:
                        await asyncio.sleep(0)
            finally:
                os.close(descriptor)
            if finder.done:
                break
        self._skip = finder.skip
        if finder.first is not None:
            self._first = finder.first


class _TailFinder:
    """Counts lines backwards over blocks of both streams."""

    def __init__(self, lines: int, streams: Collection[Stream]) -> None:
        self._wanted = lines
        self._streams = streams
        self._seen: set[Stream] = set()
        self._open_heads: set[Stream] = set()
        self.skip: dict[tuple[int, int], int] = {}
        self.first: tuple[int, int] | None = None
        self.done = lines == 0

    def take(self, block: Block, key: tuple[int, int]) -> None:
        if block.stream not in self._streams:
            return
        payload = block.payload
        if self._wanted <= 0 and block.stream not in self._open_heads:
            # Enough lines: of this older block nothing is shown.
            self.skip[key] = len(payload)
            return
        search_end = len(payload)
        if block.stream not in self._seen:
            self._seen.add(block.stream)
            # The end of the output is the end of a line, with a newline or without.
            self._wanted -= 1
            search_end -= payload.endswith(b"\n")
        position = search_end
        while True:
            newline = payload.rfind(b"\n", 0, position)
            if newline < 0:
                self._open_heads.add(block.stream)
                self.first = key
                return
            if self._wanted <= 0:
                self.skip[key] = newline + 1
                self.first = key
                self._open_heads.discard(block.stream)
                self.done = not self._open_heads
                return
            self._wanted -= 1
            position = newline
