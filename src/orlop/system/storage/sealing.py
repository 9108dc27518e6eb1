"""The key of an encrypted disk that the machine's TPM has sealed: made, taken away, had back.

What the disk's header and the TPM say is looked at by `storage.tpm_worker`; cryptsetup changes the
disk. A new key is added before those that were there go. After the disk of the state has been
opened, or not, the TPM gives such a key to nobody (`storage.tpm_lock`).
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orlop.engine.worker_process import start_worker
from orlop.lib.disk_ids import read_text
from orlop.lib.errors import Conflict, InvalidArgument, NotFound
from orlop.system.storage import extras, tpm_lock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop.lib.children import Children

TPM = tpm_lock.DEVICE
POLICY = "/usr/lib/orlop/extra"
"""Where `/init` keeps what systemd's stub has left of a signed image in the initrd."""
SYS_NUMBERS = "/sys/dev/block"
WORK_TIMEOUT_S = 120.0
"""Some TPMs take a minute for a key that others make in a second."""
CHANGE_TIMEOUT_S = 120.0

DEFAULT_PCRS = (7,)
MAX_PCR = 23
MAX_KEY_BYTES = 8192

QUICK = ("--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000")
"""Nobody guesses 32 random bytes, however fast."""

_changing = asyncio.Lock()


@dataclass(frozen=True, slots=True)
class Request:
    """*device* is the state's if it is empty; *key* one that opens it now, in bytes."""

    device: str = ""
    key: bytes = b""
    pcrs: tuple[int, ...] = DEFAULT_PCRS
    remove: bool = False


def parse_request(body: Mapping[str, object]) -> Request:
    """The request that *body* is.

    Raises:
        InvalidArgument: a field is unknown, or not what it should be.
    """
    for name in body:
        if name not in Request.__dataclass_fields__:
            raise InvalidArgument(f"{name}: there is no such field")
    device, remove = body.get("device", ""), body.get("remove", False)
    if not isinstance(device, str) or (device and re.fullmatch("/dev/[^\0]+", device) is None):
        raise InvalidArgument("device: a path in /dev expected")
    if not isinstance(remove, bool):
        raise InvalidArgument("remove: bool expected")
    pcrs = body.get("pcrs", list(DEFAULT_PCRS))
    if not isinstance(pcrs, list) or not all(type(n) is int and 0 <= n <= MAX_PCR for n in pcrs):
        raise InvalidArgument(f"pcrs: a list of numbers up to {MAX_PCR} expected")
    if not pcrs or tpm_lock.PCR in pcrs:
        raise InvalidArgument(f"pcrs: at least one expected, and not {tpm_lock.PCR}, Orlop's own")
    try:
        key = base64.b64decode(str(body.get("key", "")), validate=True)
    except ValueError:
        raise InvalidArgument("key: Base64 expected") from None
    if len(key) > MAX_KEY_BYTES or not (key or remove):
        raise InvalidArgument(f"key: 1 to {MAX_KEY_BYTES} bytes expected")
    return Request(device, key, tuple(sorted(set(pcrs))), remove)


@contextmanager
def in_memory(content: bytes = b"") -> Iterator[str]:
    """A path by which a program reads *content*, which is on no file system."""
    descriptor = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, content)
        yield f"/proc/{os.getpid()}/fd/{descriptor}"
    finally:
        os.close(descriptor)


async def unseal(children: Children, device: str, file: str) -> bool:
    """Have the key that the TPM has for *device* put into *file*, a path of `in_memory`; whether
    there is one.

    It does not pass through PID 1, whose memory is there to be read as long as the machine runs: by
    whoever has become root with a state of their own behind the header that holds the key.

    Raises:
        OrlopError: there is one, and why it is not to be had.
    """
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return bool((await _ask(children, "unseal", device, key=descriptor))["found"])
    finally:
        os.close(descriptor)


async def check(children: Children, pcrs: Sequence[int]) -> None:
    """Whether this machine's TPM can seal a key to *pcrs*.

    Raises:
        OrlopError: it cannot, and why.
    """
    await _ask(children, "check", "", ",".join(map(str, pcrs)))


async def change(children: Children, request: Request, opened: str) -> Mapping[str, object]:
    """Do what *request* says; *opened* is the open disk whose device is meant if it names none.

    Raises:
        OrlopError: the disk, the TPM or the given key is not fit for it; nothing was changed.
    """
    device = request.device or device_below(opened)
    async with _changing:
        from orlop.system.storage.unlocking import MODULES

        await extras.load_modules(children, MODULES)
        if request.remove:
            own = (await _ask(children, "look", device))["own"]
            if not own:
                raise NotFound(f"the TPM has no key of Orlop's for {device}")
            await _remove(children, device, own)
            return {"device": device, "removed": sorted(own)}
        pcrs = ",".join(map(str, request.pcrs))
        found = await _ask(children, "seal", device, pcrs)
        await _add(children, device, request.key, found)
        await _remove(children, device, found["own"])
        done = {"device": device, "slot": found["slot"], "pcrs": list(request.pcrs)}
        return {**done, "signed": found["signed"]}


async def _ask(
    children: Children, verb: str, device: str, *pcrs: str, key: int | None = None
) -> dict[str, Any]:
    words, fds = ("tpm", verb, device, TPM, POLICY, *pcrs), {} if key is None else {3: key}
    async with start_worker(children, *words, fds=fds, timeout_s=WORK_TIMEOUT_S) as it:
        return await it.result()


async def _add(children: Children, device: str, key: bytes, found: Mapping[str, Any]) -> None:
    slot = str(found["slot"])
    new, token = str(found["key"]).encode(), json.dumps(found["token"]).encode()
    with in_memory(key) as old_file, in_memory(new) as new_file, in_memory(token) as token_file:
        options = ("--key-file", old_file, "--new-key-slot", slot, *QUICK)
        await _cryptsetup(children, "luksAddKey", *options, device, new_file)
        try:
            # It is tried before keys that take seconds.
            prefer = ("--key-slot", slot, "--priority", "prefer")
            await _cryptsetup(children, "config", *prefer, device)
            await _cryptsetup(children, "token", "import", "--json-file", token_file, device)
        except BaseException:
            await _kill_slot(children, device, slot)
            raise


async def _remove(children: Children, device: str, own: Mapping[str, Sequence[str]]) -> None:
    for number, slots in own.items():
        for slot in slots:
            await _kill_slot(children, device, slot)
        await _cryptsetup(children, "token", "remove", "--token-id", number, device)


async def _kill_slot(children: Children, device: str, slot: str) -> None:
    await _cryptsetup(children, "luksKillSlot", "--batch-mode", device, slot)


async def _cryptsetup(children: Children, *arguments: str) -> None:
    await extras.run(children, "cryptsetup", *arguments, timeout_s=CHANGE_TIMEOUT_S)


def device_below(opened: str, numbers: str = SYS_NUMBERS) -> str:
    """The device that the open disk *opened* is on; *opened* may be a volume in it.

    Raises:
        Conflict: it is not an encrypted one.
    """
    try:
        number = os.stat(opened).st_rdev
        directory = f"{numbers}/{os.major(number)}:{os.minor(number)}"
        kind = read_text(f"{directory}/dm", "uuid")
        if kind.startswith(("CRYPT-LUKS2-", "LVM-")):
            [name] = os.listdir(f"{directory}/slaves")
            device = f"/dev/{name.replace('!', '/')}"
            return device_below(device, numbers) if kind.startswith("LVM-") else device
    except (OSError, ValueError):
        pass
    raise Conflict("the state is not on an encrypted disk (LUKS2)", hint="orlop disks seal DEVICE")
