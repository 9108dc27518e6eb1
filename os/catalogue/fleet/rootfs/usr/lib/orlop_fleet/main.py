"""`fleet serve`, and the commands of people, which ask a server that runs.

Settings come from the environment: FLEET_LISTEN (`0.0.0.0:7870`), FLEET_DATA (a directory),
FLEET_ETCD (endpoints with commas, in place of SQLite; FLEET_ETCD_CA, _CERT, _KEY for TLS),
FLEET_CERT and FLEET_KEY (TLS), FLEET_CLIENT_CA (only clients with its certificates), FLEET_TOKEN
(of people) and FLEET_NODE_TOKEN (of machines), else the files `token` and `node-token` there.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import secrets
import ssl
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from orlop_fleet.server import Fleet, Options, Server
from orlop_fleet.store import Etcd, Sqlite, Store, Unavailable

USAGE = """\
usage: fleet serve
       fleet status [GROUP]
       fleet set GROUP KEY=VALUE...     slots=5 or slots=10%, canaries=ID,ID, canary_good=1,
                                        failure_ratio=0.25, failure_least=4,
                                        windows='mon-fri 02:00 120m;sat 20:00 600m'
       fleet pause GROUP [REASON]
       fleet resume GROUP
       fleet release GROUP ID [--force]
       fleet history GROUP ID

The server that commands ask is FLEET_URL, http://127.0.0.1:7870 unless given.
"""
LISTEN = "0.0.0.0:7870"
DATA = "/var/lib/orlop/fleet"
START_S = 60.0
LISTS = {"canaries": ",", "windows": ";"}
NUMBERS = ("canary_good", "failure_ratio", "failure_least")


def main(argv: list[str]) -> int:
    """Serve, or ask."""
    match argv:
        case ["serve"]:
            return serve(os.environ)
        case ["status"]:
            return show(ask("GET", ""))
        case ["status", group]:
            return show(ask("GET", f"/{quote(group)}"))
        case ["set", group, *pairs] if pairs and all("=" in pair for pair in pairs):
            return show(ask("PUT", f"/{quote(group)}", settings(pairs)))
        case ["pause", group, *reason]:
            return show(ask("POST", f"/{quote(group)}/pause", {"reason": " ".join(reason)}))
        case ["resume", group]:
            return show(ask("POST", f"/{quote(group)}/resume", {}))
        case ["release", group, name, *force] if force in ([], ["--force"]):
            body = {"id": name, "force": bool(force)}
            return show(ask("POST", f"/{quote(group)}/release", body))
        case ["history", group, name]:
            return show(ask("GET", f"/{quote(group)}/nodes/{quote(name, '')}"))
    is_help = argv[:1] in ([], ["--help"], ["help"])
    print(USAGE, end="", file=sys.stdout if is_help else sys.stderr)
    return 0 if is_help else 2


def settings(pairs: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` of the command line as the server takes it."""
    found: dict[str, Any] = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if key in LISTS:
            found[key] = [part.strip() for part in value.split(LISTS[key]) if part.strip()]
        elif key in NUMBERS:
            found[key] = number(value)
        else:
            found[key] = value
    return found


def number(text: str) -> float | str:
    """*text* as a number, if it is one: the server says what is wrong with others."""
    try:
        return float(text)
    except ValueError:
        return text


def show(answer: tuple[int, Any]) -> int:
    """Print what the server said."""
    status, data = answer
    if status == 200:
        print(json.dumps(data, indent=1))
        return 0
    value = data.get("value") if isinstance(data, dict) else data
    print(f"fleet: {value or f'status {status}'}", file=sys.stderr)
    return 1


def ask(method: str, path: str, body: object = None) -> tuple[int, Any]:
    """One request of a person to the server."""
    parts = urlsplit(os.environ.get("FLEET_URL", "http://127.0.0.1:7870"))
    host, port = parts.hostname or "", parts.port or 7870
    connection = (
        http.client.HTTPSConnection(host, port, timeout=30, context=_client_context())
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=30)
    )
    data = None if body is None else json.dumps(body)
    headers = {"Authorization": f"Bearer {_token('FLEET_TOKEN', 'token')}"}
    try:
        connection.request(method, f"/v1/groups{path}", data, headers)
        response = connection.getresponse()
        return response.status, json.loads(response.read() or b"null")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return 0, {"value": f"{parts.geturl()}: {error}"}
    finally:
        connection.close()


def _client_context() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=os.environ.get("FLEET_CA") or None)
    if os.environ.get("FLEET_CLIENT_CERT"):
        context.load_cert_chain(os.environ["FLEET_CLIENT_CERT"], os.environ["FLEET_CLIENT_KEY"])
    return context


def _token(variable: str, file: str) -> str:
    if given := os.environ.get(variable):
        return given
    try:
        return Path(os.environ.get("FLEET_DATA", DATA), file).read_text("utf-8").strip()
    except OSError:
        return ""


def serve(environment: Any) -> int:
    """Until it is killed: everything that counts is in the store by then."""
    level = logging.DEBUG if environment.get("FLEET_DEBUG") else logging.INFO
    logging.basicConfig(level=level, format="fleet: %(message)s")
    data = Path(environment.get("FLEET_DATA", DATA))
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not environment.get("FLEET_TOKEN"):
        make_token(data / "token")
    options = Options(_token("FLEET_TOKEN", "token"), _token("FLEET_NODE_TOKEN", "node-token"))
    store = open_store(environment, data)
    wait_for(store)
    host, _, port = (environment.get("FLEET_LISTEN") or LISTEN).rpartition(":")
    server = Server((host.strip("[]"), int(port)), Fleet(store, options), _context(environment))
    logging.info("listening on %s:%d", *server.server_address[:2])
    server.serve_forever()
    return 0


def make_token(path: Path) -> None:
    """At the first start; whole, or not at all."""
    if path.exists() and path.stat().st_size:
        return
    new = path.with_name("token.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{secrets.token_hex(32)}\n")
        stream.flush()
        os.fsync(descriptor)
    os.rename(new, path)


def open_store(environment: Any, data: Path) -> Store:
    """The one that is wished for."""
    if not (endpoints := environment.get("FLEET_ETCD")):
        return Sqlite(str(data / "fleet.db"))
    context = None
    if authority := environment.get("FLEET_ETCD_CA"):
        context = ssl.create_default_context(cafile=authority)
        if certificate := environment.get("FLEET_ETCD_CERT"):
            context.load_cert_chain(certificate, environment["FLEET_ETCD_KEY"])
    return Etcd([e.strip().rstrip("/") for e in endpoints.split(",") if e.strip()], context)


def wait_for(store: Store) -> None:
    """The group `default` is there from the beginning; etcd may start at the same time."""
    end_s = time.monotonic() + START_S
    while True:
        try:
            store.create("default")
        except Unavailable as error:
            if time.monotonic() > end_s:
                raise
            logging.warning("the store: %s", error)
            time.sleep(1)
        else:
            return


def _context(environment: Any) -> ssl.SSLContext | None:
    if not environment.get("FLEET_CERT"):
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(environment["FLEET_CERT"], environment["FLEET_KEY"])
    if authority := environment.get("FLEET_CLIENT_CA"):
        context.load_verify_locations(authority)
        context.verify_mode = ssl.CERT_REQUIRED
    return context
