"""New keys for Secure Boot: PK, KEK and db as UEFI has them, and one for policies of a TPM.

The platform key (PK) may change KEK, the key exchange key (KEK) may change db, and what the key in
db has signed may run. RSA with 2048 bits, which is what all firmware understands.

Sources: UEFI specification 2.10, 8.2 and 32.3 to 32.6; systemd-boot(7).
"""

import os
import struct
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

from orlop.image.all_or_none import all_or_none
from orlop.lib.errors import Conflict
from orlop.lib.process import run

KEY_BITS = 2048
VALID_DAYS = 36500
"""Firmware does not look at the dates, other tools do; keys are replaced, they do not run out."""
SIGNER = {"PK": "PK", "KEK": "PK", "db": "KEK"}
"""The variables, and whose key signs a change of each."""
ATTRIBUTES = 0x27
"""Kept, readable at boot and later, changed by whoever can sign the time of the change."""
GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
CERT_X509 = uuid.UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
CERT_TYPE_PKCS7 = uuid.UUID("4aafd29d-68df-49ee-8aa9-347d375665a7")
POLICY = "pcr"
MEDIUM = "enroll.img"
MEDIUM_KIB = 512
ENROLLER = Path("/usr/lib/systemd/boot/efi/systemd-bootx64.efi")
ENROLLER_SETTINGS = "secure-boot-enroll force\ntimeout 0\n"
OVMF_VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")

_TIME = struct.Struct("<HBBBBB9x")
_CERTIFICATE = struct.Struct("<IHH16s")
_FRAME_BYTES = 19
"""PKCS #7's ContentInfo before a SignedData of 256 bytes to 64 KiB: type and two lengths."""
_PEM, _DER = serialization.Encoding.PEM, serialization.Encoding.DER


def make_keys(folder: Path, owner: str) -> None:
    """Fill *folder*, which is made if it is not there; *owner* is in the certificates' names.

    Raises:
        Conflict: there is something in it: keys are never overwritten.
        OrlopError: a tool failed.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise Conflict(f"{folder} is not empty", hint="keys are never overwritten: name a new one")
    with all_or_none(folder):
        _fill(folder, owner)


def _fill(folder: Path, owner: str) -> None:
    guid, now = uuid.uuid4(), datetime.now(UTC)
    keys = {name: _new_key(folder / f"{name}.key") for name in (*SIGNER, POLICY)}
    certificates = {name: _certificate(keys[name], f"{owner} {name}", now) for name in SIGNER}
    for name, by in SIGNER.items():
        value = signature_list(certificates[name], guid)
        change = signed_change(name, value, keys[by], certificates[by], now)
        _write(folder / f"{name}.crt", certificates[name].public_bytes(_PEM))
        _write(folder / f"{name}.cer", certificates[name].public_bytes(_DER))
        _write(folder / f"{name}.auth", change)
    public = keys[POLICY].public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    _write(folder / f"{POLICY}.pub", public.public_bytes(_PEM, form))
    _variables(folder, str(guid))
    _enrolment_medium(folder)


def _new_key(path: Path) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    content = key.private_bytes(
        _PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(path, content, mode=0o600)
    return key


def _certificate(key: rsa.RSAPrivateKey, name: str, now: datetime) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # From the day before: clocks of machines differ.
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=VALID_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )


def signed_change(
    name: str, value: bytes, key: rsa.RSAPrivateKey, certificate: x509.Certificate, moment: datetime
) -> bytes:
    """`NAME.auth`: the variable *name* becomes *value*, signed at *moment*, as firmware takes it.

    EFI_VARIABLE_AUTHENTICATION_2 (UEFI 2.10, 8.2.6): a time, a certificate, the value.
    """
    time = _TIME.pack(*moment.timetuple()[:6])
    vendor = IMAGE_SECURITY if name == "db" else GLOBAL
    signed = name.encode("utf-16-le") + vendor.bytes_le + struct.pack("<I", ATTRIBUTES)
    options = [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary]
    options.append(pkcs7.PKCS7Options.NoAttributes)
    framed = (
        pkcs7.PKCS7SignatureBuilder()
        .set_data(signed + time + value)
        .add_signer(certificate, key, hashes.SHA256())
        .sign(_DER, options)
    )
    signature = framed[_FRAME_BYTES:]  # firmware wants the SignedData itself
    length = _CERTIFICATE.size + len(signature)
    head = _CERTIFICATE.pack(length, 0x0200, 0x0EF1, CERT_TYPE_PKCS7.bytes_le)
    return time + head + signature + value


def signature_list(certificate: x509.Certificate, owner: uuid.UUID) -> bytes:
    """EFI_SIGNATURE_LIST with *certificate* alone (UEFI 2.10, 32.4.1)."""
    entry = owner.bytes_le + certificate.public_bytes(_DER)
    sizes = struct.pack("<III", 28 + len(entry), 0, len(entry))
    return CERT_X509.bytes_le + sizes + entry


def _variables(folder: Path, guid: str) -> None:
    """`ovmf-vars.fd`: the variables of OVMF with the keys enrolled and Secure Boot on."""
    run(
        [
            *("virt-fw-vars", "--input", OVMF_VARIABLES, "--output", folder / "ovmf-vars.fd"),
            *("--set-pk", guid, folder / "PK.crt", "--add-kek", guid, folder / "KEK.crt"),
            *("--add-db", guid, folder / "db.crt", "--secure-boot"),
        ],
        timeout_s=60,
    )


def _enrolment_medium(folder: Path) -> None:
    """`enroll.img`: a FAT file system for a USB stick. Firmware in setup mode that starts it has
    the keys afterwards: systemd-boot enrols what it finds there, after 15 seconds, and restarts.
    """
    medium, settings = folder / MEDIUM, folder / "loader.conf"
    _write(settings, ENROLLER_SETTINGS.encode())
    placed = {"loader/loader.conf": settings, "EFI/BOOT/BOOTX64.EFI": ENROLLER}
    placed |= {f"loader/keys/auto/{name}.auth": folder / f"{name}.auth" for name in SIGNER}
    _write(medium, bytes(MEDIUM_KIB << 10))
    run(["mformat", "-i", medium, "-v", "ORLOP_KEYS", "::"], timeout_s=60)
    folders = ("EFI", "EFI/BOOT", "loader", "loader/keys", "loader/keys/auto")
    run(["mmd", "-i", medium, *(f"::/{path}" for path in folders)], timeout_s=60)
    for path, source in placed.items():
        run(["mcopy", "-i", medium, source, f"::/{path}"], timeout_s=60)
    settings.unlink()


def _write(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
