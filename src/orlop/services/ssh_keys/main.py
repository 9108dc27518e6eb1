"""Prints the keys with which a user may log in, as a URL of the configuration answers: sshd's
AuthorizedKeysCommand, run as a user who has nothing but the cache.

While the URL cannot be asked its last answer counts, for as long as the configuration says.
"""

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from orlop.lib import atomic_file
from orlop.services.cloud.http import send_in_time
from orlop.services.settings import (
    integer_setting,
    list_setting,
    map_setting,
    read_settings,
    text_setting,
)
from orlop.wire.cloud.conversation import Request
from orlop.wire.registry.proxies import Proxies
from orlop.wire.registry.proxy_rules import parse_proxies

CACHE = Path("/var/lib/orlop/ssh/cache")
DAY_S = 24 * 3600
TIMEOUT_S = 10.0
MAX_KEYS, MAX_LINE = 256, 8192
NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


def keys(body: bytes) -> list[str]:
    """The lines of an answer that may be keys; sshd looks at what is in them."""
    lines = (line.strip() for line in body.decode("ascii", "replace").splitlines())
    kept = [line for line in lines if line and line[0] != "#" and line.isprintable()]
    return [line for line in kept if len(line) <= MAX_LINE][:MAX_KEYS]


def proxies_of(settings: Mapping[str, object]) -> Proxies:
    """The proxies of the machine, as PID 1 tells them."""
    found = map_setting(settings, "proxies")
    return parse_proxies(
        text_setting(found, "http_proxy"),
        text_setting(found, "https_proxy"),
        list_setting(found, "no_proxy"),
    )


def find(
    user: str,
    url: str,
    limit_s: int,
    cache: Path,
    proxies: Proxies | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[str]:
    """The keys of *user*: from *url*, or if that does not answer from *cache*, not older than
    *limit_s*."""
    request = Request(url.replace("{user}", quote(user, safe="")))
    answer = send_in_time(request, time.monotonic() + timeout_s, proxies)
    path = cache / user
    if answer.status == 200:
        found = keys(answer.body)
        try:
            atomic_file.write_text(path, "".join(f"{line}\n" for line in found), mode=0o600)
        except OSError as error:
            print(f"ssh: {path}: {error.strerror}", file=sys.stderr)
        return found
    if answer.status in (404, 410):
        path.unlink(missing_ok=True)
        return []
    print(f"ssh: {url}: {answer.error or answer.status}", file=sys.stderr)
    try:
        age_s = time.time() - path.stat().st_mtime
        return keys(path.read_bytes()) if 0 <= age_s <= limit_s else []
    except OSError:
        return []


def main(argv: list[str]) -> int:
    """Print the keys of the user that *argv* names."""
    os.umask(0o077)
    settings = read_settings()
    url = text_setting(settings, "authorized_keys_url")
    if len(argv) != 1 or not url or NAME.fullmatch(argv[0]) is None:
        return 1
    limit_s = integer_setting(settings, "authorized_keys_cache", DAY_S)
    for line in find(argv[0], url, limit_s, CACHE, proxies_of(settings)):
        print(line)
    return 0
