"""Images of a next system: the built one with another build id, and whatever else is to be wrong.

The system image is taken apart and put together again, compressed less: seconds instead of a build.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from orlop.image.extras import record
from orlop.image.initrd import initrd_members, write_cpio
from orlop.image.pcr_policy import sign_policies
from orlop.image.root import EXTRAS_RECORD
from orlop.image.secure_boot import signing_arguments
from orlop.image.uki import STUB, os_release
from orlop.lib.process import run
from orlop.lib.unified_image import HEAD_BYTES, parse_sections

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from orlop.image.secure_boot import Keys

COMPRESSION = ("-zlzma,level=0", "-C131072")
"""Of mkfs.erofs: as fast as it can."""
PROFILE = "ID=main\nTITLE=Orlop\n"


def make_next(
    orlop_efi: Path,
    build: str,
    scratch: Path,
    extras: Path | None = None,
    *,
    root: Path | None = None,
    words: str = "",
    keys: Keys | None = None,
) -> Path:
    """The image in *orlop_efi* as another build, in *scratch*; it takes *extras*, or the same.

    *root* is what is in it instead of what it has, *words* are more for its command line. With
    *keys* it is signed, and so is what a TPM measures of its only profile.
    """
    own, parts = scratch / "root", scratch / "parts"
    if not own.exists():
        take_apart(orlop_efi, own, parts)
    path = own / "usr/lib/orlop/release.json"
    release = {**json.loads(path.read_text()), "build": build}
    path.write_text(json.dumps(release))
    known = own / f"usr/lib/orlop/{EXTRAS_RECORD}"
    if extras is not None:
        known.write_bytes(record(extras))
    digest = json.loads(known.read_text())["sha256"]
    image = scratch / f"{build}.erofs"
    run(["mkfs.erofs", "--quiet", "-T", "0", "-x", "-1", *COMPRESSION, image, root or own])
    with (scratch / "initrd").open("wb") as stream:
        write_cpio(initrd_members(parts / "init", image), stream)
    image.unlink()
    line = f"{(parts / 'cmdline').read_text().strip('\0\n ')} {words}".strip()
    target = scratch / f"{build}.efi"
    command: list[str | Path] = [
        *("ukify", "build", "--stub", STUB, "--output", target),
        *("--linux", parts / "linux", "--initrd", scratch / "initrd"),
        *("--os-release", os_release(release, digest), "--cmdline", line),
    ]
    if keys is not None:
        command += ["--profile", PROFILE, "--pcrpkey", keys.policy_public_key]
    run(command)
    if keys is not None:
        policy = scratch / "policy.json"
        policy.write_text(sign_policies(target, keys, scratch, run, 1))
        run([*command, "--section", f".pcrsig:@{policy}", *signing_arguments(keys)])
    return target


def take_apart(orlop_efi: Path, root: Path, parts: Path) -> None:
    """Its sections to *parts*, with `init` and `os.erofs`; what is in that to *root*."""
    parts.mkdir(parents=True)
    data = orlop_efi.read_bytes()
    for name, section in parse_sections(data[:HEAD_BYTES]).items():
        end = section.offset_bytes + section.size_bytes
        (parts / name.strip(".")).write_bytes(data[section.offset_bytes : end])
    archive = ["cpio", "--quiet", "-id", "--no-absolute-filenames", "init", "os.erofs"]
    run(archive, stdin=(parts / "initrd").read_bytes(), cwd=parts)
    run(["fsck.erofs", f"--extract={root}", "--preserve", parts / "os.erofs"])


def damage(image: Path, section: str, number: int, rng: random.Random, last_bytes: int = 0) -> None:
    """Change *number* bits of *section* of *image*, anywhere, or in its *last_bytes*."""
    data = bytearray(image.read_bytes())
    place = parse_sections(bytes(data[:HEAD_BYTES]))[section]
    first = place.size_bytes - last_bytes if last_bytes else 0
    for _ in range(number):
        at = rng.randrange(first, place.size_bytes)
        data[place.offset_bytes + at] ^= 1 << rng.randrange(8)
    image.write_bytes(data)
