"""Ends the time in which the TPM gives the key of the state's disk, as `sealing` has bound it.

Keys are sealed to a register that is unused until PID 1 has tried to open the state's disk, and is
extended then, at every boot. Whoever gets into the machine later, for instance by a state of their
own that they have plugged in, does not get the key of the one they have taken the place of.
"""

import os
from struct import pack

DEVICE = "/dev/tpmrm0"
BY_TPM = "/run/orlop/state-by-tpm"
"""A file: the TPM has opened the state. It is there for as long as the machine runs."""

PCR = 15
TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 4096

_VALUE = b"the state of an Orlop is open".ljust(32, b"\0")
_PASSWORD = pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
_BODY = pack(">I", PCR) + _PASSWORD + pack(">IH", 1, 0x000B) + _VALUE
COMMAND = pack(">HII", 0x8002, 10 + len(_BODY), 0x182) + _BODY
"""TPM2_PCR_Extend of the SHA-256 register (TPM 2.0 Library, part 3)."""


def lock(path: str) -> bool:
    """Extend the register of the TPM at *path*; whether the TPM has done it. Blocks.

    Raises:
        OSError: it cannot be spoken to.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(descriptor, COMMAND)
        return os.read(descriptor, MAX_ANSWER_BYTES)[6:10] == bytes(4)
    finally:
        os.close(descriptor)
