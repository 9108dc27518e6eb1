"""The derived module key: repeatable, well-formed, and really RSA."""

import random

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from orlop.image import module_key

EPOCH = 1_767_225_600
BITS = 1024  # small: what is tested does not depend on the size


def load(pem: bytes) -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    key = serialization.load_pem_private_key(pem, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key, x509.load_pem_x509_certificate(pem)


def test_same_seed_gives_the_same_bytes_and_another_another_key() -> None:
    first = module_key.make_key_pem(b"seed", EPOCH, bits=BITS)
    assert first == module_key.make_key_pem(b"seed", EPOCH, bits=BITS)
    assert first != module_key.make_key_pem(b"other", EPOCH, bits=BITS)


def test_no_seed_gives_a_new_key_each_time() -> None:
    keys = [module_key.make_key_pem(None, EPOCH, bits=BITS) for _ in range(2)]
    assert keys[0] != keys[1]


def test_certificate_belongs_to_the_key_and_may_only_sign() -> None:
    key, certificate = load(module_key.make_key_pem(b"seed", EPOCH, bits=BITS))
    assert key.key_size == BITS
    assert certificate.public_key() == key.public_key()
    certificate.verify_directly_issued_by(certificate)
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert not usage.key_cert_sign
    assert certificate.not_valid_before_utc.timestamp() == EPOCH


def test_key_signs() -> None:
    key, certificate = load(module_key.make_key_pem(b"seed", EPOCH, bits=BITS))
    signature = key.sign(b"module", padding.PKCS1v15(), hashes.SHA512())
    public = certificate.public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    public.verify(signature, b"module", padding.PKCS1v15(), hashes.SHA512())


@pytest.mark.parametrize("prime", [5, 7, 65537, 2**61 - 1, 2**127 - 1, 2**521 - 1])
def test_primes_are_recognised(prime: int) -> None:
    assert module_key.is_prime(prime, random.Random(1).randbytes)


@pytest.mark.parametrize(
    "composite",
    [9, 15, 561, 41041, 825265, 3215031751, 3825123056546413051, (2**61 - 1) * (2**89 - 1)],
)
def test_pseudoprimes_are_not(composite: int) -> None:
    assert not module_key.is_prime(composite, random.Random(1).randbytes)


def test_sieve_is_right() -> None:
    assert module_key.small_primes(30) == (3, 5, 7, 11, 13, 17, 19, 23, 29)


def test_stream_goes_on_and_depends_on_the_seed_only() -> None:
    one, same, other = (module_key.byte_stream(seed) for seed in (b"a", b"a", b"b"))
    first = [one(16), one(16)]
    assert first == [same(16), same(16)]
    assert first[0] != first[1]
    assert other(16) != first[0]
