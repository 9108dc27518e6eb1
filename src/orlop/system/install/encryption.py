"""An installation whose state is encrypted: what may be asked for, and what has to be there first.

The keys come with the request and go to the worker in memory; nothing here writes, logs or keeps
them. `install.luks` is the worker's part.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

from orlop.lib.errors import Conflict, InvalidArgument, OrlopError

if TYPE_CHECKING:
    from orlop.lib.children import Children
    from orlop.system.install.install import Request

PASSPHRASE, KEY_FILE, TPM = KINDS = ("passphrase", "keyfile", "tpm")
MAX_PASSPHRASE_BYTES = 512
"""Of what a person types: cryptsetup takes no more on a console."""

_FILE = re.compile(
    r"(LABEL|UUID|PARTLABEL|PARTUUID|SERIAL|ID)=[\w.+@-]{1,100}:/[\w.+@-][\w.+@/-]{0,200}", re.ASCII
)


def check(request: Request) -> None:
    """Whether what *request* says of keys fits together; pure.

    Raises:
        InvalidArgument: it does not.
    """
    kind = request.encrypt
    if kind and kind not in KINDS:
        raise InvalidArgument(f"encrypt: {', '.join(KINDS)}, not {kind[:20]!r}")
    if kind and request.keep_state:
        raise InvalidArgument("encrypt, keep_state: a state that is kept is not encrypted anew")
    if not (kind or request.keep_state) and (request.key or request.key_file):
        raise InvalidArgument("key, key_file: only with encrypt, or with keep_state")
    if request.recovery_key and not kind:
        raise InvalidArgument("recovery_key: only with encrypt")
    for name in ("key", "recovery_key"):
        _check_key(name, getattr(request, name), typed=bool(kind))
    file = request.key_file
    if file and (_FILE.fullmatch(file) is None or "/../" in f"{file}/"):
        raise InvalidArgument("key_file: DISK:/FILE expected, such as LABEL=KEYS:/state.key")
    if kind == PASSPHRASE and not request.key:
        raise InvalidArgument("encrypt: a passphrase is needed (key)")
    if kind == TPM and not (request.key or request.recovery_key):
        raise InvalidArgument(
            "encrypt: with the TPM's there has to be another key (key, or recovery_key), for the "
            "day on which it refuses"
        )
    if bool(file) != (kind == KEY_FILE) and not request.keep_state:
        raise InvalidArgument("key_file: needed with encrypt: keyfile, and only with that")


def _check_key(name: str, text: str, *, typed: bool) -> None:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        raise InvalidArgument(f"{name}: Base64 expected") from None
    from orlop.system.storage.sealing import MAX_KEY_BYTES

    limit = MAX_PASSPHRASE_BYTES if typed else MAX_KEY_BYTES
    if len(key) > limit or (typed and b"\n" in key):
        raise InvalidArgument(f"{name}: one line of at most {limit} bytes expected")


async def prepare(request: Request, children: Children) -> None:
    """Have what an encrypted state needs, before anything is touched for it.

    Raises:
        Conflict: it is not here, or the machine could not open the state at its boot.
    """
    from orlop.system import firmware
    from orlop.system.storage import extras, sealing, unlocking
    from orlop.system.storage.late_disks import patiently

    if request.encrypt == KEY_FILE and firmware.secure_boot() == "on":
        raise Conflict(
            "where a key file is says a kernel parameter, and with Secure Boot those of the signed "
            "image alone count",
            hint="encrypt: tpm, or passphrase",
        )
    wait_s = unlocking.WAIT_S if request.unattended else 0.0
    try:
        await patiently(extras.ensure, children, wait_s)
        await extras.load_modules(children, unlocking.MODULES)
        if request.encrypt == TPM:
            await sealing.check(children, sealing.DEFAULT_PCRS)
    except OrlopError as error:
        raise Conflict(
            f"the state cannot be encrypted: {error}",
            hint=error.hint
            or "orlop-extras.erofs of this build, on a disk or a stick: docs/storage.md",
        ) from None
