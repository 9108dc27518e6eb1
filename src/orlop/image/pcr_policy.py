"""What a TPM has measured when a unified kernel image runs, and signatures that approve of it.

systemd's stub extends PCR 11 by the sections of the chosen profile and by nothing else. A secret
that is sealed to the policy key can be had in any state which that key has signed: so it survives
updates, as long as they are signed with the same key. The signatures are in the section `.pcrsig`,
the key in `.pcrpkey`; the stub leaves both in the initrd, in `/.extra`.

Recovery is not signed: its shell may be open to whoever sits at the console.

Source: systemd-measure(1), systemd-stub(7), TPM 2.0 Library part 3 (PolicyAuthorize).
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from orlop.image.secure_boot import Keys
from orlop.lib.unified_image import HEAD_BYTES, Section, parse_rows

MEASURE = "/usr/lib/systemd/systemd-measure"
MEASURED = (
    *(".linux", ".osrel", ".cmdline", ".initrd", ".ucode", ".splash", ".dtb", ".uname", ".sbat"),
    *(".pcrpkey", ".profile"),
)
BANK = "sha256"

type Capture = Callable[[Sequence[str]], str]


def profile_sections(image: Path) -> list[dict[str, Section]]:
    """The measured sections of each profile of *image*, by name: its own, and those all share."""
    with image.open("rb") as stream:
        rows = parse_rows(stream.read(HEAD_BYTES), str(image))
    shared: dict[str, Section] = {}
    found: list[dict[str, Section]] = []
    for name, section in rows:
        if name == ".profile":
            found.append(dict(shared))
        if name in MEASURED:
            (found[-1] if found else shared)[name] = section
    return found


def measure_arguments(image: Path, profile: int, folder: Path) -> list[str]:
    """What tells systemd-measure of *profile* of *image*; the sections are copied into *folder*."""
    folder.mkdir(exist_ok=True)
    arguments = []
    with image.open("rb") as stream:
        for name, section in profile_sections(image)[profile].items():
            stream.seek(section.offset_bytes)
            copy = folder / name
            copy.write_bytes(stream.read(section.size_bytes))
            arguments.append(f"--{name.removeprefix('.')}={copy}")
    # The stub alone extends this PCR: nothing of a later phase of the boot does.
    return [*arguments, f"--bank={BANK}", "--phase=:"]


def sign_policies(image: Path, keys: Keys, scratch: Path, capture: Capture, count: int) -> str:
    """The content of `.pcrsig` for *image*: signatures of its first *count* profiles, as JSON.

    Copies go to *scratch*; *capture* runs a command and gives its output.
    """
    signed: list[object] = []
    for profile in range(count):
        words = measure_arguments(image, profile, scratch / f"profile-{profile}")
        words += [f"--private-key={keys.policy_key}", f"--public-key={keys.policy_public_key}"]
        signed += json.loads(capture([MEASURE, "sign", *words]))[BANK]
    return json.dumps({BANK: signed})
