"""The worker that calls home: `worker phone-home`, the request as JSON on descriptor 0.

    {"url", "names": [NAME], "known": {NAME: VALUE}, "keys": {NAME: PRIVATE KEY}, "job": JOB}

It reads certificates, gives up every privilege but the network, and posts a form with what *names*
says, once. Of private keys their public halves are posted. The answer is `{"status": NUMBER}` if
the server has taken it, else `{"error": TEXT}`.
"""

from __future__ import annotations

# Loaded by others when they need it, which is when the worker cannot load anything any more.
import encodings.idna  # noqa: F401
import json
import logging
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

from orlop.engine.registry.http import Pool
from orlop.engine.registry.job import parse_job
from orlop.engine.registry.tls import Contexts
from orlop.engine.sandbox import Limits, drop_privileges
from orlop.lib.errors import OrlopError
from orlop.wire.ssh_public import public_line

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)

MAX_REQUEST_BYTES = 4 << 20
LIMITS = Limits(memory_bytes=512 << 20, cpu_s=60, file_bytes=1 << 20)
MISSING = "N/A"
_MOVED = (301, 307, 308)
"""Answers to a POST after which it has yet to be sent, to somewhere else."""


def main(argv: list[str]) -> int:
    """One request."""
    del argv
    with open(0, "rb", closefd=False) as stream:
        request = json.loads(stream.read(MAX_REQUEST_BYTES))
    try:
        contexts = Contexts(parse_job(request["job"]).registries, [urlsplit(request["url"]).netloc])
        drop_privileges(None, LIMITS, network=True)
        form = values(request["names"], request["known"], request["keys"])
        answer: dict[str, Any] = {"status": post(contexts, request["url"], form)}
    except (OrlopError, OSError, ValueError) as error:
        answer = {"error": str(error)}
    os.write(1, json.dumps(answer).encode())
    return 0


def values(
    names: list[str], known: Mapping[str, str], keys: Mapping[str, str]
) -> list[tuple[str, str]]:
    """What is posted: for each of *names* what is *known*, or the public half of a key."""
    found: list[tuple[str, str]] = []
    for name in names:
        value = known.get(name, "")
        if name in keys:
            try:
                value = public_line(keys[name])
            except ValueError as error:
                log.warning("phone_home: %s: %s", name, error)
        found.append((name, value or MISSING))
    return found


def post(contexts: Contexts, url: str, form: list[tuple[str, str]]) -> int:
    """The status with which the server has taken *form*.

    Raises:
        OrlopError: it has not, or there is no answer.
    """
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    pool = Pool(contexts, insecure=False)
    response = pool.request("POST", url, headers, urlencode(form).encode())
    location = response.header("Location")
    response.close()
    if response.status in _MOVED:
        raise OrlopError(f"it is at {location[:200]} now, which has to be configured")
    if response.status >= 400:
        raise OrlopError(f"the server answered {response.status} {response.reason}")
    return response.status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
