"""The worker of the gate: `worker gate`, the request as JSON on descriptor 0.

    {"action": "lock", "url", "path", "body", "ca", "token", "timeout_s"}
    {"action": "containers", "socket", "labels", "timeout_s"}

The first is one request of the FleetLock protocol: the answer is `{"status", "kind", "value"}`. The
second asks the user's engine for running containers with any of *labels*: `{"containers": [{"name",
"labels"}]}`. `{"error": TEXT}` if there is no answer. Files are read and connections to the engine
made first; then every privilege is given up, and only then does a byte come in from outside.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from orlop.engine.sandbox import Limits, drop_privileges
from orlop.system.health.worker import call, connect, words

if TYPE_CHECKING:
    from ssl import SSLContext

MAX_REQUEST_BYTES = 1 << 20
MAX_ANSWER_BYTES = 64 << 10
MAX_CONTAINERS = 1000
LIMITS = Limits(memory_bytes=512 << 20, cpu_s=60, file_bytes=1 << 20)


def main(argv: list[str]) -> int:
    """One request."""
    del argv
    with open(0, "rb", closefd=False) as stream:
        request = json.loads(stream.read(MAX_REQUEST_BYTES))
    try:
        if request["action"] == "lock":
            context = _context(request)
            drop_privileges(None, LIMITS, network=True)
            answer = post(request, context)
        else:
            connection = connect(request["socket"], request["timeout_s"])
            drop_privileges(None, LIMITS)
            answer = {"containers": containers(connection, request["labels"])}
    except (OSError, http.client.HTTPException, ValueError) as error:
        answer = {"error": words(error)}
    data = json.dumps(answer).encode()
    while data:
        data = data[os.write(1, data) :]
    return 0


def _context(request: dict[str, Any]) -> SSLContext | None:
    """TLS with the authorities that were given, else the system's; None for plain HTTP.

    Raises:
        ValueError: they are none.
    """
    if not request["url"].startswith("https:"):
        return None
    import ssl  # a megabyte

    from orlop.engine.registry.tls import PACKAGED_AUTHORITIES, read_authorities

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if text := request["ca"] or read_authorities(PACKAGED_AUTHORITIES):
        context.load_verify_locations(cadata=text)
    return context


def post(request: dict[str, Any], context: SSLContext | None) -> dict[str, Any]:
    """The server's answer to one request of the protocol."""
    parts = urlsplit(request["url"])
    host, timeout_s = parts.hostname or "", float(request["timeout_s"])
    if context is not None:
        connection: http.client.HTTPConnection = http.client.HTTPSConnection(
            host, parts.port or 443, timeout=timeout_s, context=context
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=timeout_s)
    headers = {"Content-Type": "application/json", "fleet-lock-protocol": "true"}
    if request["token"]:
        headers["Authorization"] = f"Bearer {request['token']}"
    body = json.dumps(request["body"]).encode()
    try:
        connection.request("POST", parts.path.rstrip("/") + request["path"], body, headers)
        response = connection.getresponse()
        return read_answer(response.status, response.read(MAX_ANSWER_BYTES))
    finally:
        connection.close()


def read_answer(status: int, text: bytes) -> dict[str, Any]:
    """What an answer says: servers give the reason for a refusal as `kind` and `value`."""
    found: object = None
    try:
        found = json.loads(text)
    except ValueError:
        pass
    value = found if isinstance(found, dict) else {}
    reason = str(value.get("value") or text[:200].decode(errors="replace"))
    return {"status": status, "kind": str(value.get("kind") or "")[:64], "value": reason[:300]}


def containers(connection: http.client.HTTPConnection, labels: list[str]) -> list[dict[str, Any]]:
    """Running containers of the engine with any of *labels*."""
    found: dict[str, dict[str, Any]] = {}
    for label in labels:
        filters = quote(json.dumps({"label": [label], "status": ["running"]}))
        status, answer = call(connection, "GET", f"/containers/json?filters={filters}")
        if status != 200 or not isinstance(answer, list):
            raise ValueError(f"the user's engine answered with status {status}")
        for item in answer[:MAX_CONTAINERS]:
            name = str(item["Names"][0]).lstrip("/")
            found[name] = {
                "name": name,
                "labels": {k: str(item["Labels"].get(k) or "") for k in labels},
            }
    return [*found.values()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
