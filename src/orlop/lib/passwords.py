"""Hashes of passwords, as shadow(5) has them: libcrypt's crypt(3).

Loaded with ctypes when it is needed: it takes memory, and yescrypt's work 16 MiB and 50 ms.
"""

import ctypes
from _operator import _compare_digest as compare_digest

_LIBRARY = "libcrypt.so.1"
PREFIX = b"$y$"
"""yescrypt, with libcrypt's own cost."""


def _load() -> ctypes.CDLL:
    library = ctypes.CDLL(_LIBRARY)
    library.crypt.restype = ctypes.c_char_p
    library.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.crypt_gensalt.restype = ctypes.c_char_p
    library.crypt_gensalt.argtypes = [
        *(ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int)
    ]
    return library


def hash_password(password: str) -> str:
    """A hash of *password* with a new salt.

    Raises:
        OSError: there is no libcrypt, or it fails.
    """
    library = _load()
    salt = library.crypt_gensalt(PREFIX, 0, None, 0)
    found = library.crypt(password.encode(), salt) if salt else None
    if not found or not found.startswith(PREFIX):
        raise OSError("crypt(3) fails")
    return str(found, "ascii")


def verify(password: str, hashed: str) -> bool:
    """Whether *password* has the hash *hashed*. What is no hash has no password.

    Raises:
        OSError: there is no libcrypt.
    """
    if not hashed.startswith("$") or "\0" in password:
        return False
    # What was typed may be anything: a terminal's bytes that are no UTF-8 come as surrogates.
    found = _load().crypt(password.encode(errors="surrogatepass"), hashed.encode())
    return bool(found) and found.startswith(b"$") and compare_digest(found, hashed.encode())
