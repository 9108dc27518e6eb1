"""Takes secrets out of texts that leave the machine. Pure.

Two nets: every value that the configuration calls secret, wherever it turns up; and what looks like
a secret anywhere: passwords in addresses, tokens in queries, values of telling names, private keys.
"""

from __future__ import annotations

import re

HIDDEN = "(hidden)"
SHORTEST = 4
"""A secret of fewer characters would take half of every text with it."""

# The end of a name: to look for its beginning too would take the square of a long line's length.
_TELLING = (
    r"(?:pass(?:word|wd|phrase)?|secret|token|credential|api[_-]?key|access[_-]?key"
    r"|private[_-]?key|preshared[_-]?key|psk|auth(?:orization)?|signature|sig)"
)
_USERINFO = re.compile(r"(?<=://)[^\s/'\"<>]+(?=@)")
_QUERY = re.compile(rf"([?&;][a-z0-9_.-]{{0,64}}{_TELLING}=)[^\s&;#'\"<>]+", re.IGNORECASE)
_QUOTED = re.compile(
    rf"({_TELLING}\\{{0,8}}[\"']?\s{{0,8}}[:=]\s{{0,8}}(?P<quote>\\{{0,8}}[\"']))"
    r"(?!\(hidden\))(?:(?!(?P=quote))(?:\\.|[^\\\n])){1,4096}(?=(?P=quote))",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    rf"({_TELLING}\\{{0,8}}[\"']?\s{{0,8}}[:=]\s{{0,8}}\\{{0,8}}[\"']?)"
    r"(?!\(hidden\))(?:(?:bearer|basic)\s+)?[^\s\"',;}\]\\]+",
    re.IGNORECASE,
)
_OPTION = re.compile(rf"(\s--?[a-z0-9_-]{{0,64}}{_TELLING}\s+)[^\s-]\S*", re.IGNORECASE)
_BEARER = re.compile(r"(\b(?:bearer|basic)\s+)[A-Za-z0-9+/=._~-]{8,}", re.IGNORECASE)
_PEM = re.compile(
    r"(-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----).*?(?:(-----END [A-Z0-9 ]*PRIVATE KEY-----)|\Z)",
    re.DOTALL,
)
_CRYPT = re.compile(r"\$(?:1|2[abxy]?|5|6|7|y|gy|argon2[id]+)\$[^\s:\"',]{8,}")


def secrets_of(shown: object, hidden: object) -> set[str]:
    """The texts that are in *shown* and not in *hidden*, the same configuration without secrets."""
    if hidden == HIDDEN and shown != HIDDEN:
        return set(texts_in(shown))
    found: set[str] = set()
    if isinstance(shown, dict):
        below = hidden if isinstance(hidden, dict) else {}
        for key, value in shown.items():
            found |= secrets_of(value, below.get(key, HIDDEN))
    elif isinstance(shown, list):
        items = hidden if isinstance(hidden, list) and len(hidden) == len(shown) else None
        for place, value in enumerate(shown):
            found |= secrets_of(value, items[place] if items is not None else HIDDEN)
    return found


def texts_in(value: object) -> list[str]:
    """All texts in *value*, and the lines and words of those that have several."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in texts_in(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in texts_in(inner)]
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return []
    text = str(value)
    return [text, *(part for part in text.splitlines() if part != text)]


class Redactor:
    """Takes *secrets*, and what looks like one, out of texts."""

    def __init__(self, secrets: set[str]) -> None:
        import json

        known = {text.strip() for text in secrets}
        # As they are written inside JSON too.
        known |= {json.dumps(text)[1:-1] for text in known}
        known |= {json.dumps(text, ensure_ascii=False)[1:-1] for text in known}
        longest_first = sorted((t for t in known if len(t) >= SHORTEST), key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def clean(self, text: str) -> str:
        """*text* without secrets."""
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        text = _PEM.sub(rf"\1 {HIDDEN} \2", text)
        text = _USERINFO.sub(HIDDEN, text)
        text = _QUERY.sub(rf"\1{HIDDEN}", text)
        text = _QUOTED.sub(rf"\1{HIDDEN}", text)
        text = _OPTION.sub(rf"\1{HIDDEN}", text)
        text = _ASSIGNED.sub(rf"\1{HIDDEN}", text)
        text = _BEARER.sub(rf"\1{HIDDEN}", text)
        return _CRYPT.sub(HIDDEN, text)
