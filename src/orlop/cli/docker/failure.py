"""How a command ends when it does not end well."""

from __future__ import annotations

from orlop.lib.errors import OrlopError

FAILED = 1
FLAGS_STATUS = 125
CANNOT_RUN = 126
NOT_FOUND = 127


class Failure(OrlopError):
    """A text for stderr and an exit status; an empty text is a status without a word."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status
