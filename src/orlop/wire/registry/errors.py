"""What a registry says when it refuses, and what dockerd makes of that.

Source: distribution specification, "Error Codes"; texts as github.com/docker/distribution's
errcode and moby's distribution package have them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.lib.errors import NotFound, OrlopError, Unauthorized
from orlop.wire.registry.challenge import find_challenge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.wire.registry.challenge import Challenge
    from orlop.wire.registry.reference import Reference

MAX_ERROR_BODY_BYTES = 64 << 10
MAX_TEXT_LENGTH = 2000

_MESSAGES = {
    "UNKNOWN": "unknown error",
    "UNSUPPORTED": "The operation is unsupported.",
    "UNAUTHORIZED": "authentication required",
    "DENIED": "requested access to the resource is denied",
    "UNAVAILABLE": "service unavailable",
    "TOOMANYREQUESTS": "too many requests",
    "DIGEST_INVALID": "provided digest did not match uploaded content",
    "SIZE_INVALID": "provided length did not match content length",
    "NAME_INVALID": "invalid repository name",
    "TAG_INVALID": "manifest tag did not match URI",
    "NAME_UNKNOWN": "repository name not known to registry",
    "MANIFEST_UNKNOWN": "manifest unknown",
    "MANIFEST_INVALID": "manifest invalid",
    "MANIFEST_UNVERIFIED": "manifest failed signature verification",
    "MANIFEST_BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UNKNOWN": "blob unknown to registry",
    "BLOB_UPLOAD_UNKNOWN": "blob upload unknown to registry",
    "BLOB_UPLOAD_INVALID": "blob upload invalid",
}
_BY_STATUS = {401: "UNAUTHORIZED", 403: "DENIED", 429: "TOOMANYREQUESTS"}
_BEARER_ERRORS = {"invalid_token": "UNAUTHORIZED", "insufficient_scope": "DENIED"}


@dataclass(frozen=True, slots=True)
class RegistryRefusal:
    """One error of a registry. *code* is one of the specification's words; unknown ones are
    `UNKNOWN`."""

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code.replace('_', ' ').lower()}: {self.message}"


class RefusedByRegistry(OrlopError):
    """A registry answered with an error; *refusals* has at least one, the first matters."""

    def __init__(self, status: int, refusals: Sequence[RegistryRefusal]) -> None:
        self.status = status
        self.refusals = tuple(refusals)
        if len(self.refusals) == 1:
            text = str(self.refusals[0])
        else:
            text = "errors:\n" + "".join(f"{refusal}\n" for refusal in self.refusals)
        super().__init__(text)

    @property
    def code(self) -> str:
        return self.refusals[0].code


class UnexpectedStatus(OrlopError):
    """A registry answered with a status that says nothing of its own: 5xx above all."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def parse_error(
    status: int, reason: str, content_type: str, body: bytes, challenges: Sequence[Challenge]
) -> RefusedByRegistry | UnexpectedStatus:
    """The error that an answer with *status* and *body* stands for."""
    if not 400 <= status < 500:
        return UnexpectedStatus(status, f"received unexpected HTTP status: {status} {reason}")
    refusals: list[RegistryRefusal] = []
    bearer = find_challenge(challenges, "bearer")
    if bearer is not None and (code := _BEARER_ERRORS.get(bearer.parameters.get("error", ""))):
        description = bearer.parameters.get("error_description", "")
        refusals.append(RegistryRefusal(code, _clean(description) or _MESSAGES[code]))
    from_body = _parse_body(status, content_type, body)
    if isinstance(from_body, str):
        if status == 401:
            refusals.append(RegistryRefusal("UNAUTHORIZED", _MESSAGES["UNAUTHORIZED"]))
        elif not refusals:
            return UnexpectedStatus(status, from_body)
    else:
        refusals += from_body
    return RefusedByRegistry(status, refusals)


def _parse_body(status: int, content_type: str, body: bytes) -> list[RegistryRefusal] | str:
    """The errors in *body*, or why there are none to be read."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("application/json", "application/vnd.api+json"):
        text = _clean(body.decode("utf-8", "replace"))
        return [RegistryRefusal(_BY_STATUS.get(status, "UNKNOWN"), text)]
    shown = json.dumps(_clean(body.decode("utf-8", "replace")), ensure_ascii=False)
    try:
        data = json.loads(body)
    except (ValueError, RecursionError) as error:
        return f"error parsing HTTP {status} response body: {error}: {shown}"
    if isinstance(data, dict) and isinstance(details := data.get("details"), str) and details:
        return [RegistryRefusal(_BY_STATUS.get(status, "UNKNOWN"), _clean(details))]
    errors = data.get("errors") if isinstance(data, dict) else None
    if not isinstance(errors, list) or not errors:
        problem = "no error details found in HTTP response body"
        return f"error parsing HTTP {status} response body: {problem}: {shown}"
    return [_refusal(error) for error in errors[:16]]


def _refusal(data: object) -> RegistryRefusal:
    code = data.get("code") if isinstance(data, dict) else None
    message = data.get("message") if isinstance(data, dict) else None
    if not isinstance(code, str) or code not in _MESSAGES:
        code = "UNKNOWN"
    text = _clean(message) if isinstance(message, str) else ""
    return RegistryRefusal(code, text or _MESSAGES[code])


def translate_pull_error(error: OrlopError, reference: Reference) -> OrlopError:
    """What a pull of *reference* that failed with *error* is answered with."""
    if not isinstance(error, RefusedByRegistry):
        return error
    first = error.refusals[0]
    match first.code:
        case "DENIED":
            return NotFound(
                f"pull access denied for {reference.familiar_name}, repository does not exist or "
                f"may require 'docker login': {first}"
            )
        case "MANIFEST_UNKNOWN":
            return NotFound(f"manifest for {reference.familiar} not found: {first}")
        case "NAME_UNKNOWN":
            return NotFound(f"repository {reference.familiar_name} not found: {first}")
        case _:
            return error


def translate_login_error(error: OrlopError, url: str) -> OrlopError:
    """What a login that failed with *error* while asking *url* is answered with."""
    if isinstance(error, RefusedByRegistry) and error.code == "UNAUTHORIZED":
        return Unauthorized(f'Get "{url}": {error}')
    return error


def _clean(text: str) -> str:
    """Without control characters, and no longer than a person would read."""
    kept = "".join(c for c in text[:MAX_TEXT_LENGTH] if c.isprintable() or c in "\n\t")
    return kept.strip("\n") if len(kept) > 1 else kept
