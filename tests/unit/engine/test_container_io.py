"""An engine may be killed between any two steps of taking a container's output: none is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from orlop.engine.container.layout import Layout
from orlop.engine.container.stdio import ContainerIO, close_theirs
from orlop.engine.container.streams import Peek
from orlop.engine.logs import file
from orlop.engine.logs.writer import LogWriter
from orlop.engine.settings import EngineSettings
from orlop.wire.compose_model import LogLimits
from orlop.wire.stdcopy import Stream

if TYPE_CHECKING:
    from pathlib import Path

    from _pytest.monkeypatch import MonkeyPatch


class KilledError(BaseException):
    """The engine's end: nothing that it would do afterwards is done."""


STEPS: dict[str, tuple[type, str] | None] = {
    "it is logged": (LogWriter, "append"),
    "it is taken out": (Peek, "take"),
    "it is marked as taken": (ContainerIO, "_mark_taken"),
    "anything else": None,
}


def new_engine(directory: Path) -> tuple[ContainerIO, LogWriter]:
    """The streams of a container, and its log, as one engine has them."""
    layout = Layout(
        EngineSettings(run_dir=directory, data_dir=directory, images_dir=directory), "1" * 64
    )
    layout.run.mkdir(parents=True, exist_ok=True)
    writer = LogWriter(layout.logs, LogLimits())
    return ContainerIO(layout, writer), writer


@pytest.mark.parametrize(
    ("step", "meanwhile"),
    [
        *((step, b"two\n") for step in STEPS),
        *((step, b"") for step in STEPS),
        # The same as the last output, but no repetition of it.
        ("it is logged", b"one\n"),
        ("anything else", b"one\n"),
    ],
)
def test_an_engine_is_killed_before(
    tmp_path: Path, monkeypatch: MonkeyPatch, step: str, meanwhile: bytes
) -> None:
    def kill(*_: object) -> None:
        raise KilledError

    async def body() -> None:
        streams, _ = new_engine(tmp_path)
        theirs = streams.open(terminal=False, stdin=False)
        output = theirs[Stream.STDOUT]
        for text in (b"zero\n", b"one\n"):
            os.write(output, text)
            with monkeypatch.context() as patched, contextlib.suppress(KilledError):
                if text == b"one\n" and (place := STEPS[step]) is not None:
                    patched.setattr(*place, kill)
                for pump in streams._pumps:
                    pump.drain()
        os.write(output, meanwhile)
        streams.close()

        streams, _ = new_engine(tmp_path)
        streams.reopen(stdin=False)
        streams.finish()
        close_theirs(theirs)

    asyncio.run(body())
    _, writer = new_engine(tmp_path)
    descriptor = os.open(writer.path(), os.O_RDONLY)
    found = b"".join(block.payload for block, _, _ in file.blocks_from(descriptor, 0))
    os.close(descriptor)
    assert found == b"zero\none\n" + meanwhile


def test_output_of_an_earlier_run_is_no_reason_to_drop_the_same_of_this_one(tmp_path: Path) -> None:
    async def body() -> None:
        streams, _ = new_engine(tmp_path)
        theirs = streams.open(terminal=False, stdin=False)
        os.write(theirs[Stream.STDOUT], b"started\n")
        streams.finish()
        close_theirs(theirs)
        theirs = streams.open(terminal=False, stdin=False)
        os.write(theirs[Stream.STDOUT], b"started\n")
        streams.close()  # killed before it has read anything of the second run
        streams, _ = new_engine(tmp_path)
        streams.reopen(stdin=False)
        streams.finish()
        close_theirs(theirs)

    asyncio.run(body())
    _, writer = new_engine(tmp_path)
    assert writer.path().read_bytes().count(b"started\n") == 2
