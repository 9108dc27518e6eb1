"""From the kind of an error to the status of the response: one table."""

from __future__ import annotations

from orlop.lib import errors

_STATUS = {
    errors.InvalidArgument: 400,
    errors.Unauthorized: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.NotModified: 304,
    errors.Unavailable: 503,
    errors.DeadlineExceeded: 504,
    errors.Cancelled: 499,
    errors.ResourceExhausted: 507,
    errors.NotImplementedYet: 501,
    errors.Internal: 500,
}


def status_of(error: errors.OrlopError) -> int:
    """The nearest kind decides; what has none is 500."""
    for kind in type(error).__mro__:
        if issubclass(kind, errors.OrlopError) and kind in _STATUS:
            return _STATUS[kind]
    return 500
