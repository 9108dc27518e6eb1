"""Requests to one registry on behalf of one job: authentication, patience, errors. Worker only.

A session belongs to one endpoint and one repository. It asks `/v2/` first and then gives what the
registry wants: nothing, a password, or tokens, which are fetched when needed, kept until shortly
before they end and fetched anew when the registry does not take them any more.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import urljoin, urlsplit

from orlop.engine.registry.http import Pool, Response, TransportError
from orlop.lib.errors import OrlopError
from orlop.wire.registry.challenge import Challenge, find_challenge, parse_challenges
from orlop.wire.registry.errors import (
    MAX_ERROR_BODY_BYTES,
    RefusedByRegistry,
    UnexpectedStatus,
    parse_error,
)
from orlop.wire.registry.headers import MAX_RETRY_AFTER_S, parse_retry_after
from orlop.wire.registry.token import (
    Token,
    basic_credentials,
    parse_token,
    plan_token_request,
    repository_scope,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from orlop.engine.registry.tls import Contexts
    from orlop.wire.registry.auth_config import AuthConfig
    from orlop.wire.registry.endpoints import Endpoint

RETRY_DELAYS_S = (1.0, 2.0, 4.0, 8.0)
"""Waits between attempts, unless the registry says how long: five attempts, as dockerd."""

EARLY_S = 10.0
"""How long before its end a token is not used any more."""

MAX_TOKEN_BODY_BYTES = 1 << 20


class Session:
    """*actions* are what is wanted of the repository: pull, push."""

    def __init__(
        self,
        endpoint: Endpoint,
        contexts: Contexts,
        auth: AuthConfig,
        repository: str,
        actions: Sequence[str] = ("pull",),
    ) -> None:
        self.endpoint = endpoint
        self.repository = repository
        self.connected = False
        """Whether the registry has answered at all."""
        self.refresh_token = ""
        """One that a token server gave us for later."""
        self._auth = auth
        self._actions = actions
        self._pool = Pool(contexts, insecure=endpoint.insecure)
        self._challenges: list[Challenge] = []
        self._tokens: dict[tuple[str, ...], tuple[Token, float]] = {}
        self._lock = threading.Lock()
        self.offline = False
        """Whether to ask for a refresh token."""

    @property
    def scope(self) -> str:
        return repository_scope(self.repository, *self._actions)

    def url(self, path: str) -> str:
        """An address below `/v2/`; one of the repository if it begins with a slash."""
        if path.startswith("/"):
            path = self.repository + path
        return f"{self.endpoint.url}/v2/{path}"

    def close(self) -> None:
        """End it; nothing is asked any more."""
        self._pool.close()

    def ping(self) -> None:
        """Learn what the registry wants.

        Raises:
            TransportError: it cannot be reached.
        """
        url = self.url("")
        response = self._pool.request("GET", url, {})
        self.connected = True
        if response.status == 401:
            self._challenges = parse_challenges(response.headers("WWW-Authenticate"))
        _discard(response)

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Callable[[], BinaryIO] | None = None,
        scopes: Sequence[str] = (),
        ok: Collection[int] = (200,),
        patient: bool = True,
        on_wait: Callable[[float], None] = lambda _: None,
    ) -> Response:
        """A request with what the registry wants, and its answer, whose status is in *ok*.

        Waits and tries again after 429, 5xx and broken connections, if *patient*; *on_wait* is told
        the seconds. *scopes* are wanted besides the repository's. A *body* that is not bytes is
        made anew for each attempt.

        Raises:
            RefusedByRegistry, UnexpectedStatus: the registry's error.
            TransportError: no answer. OrlopError: no token, no credentials.
        """
        delays = iter(RETRY_DELAYS_S if patient else ())
        renewed = False
        while True:
            delay = next(delays, None)
            try:
                response = self._once(method, url, headers or {}, body, scopes)
            except TransportError:
                if delay is None:
                    raise
                on_wait(delay)
                time.sleep(delay)
                continue
            if response.status in ok:
                return response
            if response.status == 401 and not renewed and self._renew(response):
                renewed = True
                _discard(response)
                continue
            error = read_error(response, method)
            wait = _patience(response, delay)
            if wait is None:
                raise error
            on_wait(wait)
            time.sleep(wait)

    def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Callable[[], BinaryIO] | None,
        scopes: Sequence[str],
    ) -> Response:
        fields = dict(headers)
        # Our credentials are for the registry alone, wherever it sends uploads.
        if urlsplit(url).netloc == urlsplit(self.endpoint.url).netloc:
            fields.update(self._authorization(method, url, scopes))
        content = body() if callable(body) else body
        return self._pool.request(method, url, fields, content)

    def _authorization(self, method: str, url: str, scopes: Sequence[str]) -> dict[str, str]:
        if self._auth.registry_token:
            return {"Authorization": f"Bearer {self._auth.registry_token}"}
        bearer = find_challenge(self._challenges, "bearer")
        try:
            if bearer is not None:
                return {"Authorization": f"Bearer {self._token(bearer, scopes)}"}
            if find_challenge(self._challenges, "basic") is None:
                return {}
            if not self._auth.username or not self._auth.password:
                raise OrlopError("no basic auth credentials")
        except TransportError:
            raise
        except OrlopError as error:
            shown = f'{method.capitalize()} "{url.partition("?")[0]}": {error}'
            if isinstance(error, RefusedByRegistry):
                raise TokenRefused(shown, error) from error
            raise OrlopError(shown) from error
        value = basic_credentials(self._auth.username, self._auth.password)
        return {"Authorization": value}

    def _token(self, bearer: Challenge, scopes: Sequence[str]) -> str:
        wanted = tuple(dict.fromkeys((*((self.scope,) if self.repository else ()), *scopes)))
        with self._lock:
            known = self._tokens.get(wanted)
            if known is not None and time.monotonic() < known[1]:
                return known[0].value
            token = self._fetch_token(bearer, wanted)
            self._tokens[wanted] = token, time.monotonic() + token.lifetime_s - EARLY_S
            if token.refresh_token:
                self.refresh_token = token.refresh_token
            return token.value

    def _fetch_token(self, bearer: Challenge, scopes: Sequence[str]) -> Token:
        request = plan_token_request(bearer.parameters, scopes, self._auth, offline=self.offline)
        plain = urlsplit(request.url).scheme == "http"
        if plain and urlsplit(self.endpoint.url).scheme == "https" and not self.endpoint.insecure:
            raise OrlopError("the token server is reached without TLS, the registry with: refused")
        for delay in (*RETRY_DELAYS_S, None):
            response = self._pool.request(
                request.method, request.url, request.headers, request.body or None
            )
            if response.status == 200:
                return parse_token(response.read_all(MAX_TOKEN_BODY_BYTES))
            error = read_error(response, request.method)
            wait = _patience(response, delay)
            if wait is None:
                raise error
            time.sleep(wait)
        raise AssertionError

    def _renew(self, response: Response) -> bool:
        """Whether a request answered with 401 may succeed with another token."""
        challenges = parse_challenges(response.headers("WWW-Authenticate"))
        bearer = find_challenge(challenges, "bearer")
        if self._auth.registry_token:
            return False
        if bearer is None or bearer.parameters.get("error") == "insufficient_scope":
            # A first challenge may come with the first real request.
            late = not self._challenges and bool(challenges)
            self._challenges = self._challenges or challenges
            return late
        with self._lock:
            self._challenges = challenges
            self._tokens.clear()
        return True


class TokenRefused(OrlopError):
    """The token server did not take the credentials."""

    def __init__(self, text: str, refusal: RefusedByRegistry) -> None:
        super().__init__(text)
        self.refusal = refusal


def read_error(response: Response, method: str) -> RefusedByRegistry | UnexpectedStatus:
    """The error an answer stands for; the answer is used up."""
    try:
        body = b"" if method == "HEAD" else response.read_all(MAX_ERROR_BODY_BYTES)
    except OrlopError:
        body = b""
    return parse_error(
        response.status,
        response.reason,
        response.header("Content-Type"),
        body,
        parse_challenges(response.headers("WWW-Authenticate")),
    )


def follow(response: Response) -> str:
    """Where an upload goes on.

    Raises:
        OrlopError: the registry does not say, or leads from TLS to plain HTTP.
    """
    location = response.header("Location")
    target = urljoin(response.url, location)
    here, there = urlsplit(response.url), urlsplit(target)
    if not location or there.scheme not in ("http", "https"):
        raise OrlopError("the registry does not say where to upload")
    if (here.scheme, there.scheme) == ("https", "http"):
        if here.hostname != there.hostname:
            raise OrlopError("the registry wants the upload without TLS: refused")
        # A proxy that ends TLS in front of it, which it does not know of.
        target = "https" + target.removeprefix("http")
    return target


def _patience(response: Response, delay: float | None) -> float | None:
    """How long to wait before the next attempt; None: this error is final."""
    if delay is None or (response.status != 429 and response.status < 500):
        return None
    asked = parse_retry_after(response.header("Retry-After"), time.time())
    wait = delay if asked is None else asked
    return wait if wait <= MAX_RETRY_AFTER_S else None


def _discard(response: Response) -> None:
    """Read a short rest, so that the connection can be used again."""
    try:
        response.read_all(MAX_ERROR_BODY_BYTES)
    except OrlopError:
        response.close()
