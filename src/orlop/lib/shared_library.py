"""C libraries through ctypes: opened, with the types of the functions that are called."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    type Function = tuple[str, Any, Sequence[Any]]
    """Name, type of the result, and types of the arguments."""


def load(name: str, functions: Iterable[Function]) -> ctypes.CDLL:
    """The library *name* (`libcrypto.so.3`).

    Raises:
        OSError: there is none, or it lacks one of *functions*.
    """
    library = ctypes.CDLL(name)
    for function_name, result, arguments in functions:
        try:
            function = getattr(library, function_name)
        except AttributeError as error:
            raise OSError(f"{name}: {error}") from None
        function.restype, function.argtypes = result, arguments
    return library
