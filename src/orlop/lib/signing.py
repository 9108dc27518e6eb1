"""Keys and signatures, by OpenSSL's libcrypto: what certificates are made with.

Called through ctypes because Python has no module for it; nothing else of the library is used. Only
for programs that make certificates: PID 1 does not load it. Source: OpenSSL 3.5 EVP_PKEY-EC(7),
EVP_DigestSignInit(3), d2i_PrivateKey(3).
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib import shared_library
from orlop.lib.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.lib.shared_library import Function

LIBRARY = "libcrypto.so.3"
CURVE = b"P-256"
MAX_SIGNATURE_BYTES = 1024

_Pointer = ctypes.c_void_p
_Out = ctypes.POINTER(ctypes.POINTER(ctypes.c_ubyte))
_Size = ctypes.POINTER(ctypes.c_size_t)
_FUNCTIONS: tuple[Function, ...] = (
    # Of a variable number; for "EC" there is one more, the curve's name.
    ("EVP_PKEY_Q_keygen", _Pointer, [_Pointer] * 2 + [ctypes.c_char_p] * 2),
    ("EVP_PKEY_free", None, [_Pointer]),
    ("EVP_PKEY_is_a", ctypes.c_int, [_Pointer, ctypes.c_char_p]),
    ("EVP_MD_CTX_new", _Pointer, []),
    ("EVP_MD_CTX_free", None, [_Pointer]),
    (
        "EVP_DigestSignInit_ex",
        ctypes.c_int,
        [_Pointer] * 2 + [ctypes.c_char_p] + [_Pointer] * 4,
    ),
    (
        "EVP_DigestSign",
        ctypes.c_int,
        [_Pointer, ctypes.c_char_p, _Size, ctypes.c_char_p, ctypes.c_size_t],
    ),
    (
        "d2i_AutoPrivateKey",
        _Pointer,
        [_Pointer, ctypes.POINTER(ctypes.c_char_p), ctypes.c_long],
    ),
    ("i2d_PrivateKey", ctypes.c_int, [_Pointer, _Out]),
    ("i2d_PUBKEY", ctypes.c_int, [_Pointer, _Out]),
)


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        return shared_library.load(LIBRARY, _FUNCTIONS)
    except OSError as error:
        raise Internal(f"certificates cannot be made here: {error}") from error


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key in DER: `private` as OpenSSL's traditional form, `public` as
    SubjectPublicKeyInfo; *is_rsa* or else of an elliptic curve."""

    private: bytes
    public: bytes
    is_rsa: bool = False


def generate() -> SigningKey:
    """A new key of the curve P-256."""
    library = _library()
    key = library.EVP_PKEY_Q_keygen(None, None, b"EC", CURVE)
    if not key:
        raise Internal("OpenSSL makes no key")
    try:
        return _described(library, key)
    finally:
        library.EVP_PKEY_free(key)


def load(der: bytes) -> SigningKey:
    """The key in *der*: PKCS #8, or the traditional form of an RSA or EC key.

    Raises:
        InvalidArgument: it is none.
    """
    library = _library()
    key = _parsed(library, der)
    try:
        return _described(library, key)
    finally:
        library.EVP_PKEY_free(key)


def sign(key: SigningKey, data: bytes) -> bytes:
    """The signature of *data* with SHA-256: ECDSA in DER, or PKCS #1 v1.5 of an RSA key."""
    library = _library()
    handle = _parsed(library, key.private)
    context = library.EVP_MD_CTX_new()
    try:
        size = ctypes.c_size_t(MAX_SIGNATURE_BYTES)
        signature = ctypes.create_string_buffer(MAX_SIGNATURE_BYTES)
        if (
            library.EVP_DigestSignInit_ex(context, None, b"SHA256", None, None, handle, None) != 1
            or library.EVP_DigestSign(context, signature, ctypes.byref(size), data, len(data)) != 1
        ):
            raise Internal("OpenSSL does not sign with this key")
        return signature.raw[: size.value]
    finally:
        library.EVP_MD_CTX_free(context)
        library.EVP_PKEY_free(handle)


def _parsed(library: ctypes.CDLL, der: bytes) -> int:
    position = ctypes.c_char_p(der)
    key: int | None = library.d2i_AutoPrivateKey(None, ctypes.byref(position), len(der))
    if not key:
        raise InvalidArgument("not a private key that can be used")
    return key


def _described(library: ctypes.CDLL, key: int) -> SigningKey:
    is_rsa = library.EVP_PKEY_is_a(key, b"RSA") == 1
    if not is_rsa and library.EVP_PKEY_is_a(key, b"EC") != 1:
        raise InvalidArgument("a key is neither RSA nor EC")
    found = [_encoded(function, key) for function in (library.i2d_PrivateKey, library.i2d_PUBKEY)]
    return SigningKey(found[0], found[1], is_rsa)


def _encoded(function: Callable[..., int], key: int) -> bytes:
    length = function(key, None)
    if length <= 0:
        raise Internal("OpenSSL does not write a key")
    buffer = ctypes.create_string_buffer(length)
    # The function moves the pointer that it is given.
    place = ctypes.cast(buffer, ctypes.POINTER(ctypes.c_ubyte))
    function(key, ctypes.byref(place))
    return buffer.raw
