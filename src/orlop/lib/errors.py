"""Errors that are meant for people, by kind.

An `OrlopError` says what was attempted, on what object, and what happened; `hint` says what to
try. Its kinds are the words of Docker's errdefs. One table in `engine.api` maps a kind to an HTTP
status and one in `cli` to an exit status; anything that is not an `OrlopError` is a bug.
"""


class OrlopError(Exception):
    """Something failed in a way that the person at the other end can understand."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InvalidArgument(OrlopError):
    """The request itself is wrong; repeating it cannot help."""


class NotFound(OrlopError):
    """The object named does not exist."""


class Conflict(OrlopError):
    """The object is in a state that does not allow the request."""


class NotModified(OrlopError):
    """The object already is as requested."""


class Unauthorized(OrlopError):
    """The request needs credentials, or others."""


class Forbidden(OrlopError):
    """The request is understood and refused."""


class Unavailable(OrlopError):
    """Something that is needed cannot be reached now; the same request may work later."""


class DeadlineExceeded(OrlopError):
    """It took longer than allowed."""


class Cancelled(OrlopError):
    """It was stopped on request."""


class ResourceExhausted(OrlopError):
    """A limit is reached: disk, memory, number of objects."""


class NotImplementedYet(OrlopError):
    """The interface has it, this version does not."""


class Internal(OrlopError):
    """Orlop or a program that it uses misbehaved."""
