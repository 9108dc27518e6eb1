"""Ed25519: keys, signatures and their verification, by OpenSSL's libcrypto through ctypes.

For what releases are signed with; not for PID 1. A private key is its 32 bytes; on disk it is
PKCS #8 in PEM, which other tools read too.
Source: OpenSSL 3.5 EVP_PKEY-ED25519(7), RFC 8032, RFC 8410.
"""

from __future__ import annotations

import binascii
import contextlib
import ctypes
import functools
import os
from typing import TYPE_CHECKING

from orlop.lib import shared_library
from orlop.lib.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIBRARY = "libcrypto.so.3"
KEY_BYTES = 32
SIGNATURE_BYTES = 64

_ED25519 = 1087
"""EVP_PKEY_ED25519, its NID."""

_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")
"""What stands before the 32 bytes of a key in DER."""

_BEGIN, _END = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"

_Pointer = ctypes.c_void_p
_Size = ctypes.POINTER(ctypes.c_size_t)
_Bytes = (ctypes.c_char_p, ctypes.c_size_t)
_FUNCTIONS = (
    ("EVP_PKEY_new_raw_public_key", _Pointer, (ctypes.c_int, _Pointer, *_Bytes)),
    ("EVP_PKEY_new_raw_private_key", _Pointer, (ctypes.c_int, _Pointer, *_Bytes)),
    ("EVP_PKEY_get_raw_public_key", ctypes.c_int, (_Pointer, ctypes.c_char_p, _Size)),
    ("EVP_PKEY_free", None, (_Pointer,)),
    ("EVP_MD_CTX_new", _Pointer, ()),
    ("EVP_MD_CTX_free", None, (_Pointer,)),
    ("EVP_DigestVerifyInit", ctypes.c_int, (_Pointer,) * 5),
    ("EVP_DigestVerify", ctypes.c_int, (_Pointer, *_Bytes, *_Bytes)),
    ("EVP_DigestSignInit", ctypes.c_int, (_Pointer,) * 5),
    ("EVP_DigestSign", ctypes.c_int, (_Pointer, ctypes.c_char_p, _Size, *_Bytes)),
)


@functools.cache
def load() -> ctypes.CDLL:
    """Open the library; for a worker that cannot later.

    Raises:
        Internal: there is none.
    """
    try:
        return shared_library.load(LIBRARY, _FUNCTIONS)
    except OSError as error:
        raise Internal(f"signatures cannot be checked here: {error}") from error


def verify(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the holder of *public* (32 bytes) has signed *data*."""
    if len(public) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    library = load()
    with _handle(library.EVP_PKEY_new_raw_public_key, public) as key, _context() as context:
        return (
            bool(key)
            and library.EVP_DigestVerifyInit(context, None, None, None, key) == 1
            and library.EVP_DigestVerify(context, signature, len(signature), data, len(data)) == 1
        )


def new_key() -> bytes:
    """A new private key."""
    return os.urandom(KEY_BYTES)


def public_of(private: bytes) -> bytes:
    """The public key of a private one.

    Raises:
        InvalidArgument: it is none.
    """
    library = load()
    buffer, size = ctypes.create_string_buffer(KEY_BYTES), ctypes.c_size_t(KEY_BYTES)
    with _handle(library.EVP_PKEY_new_raw_private_key, private) as key:
        if key and library.EVP_PKEY_get_raw_public_key(key, buffer, ctypes.byref(size)) == 1:
            return buffer.raw
    raise InvalidArgument("not a private key of Ed25519")


def sign(private: bytes, data: bytes) -> bytes:
    """The signature of *data*, 64 bytes.

    Raises:
        InvalidArgument: *private* is no key.
    """
    library = load()
    buffer = ctypes.create_string_buffer(SIGNATURE_BYTES)
    size = ctypes.c_size_t(SIGNATURE_BYTES)
    with _handle(library.EVP_PKEY_new_raw_private_key, private) as key, _context() as context:
        if (
            key
            and library.EVP_DigestSignInit(context, None, None, None, key) == 1
            and library.EVP_DigestSign(context, buffer, ctypes.byref(size), data, len(data)) == 1
        ):
            return buffer.raw
    raise InvalidArgument("not a private key of Ed25519")


def format_pem(private: bytes) -> str:
    """*private* as PKCS #8 in PEM."""
    body = binascii.b2a_base64(_PKCS8 + private).decode()
    return f"{_BEGIN}\n{body}{_END}\n"


def parse_pem(text: str) -> bytes:
    """The private key in PKCS #8 in PEM.

    Raises:
        InvalidArgument: it is none of Ed25519.
    """
    body = text.strip().removeprefix(_BEGIN).removesuffix(_END)
    try:
        der = binascii.a2b_base64("".join(body.split()), strict_mode=True)
    except ValueError as error:
        raise InvalidArgument("no private key in PEM") from error
    if not der.startswith(_PKCS8) or len(der) != len(_PKCS8) + KEY_BYTES:
        raise InvalidArgument("not a private key of Ed25519 (openssl genpkey -algorithm ed25519)")
    return der[len(_PKCS8) :]


@contextlib.contextmanager
def _handle(make: Callable[..., int | None], raw: bytes) -> Iterator[int | None]:
    """OpenSSL's key while the block runs; None if *raw* is none."""
    key = make(_ED25519, None, raw, len(raw)) if len(raw) == KEY_BYTES else None
    try:
        yield key
    finally:
        load().EVP_PKEY_free(key)


@contextlib.contextmanager
def _context() -> Iterator[int]:
    context = load().EVP_MD_CTX_new()
    try:
        yield context
    finally:
        load().EVP_MD_CTX_free(context)
