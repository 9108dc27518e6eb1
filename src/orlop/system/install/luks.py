"""The encrypted state of an installation: made, opened, looked at again. Only in its worker.

Each key gets a slot of its own. What people give is stretched by Argon2id with an amount of memory
that the smallest machine has; what is random needs none of that. Keys are in memory alone.
"""

from __future__ import annotations

import base64
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from orlop.engine.worker_process import report
from orlop.lib.children import run_with_children
from orlop.lib.disk_layout import STATE_LABEL
from orlop.lib.errors import Conflict, Internal, OrlopError
from orlop.system.install.encryption import TPM
from orlop.system.storage import extras, sealing, unlocking

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from orlop.lib.children import Children

NAME = "orlop-install"
DEVICE = f"/dev/mapper/{NAME}"
STRETCHED = ("--pbkdf", "argon2id", "--pbkdf-memory", "65536", "--iter-time", "2000")
TIMEOUT_S = 300.0
OPEN_CONSOLE = (
    "nobody has to be there when it starts: give root a password, as long as nobody has one the "
    "console is open to whoever sits there"
)


class Key(NamedTuple):
    """One that opens the state, and the options for its slot."""

    content: bytes
    options: Sequence[str]


def keys_of(request: Mapping[str, Any]) -> list[Key]:
    """The keys that *request* names, in the order of their slots.

    Raises:
        OrlopError: the file of one is not there.
    """
    found = []
    if file := request.get("key_file"):
        content = run_with_children(lambda children: unlocking.read_key(file, children))
        found.append(Key(content, STRETCHED))
    for name, options in (("key", STRETCHED), ("recovery_key", sealing.QUICK)):
        if content := base64.b64decode(request.get(name) or ""):
            found.append(Key(content, options))
    return found


class Lock:
    """What opens a state with *keys*; *kind* is one of `install.encryption.KINDS`, or empty."""

    def __init__(self, kind: str, keys: Sequence[Key]) -> None:
        self._keys = keys
        self._by_tpm = kind == TPM

    @property
    def has_keys(self) -> bool:
        return bool(self._keys)

    def make(self, part: str) -> None:
        """Encrypt *part*: what was on it is gone.

        Raises:
            OrlopError: cryptsetup, or the TPM, refuses.
        """
        first, *others = self._keys
        run_with_children(lambda children: _format(children, part, first, others))
        if self._by_tpm:
            request = sealing.Request(part, first.content)
            done = run_with_children(lambda children: sealing.change(children, request, ""))
            image = ", and the image is signed with the same key" if done["signed"] else ""
            pcrs = ", ".join(map(str, request.pcrs))
            report({"text": f"the TPM opens the state while PCR {pcrs} stays as it is{image}"})
            report({"notice": OPEN_CONSOLE})

    def check(self, part: str) -> None:
        """Whether each key opens it.

        Raises:
            Internal: one does not.
        """
        for key in self._keys:
            try:
                self._open(part, key, "--test-passphrase")
            except OrlopError as error:
                raise Internal(f"{part} is not opened by its key: {error}") from None

    @contextmanager
    def opened(self, part: str) -> Iterator[str]:
        """The device of what is in *part*, for a block.

        Raises:
            OrlopError: no key opens it.
        """
        try:
            self._open(part, self._keys[0])
        except OrlopError as error:
            raise Conflict(f"the key given does not open the state on {part}: {error}") from None
        try:
            yield DEVICE
        finally:
            _close()

    @staticmethod
    def _open(part: str, key: Key, *more: str) -> None:
        words = ("open", "--type", "luks2", *more)
        names = () if more else (NAME,)
        with sealing.in_memory(key.content) as file:
            _cryptsetup(*words, "--key-file", file, part, *names)


async def _format(children: Children, part: str, first: Key, others: Sequence[Key]) -> None:
    with sealing.in_memory(first.content) as file:
        options = ("--type", "luks2", "--label", STATE_LABEL, *first.options, "--key-file", file)
        await _run(children, "--batch-mode", "luksFormat", *options, part)
        for key in others:
            with sealing.in_memory(key.content) as new:
                words = ("luksAddKey", "--key-file", file, *key.options, part, new)
                await _run(children, "--batch-mode", *words)


def close_leftover() -> None:
    """Close what a worker that was killed has left open."""
    if os.path.exists(DEVICE):
        _close()


def _close() -> None:
    _cryptsetup("close", NAME)


def _cryptsetup(*words: str) -> None:
    run_with_children(lambda children: _run(children, *words))


async def _run(children: Children, *words: str) -> None:
    await extras.run(children, "cryptsetup", *words, timeout_s=TIMEOUT_S)
