"""The key sequence that detaches a client from a terminal, Docker's `ctrl-p,ctrl-q`.

Source: `docker attach --detach-keys`: a comma-separated list of one character or `ctrl-` with a
letter or one of `@ [ \\ ] ^ _`.
"""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument

DEFAULT = bytes((0x10, 0x11))
_CONTROL = {"@": 0x00, "[": 0x1B, "\\": 0x1C, "]": 0x1D, "^": 0x1E, "_": 0x1F}
MAX_KEYS = 16


def parse(text: str) -> bytes:
    """The bytes of a sequence; empty text is the default.

    Raises:
        InvalidArgument: not a sequence.
    """
    if not text:
        return DEFAULT
    keys = text.split(",")
    if len(keys) > MAX_KEYS:
        raise InvalidArgument("detach keys: too many")
    return bytes(_parse_key(key) for key in keys)


def _parse_key(key: str) -> int:
    if len(key) == 1 and key.isascii():
        return ord(key)
    name = key.removeprefix("ctrl-")
    if name != key and len(name) == 1:
        if name in _CONTROL:
            return _CONTROL[name]
        if name.isascii() and name.isalpha():
            return ord(name.lower()) - ord("a") + 1
    raise InvalidArgument(f"Unknown character: {key!r} in detach keys")


class DetachScanner:
    """Looks for the sequence in a stream of input, over any division into pieces."""

    def __init__(self, sequence: bytes) -> None:
        self._sequence = sequence
        self._matched = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on, and whether the sequence is complete; nothing after it is passed on.

        Bytes that may begin the sequence are held back until it is clear that they do not.
        """
        passed = bytearray()
        for byte in data:
            if byte == self._sequence[self._matched]:
                self._matched += 1
                if self._matched == len(self._sequence):
                    return bytes(passed), True
                continue
            passed += self._sequence[: self._matched]
            self._matched = 0
            if byte == self._sequence[0]:
                self._matched = 1
                if len(self._sequence) == 1:
                    return bytes(passed), True
            else:
                passed.append(byte)
        return bytes(passed), False
