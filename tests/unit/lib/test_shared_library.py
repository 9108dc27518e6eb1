"""C libraries by name."""

import ctypes

import pytest

from orlop.lib import shared_library


def test_functions_have_their_types() -> None:
    library = shared_library.load("libc.so.6", [("labs", ctypes.c_long, [ctypes.c_long])])
    assert library.labs(-(1 << 40)) == 1 << 40


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(OSError, match="no_such_library"):
        shared_library.load("no_such_library.so.1", [])
    with pytest.raises(OSError, match="no_such_function"):
        shared_library.load("libc.so.6", [("no_such_function", None, [])])
