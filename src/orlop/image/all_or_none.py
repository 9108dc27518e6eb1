"""Files that are of use together only: keys, above all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from orlop.lib import atomic_file


@contextlib.contextmanager
def all_or_none(folder: Path) -> Iterator[None]:
    """What is made in *folder* in the block is durable with it, or gone again if the block fails.

    Raises:
        OSError: of the block, with the folder's name where it has none.
    """
    before = {*os.listdir(folder)}
    try:
        yield
    except BaseException as error:
        for name in {*os.listdir(folder)} - before:
            (folder / name).unlink()
        if isinstance(error, OSError) and error.filename is None:
            error.filename = str(folder)
        raise
    atomic_file.sync_directory(folder)
