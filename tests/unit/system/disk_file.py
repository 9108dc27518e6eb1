"""A file that stands for a disk in tests."""

import os
from pathlib import Path


def make_disk(path: Path, size_bytes: int) -> Path:
    """Nothing but zeros, in a file with a hole."""
    path.touch()
    os.truncate(path, size_bytes)
    return path


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)
