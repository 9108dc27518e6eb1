"""Keys for Secure Boot: made once, secret, and good for what they are for."""

import stat
import struct
import subprocess
import uuid
import zlib
from pathlib import Path

import pytest

from orlop.image.gate import put_into_gate
from orlop.image.key_files import make_keys
from orlop.image.secure_boot import read_keys, sign, signing_arguments
from orlop.lib.errors import Conflict, NotFound
from orlop.lib.process import run
from orlop.lib.unified_image import HEAD_BYTES, parse_sections

GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
IMAGE_SECURITY = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
PROGRAM = Path("/usr/lib/systemd/boot/efi/addonx64.efi.stub")


def run_quietly(command: object) -> None:
    assert isinstance(command, list)
    run(command, timeout_s=60)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("keys") / "mine"
    make_keys(made, "Test")
    return made


def verifies(program: Path, certificate: Path) -> bool:
    command = ["sbverify", "--cert", str(certificate), str(program)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_secrets_are_for_their_owner_alone(folder: Path) -> None:
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    secret = {path.name for path in folder.iterdir() if b"PRIVATE" in path.read_bytes()}
    assert secret == {"PK.key", "KEK.key", "db.key", "pcr.key"}
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in secret} == {0o600}


def test_keys_are_never_overwritten(folder: Path) -> None:
    with pytest.raises(Conflict, match="not empty"):
        make_keys(folder, "Test")


def test_build_wants_what_signs(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"db\.key"):
        read_keys(tmp_path)


def test_one_altered_byte_breaks_a_signature(folder: Path, tmp_path: Path) -> None:
    program = tmp_path / "a.efi"
    program.write_bytes(PROGRAM.read_bytes())
    sign(program, read_keys(folder), run_quietly)
    assert verifies(program, folder / "db.crt")
    assert not verifies(program, folder / "KEK.crt")
    content = bytearray(program.read_bytes())
    content[len(PROGRAM.read_bytes()) // 2] ^= 1
    program.write_bytes(content)
    assert not verifies(program, folder / "db.crt")


def test_sealed_loader_holds_a_signed_one(folder: Path, tmp_path: Path) -> None:
    grub, gate, loader = (tmp_path / name for name in ("grub.efi", "gate.efi", "loader.efi"))
    grub.write_bytes(PROGRAM.read_bytes())
    gate.write_bytes(PROGRAM.read_bytes())
    keys = read_keys(folder)
    sign(grub, keys, run_quietly)
    put_into_gate(grub, gate, loader, run_quietly, signing_arguments(keys))
    assert verifies(loader, folder / "db.crt")
    offset, size = parse_sections(loader.read_bytes()[:HEAD_BYTES])[".grub"]
    inner = tmp_path / "inner.efi"
    inner.write_bytes(zlib.decompress(loader.read_bytes()[offset + 4 : offset + size], -15))
    assert verifies(inner, folder / "db.crt")


@pytest.mark.parametrize(("name", "signer"), [("PK", "PK"), ("KEK", "PK"), ("db", "KEK")])
def test_enrolment_is_signed_as_firmware_checks_it(
    folder: Path, tmp_path: Path, name: str, signer: str
) -> None:
    """Over name, vendor, attributes, time and value; SignedData without a frame."""
    content = (folder / f"{name}.auth").read_bytes()
    moment, (length,) = content[:16], struct.unpack_from("<I", content, 16)
    signed_data, value = content[40 : 16 + length], content[16 + length :]
    vendor = IMAGE_SECURITY if name == "db" else GLOBAL
    signed = name.encode("utf-16-le") + vendor.bytes_le + struct.pack("<I", 0x27) + moment + value
    for file, data in (("signature", framed(signed_data)), ("content", signed)):
        (tmp_path / file).write_bytes(data)
    certificate = folder / f"{signer}.crt"
    words = ["openssl", "smime", "-verify", "-inform", "DER", "-binary", "-purpose", "any"]
    words += ["-in", "signature", "-content", "content", "-out", "/dev/null"]
    words += ["-CAfile", str(certificate), "-certfile", str(certificate)]
    run(words, cwd=tmp_path, timeout_s=60)
    assert (folder / f"{name}.cer").read_bytes() in value


def framed(signed_data: bytes) -> bytes:
    """*signed_data* as PKCS #7 has it: with its type in front."""
    tagged = b"\xa0\x82" + struct.pack(">H", len(signed_data)) + signed_data
    body = bytes.fromhex("06092a864886f70d010702") + tagged
    return b"\x30\x82" + struct.pack(">H", len(body)) + body
