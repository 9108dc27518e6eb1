"""The key that signs the kernel's modules: derived from the build's inputs, so that builds repeat.

A key that is drawn at random and thrown away makes every build differ in every module and in the
kernel, and nobody could check that the published image comes from the published source. This
one is computed: whoever builds the same inputs gets the same key, uses it, and throws it away.
So the signature does not prove that we built a module; it proves that the module belongs to
this build, and LoadPin refuses modules from anywhere but the image. `ORLOP_MODULE_KEY=random` gives
a key that nobody can compute, at the price of builds that differ. See docs/adr/.

The private key exists in the build's scratch directory only.
"""

import hashlib
import math
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

KEY_BITS = 3072
"""128 bits of security; with 4096 the signatures alone would take 25 KB more of the ISO."""

EXPONENT = 65537
MILLER_RABIN_ROUNDS = 64
VALID_DAYS = 36500
"""The kernel does not look at the dates of the keys it is built with."""

_SIEVE_BOUND = 20000

type RandomBytes = Callable[[int], bytes]


def byte_stream(seed: bytes) -> RandomBytes:
    """An endless stream of bytes decided by *seed*: SHAKE256 in counter mode."""
    counter = 0

    def take(count: int) -> bytes:
        nonlocal counter
        counter += 1
        block = seed + counter.to_bytes(8, "big")
        return hashlib.shake_256(b"orlop module key\0" + block).digest(count)

    return take


def make_key_pem(seed: bytes | None, epoch: int, *, bits: int = KEY_BITS) -> bytes:
    """Private key and self-signed certificate in one PEM file, as CONFIG_MODULE_SIG_KEY wants it.

    The same *seed* and *epoch* (seconds, for the certificate's dates) give the same bytes; with
    no seed the key is random.
    """
    random = secrets.token_bytes if seed is None else byte_stream(seed)
    key = make_rsa_key(random, bits)
    certificate = _certificate(key, random, epoch)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def make_rsa_key(random: RandomBytes, bits: int) -> rsa.RSAPrivateKey:
    """An RSA key of exactly *bits* bits whose primes come from *random* (FIPS 186-5, A.1.3)."""
    sieve = small_primes(_SIEVE_BOUND)
    while True:
        p = random_prime(random, bits // 2, sieve)
        q = random_prime(random, bits // 2, sieve)
        # Primes that are close to each other can be found from their product.
        if abs(p - q) >> (bits // 2 - 100) != 0:
            break
    p, q = max(p, q), min(p, q)
    d = pow(EXPONENT, -1, math.lcm(p - 1, q - 1))
    numbers = rsa.RSAPrivateNumbers(
        p=p,
        q=q,
        d=d,
        dmp1=d % (p - 1),
        dmq1=d % (q - 1),
        iqmp=pow(q, -1, p),
        public_numbers=rsa.RSAPublicNumbers(EXPONENT, p * q),
    )
    return numbers.private_key()  # checks that the numbers belong together


def random_prime(random: RandomBytes, bits: int, sieve: tuple[int, ...]) -> int:
    """A prime of *bits* bits, the two highest set, that suits `EXPONENT`."""
    while True:
        candidate = int.from_bytes(random(bits // 8), "big")
        candidate |= (0b11 << (bits - 2)) | 1
        if any(candidate % prime == 0 for prime in sieve):
            continue
        if math.gcd(candidate - 1, EXPONENT) == 1 and is_prime(candidate, random):
            return candidate


def is_prime(number: int, random: RandomBytes) -> bool:
    """Miller-Rabin for odd numbers above 3; wrong with probability below 2**-128."""
    twos = ((number - 1) & -(number - 1)).bit_length() - 1
    odd = (number - 1) >> twos
    length = (number.bit_length() + 7) // 8
    for _ in range(MILLER_RABIN_ROUNDS):
        base = int.from_bytes(random(length), "big") % (number - 3) + 2
        power = pow(base, odd, number)
        if power in (1, number - 1):
            continue
        for _ in range(twos - 1):
            power = power * power % number
            if power == number - 1:
                break
        else:
            return False
    return True


def small_primes(bound: int) -> tuple[int, ...]:
    """The odd primes below *bound*."""
    composite = bytearray(bound)
    for number in range(3, math.isqrt(bound) + 1, 2):
        if not composite[number]:
            composite[number * number :: 2 * number] = b"\1" * len(
                range(number * number, bound, 2 * number)
            )
    return tuple(number for number in range(3, bound, 2) if not composite[number])


def _certificate(key: rsa.RSAPrivateKey, random: RandomBytes, epoch: int) -> x509.Certificate:
    """What certs/default_x509.genkey of the kernel asks for, with dates from *epoch*."""
    public = key.public_key()
    begin = datetime.fromtimestamp(epoch, UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Orlop module key of one build")])
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(int.from_bytes(random(19), "big") | 1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA512())
    )
