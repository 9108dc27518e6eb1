"""The worker that hashes a password: it comes on stdin, the hash goes to stdout."""

import sys

from orlop.lib.passwords import hash_password

MAX_PASSWORD_BYTES = 1024


def main(argv: list[str]) -> int:
    """Hash what stdin says."""
    text = sys.stdin.buffer.read(MAX_PASSWORD_BYTES).decode("utf-8", "replace")
    print(hash_password(text))
    return 0
