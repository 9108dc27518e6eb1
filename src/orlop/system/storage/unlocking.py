"""Opens the state's disk if it is encrypted (LUKS2): by TPM, by a key file, or by asking.

The TPM is asked if its key is on the disk (`sealing`). `orlop.state.key=DISK:/FILE` says where a
key file is. Without them, or if neither fits, all consoles ask for the passphrase, for a limited
time, so that a machine nobody looks at boots without it.
"""

from __future__ import annotations

import asyncio
import os
import re
import termios
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.blocking import run_bounded
from orlop.lib.children import OUTPUT_LIMIT_BYTES, wait_or_kill
from orlop.lib.disk_ids import read_text
from orlop.lib.errors import Conflict, NotFound, OrlopError
from orlop.lib.mount import MountFlag, detach, mount
from orlop.system.cloud import seed_disk
from orlop.system.storage import block_devices, disk_references, extras, sealing, tpm_lock
from orlop.system.storage.late_disks import patiently
from orlop.system.storage.superblock import HEAD_BYTES

if TYPE_CHECKING:
    from orlop.lib.children import Children
    from orlop.system.storage.block_devices import Volume

NAME = "orlop-state"
DEVICE = f"/dev/mapper/{NAME}"
MODULES = ("dm_mod", "dm_crypt", "xts", "essiv", "cbc")
KEY_DIRECTORY = "/run/orlop/key"
CONSOLES = "/sys/class/tty/console"
MAX_KEY_BYTES = 8192
WAIT_S = 15.0
"""For the disks with the extras and with the key."""

ASK_TIMEOUT_S = 120.0
OPEN_TIMEOUT_S = 120.0
"""To derive a key from a passphrase is meant to take seconds, and is emulated in tests."""
MOUNT_TIMEOUT_S = 20.0

SEALED = "only the TPM may open it, as orlop.state.sealed says"

_NOT_ENCRYPTED = re.compile(rb'"encryption"\s*:\s*"[^"]*(?:null|capi:)')
_KEY_FILE_SYSTEMS = ("ext4", "vfat", "iso9660")


async def unlock(
    volume: Volume, key: str, children: Children, *, sealed: bool = False
) -> tuple[str, list[str]]:
    """The device of what is in *volume*, empty if it stays closed; and what is to be said.

    *sealed*: what the TPM does not open stays closed, whoever knows a key of it. That the TPM has
    sealed a key says nothing: a stranger's header may have a copy of it, by which it gives none.
    """
    said: list[str] = []
    try:
        await patiently(extras.ensure, children, WAIT_S)
        await extras.load_modules(children, MODULES)
        await _check_header(volume.device, children)
    except OrlopError as error:
        return "", [f"{volume.device} is encrypted, and cannot be opened: {error}"]
    try:
        if await _open_with_tpm(volume.device, children):
            return DEVICE, said
    except (OrlopError, OSError) as error:
        said.append(f"{volume.device} is not opened by the TPM: {_reason(error)}")
    if sealed:
        return "", [*said, f"{volume.device} stays closed: {SEALED}"]
    if key:
        try:
            await _open_with_file(volume.device, key, children)
            return DEVICE, said
        except (OrlopError, OSError, TimeoutError) as error:
            said.append(f"{volume.device} cannot be opened with {key}: {_reason(error)}")
    try:
        await _ask(volume.device, children)
        return DEVICE, said
    except (OrlopError, OSError, TimeoutError) as error:
        said.append(f"{volume.device} is encrypted and stays closed: {_reason(error)}")
    return "", said


def _reason(error: OrlopError | OSError | TimeoutError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    return str(getattr(error, "strerror", None) or error)


async def _check_header(device: str, children: Children) -> None:
    """Refuse a header of which a key is tried, and then the disk read as it is: whoever has the
    disk can make one of yours, and put in clear behind it what the machine is to do.

    Raises:
        Conflict: it is one. OrlopError: cryptsetup cannot read it, of whose copies it takes one.
    """
    words = ("luksDump", "--dump-json-metadata", device)
    header = await extras.run(children, "cryptsetup", *words)
    if len(header) >= OUTPUT_LIMIT_BYTES or _NOT_ENCRYPTED.search(header):
        raise Conflict("its header says that nothing is encrypted")


async def _open_with_tpm(device: str, children: Children) -> bool:
    """Whether there was a key for it."""
    with sealing.in_memory() as file:
        found = await sealing.unseal(children, device, file)
        if found:
            await _open(device, file, children)
            Path(tpm_lock.BY_TPM).touch()
    return found


async def _open(device: str, file: str, children: Children) -> None:
    options = ("--key-file", file, "--type", "luks2")
    await extras.run(
        children, "cryptsetup", "open", *options, device, NAME, timeout_s=OPEN_TIMEOUT_S
    )


async def _open_with_file(device: str, key: str, children: Children) -> None:
    with sealing.in_memory(await read_key(key, children)) as file:
        await _open(device, file, children)


async def read_key(key: str, children: Children) -> bytes:
    """The content of the key file *key*, DISK:/FILE; the disk is waited for.

    Raises:
        NotFound, Conflict: there is none. OSError, TimeoutError: it cannot be read.
    """
    reference, _, path = key.partition(":/")
    source = await patiently(partial(_find_disk, reference), children, WAIT_S)
    return await run_bounded(partial(_read_from, source, path), MOUNT_TIMEOUT_S)


def _read_from(source: str, path: str) -> bytes:
    _mount_key_disk(source)
    try:
        with open(f"{KEY_DIRECTORY}/{path}", "rb") as stream:
            found = stream.read(MAX_KEY_BYTES + 1)
    finally:
        detach(KEY_DIRECTORY)
    if not 0 < len(found) <= MAX_KEY_BYTES:
        raise Conflict(f"{path} is empty, or larger than {MAX_KEY_BYTES} bytes: that is no key")
    return found


async def _find_disk(reference: str) -> str:
    kind, value = disk_references.split(reference)
    names = block_devices.candidates(optical=True)
    for name in names:
        device = f"/dev/{name.replace('!', '/')}"
        if kind == "DEVICE":
            matches = device == value
        elif kind == "LABEL":
            matches = await run_bounded(partial(_has_label, device, value), MOUNT_TIMEOUT_S)
        else:
            reading = partial(disk_references.read_names, device)
            known = await run_bounded(reading, MOUNT_TIMEOUT_S)
            matches = disk_references.names_match(kind, value, known)
        if matches:
            return device
    for volume in await block_devices.probe(names):
        if disk_references.matches(kind, value, volume, disk_references.Names()):
            return volume.device
    raise NotFound(f"no disk is {reference}")


def _has_label(device: str, label: str) -> bool:
    """Also those of VFAT and ISO 9660, which a stick with a key may have."""
    try:
        with open(device, "rb", buffering=0) as stream:
            head = stream.read(HEAD_BYTES) or b""
    except OSError:
        return False
    return any(found == label for _, found in seed_disk.labels(head))


def _mount_key_disk(source: str) -> None:
    os.makedirs(KEY_DIRECTORY, mode=0o700, exist_ok=True)
    flags = MountFlag.RDONLY | MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC
    for fstype in _KEY_FILE_SYSTEMS:
        try:
            mount(source, KEY_DIRECTORY, fstype, flags)
        except OSError:
            if fstype == _KEY_FILE_SYSTEMS[-1]:
                raise
        else:
            return


async def _ask(device: str, children: Children) -> None:
    """Let cryptsetup ask on all consoles of the machine; whoever answers first opens it.

    Raises:
        Conflict: nobody knew it in time.
    """
    names = read_text(CONSOLES, "active").split() or ["console"]
    asking = [asyncio.ensure_future(_ask_on(f"/dev/{name}", device, children)) for name in names]
    try:
        for answer in asyncio.as_completed(asking):
            if await answer:
                return
    finally:
        for task in asking:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    raise Conflict("nobody gave its passphrase")


async def _ask_on(console: str, device: str, children: Children) -> bool:
    try:
        descriptor = os.open(console, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False  # a serial line that is named, and not there
    try:
        before = termios.tcgetattr(descriptor)
        text = f"\r\n{device} holds this machine's state and is encrypted.\r\n"
        os.write(descriptor, text.encode())
        os.set_blocking(descriptor, True)
        command = [extras.program("cryptsetup"), "open", "--type", "luks2", "--tries", "3"]
        command += ["--timeout", f"{ASK_TIMEOUT_S:g}", device, NAME]
        fds = dict.fromkeys((0, 1, 2), descriptor)
        child = await children.spawn_patiently(
            command, env=extras.ENVIRONMENT, fds=fds, new_session=True
        )
        try:
            return (await wait_or_kill(child, ASK_TIMEOUT_S + OPEN_TIMEOUT_S)).ok
        finally:  # one that was killed has left the terminal without an echo
            termios.tcsetattr(descriptor, termios.TCSANOW, before)
    except (OSError, termios.error, TimeoutError):
        return False
    finally:
        os.close(descriptor)
