"""The HTTP side: FleetLock for machines, metrics, and what people do with a token.

POST /v1/pre-reboot, /v1/steady-state       machines: docs/fleet.md
GET  /metrics                               Prometheus
GET  /v1/groups[/GROUP]                     people, as all that follows
PUT  /v1/groups/GROUP                       settings; makes the group if need be
POST /v1/groups/GROUP/pause, resume, release
GET  /v1/groups/GROUP/nodes[/ID]
"""

from __future__ import annotations

import contextlib
import hmac
import http.server
import json
import logging
import socket
import ssl
import threading
import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from orlop_fleet import policy
from orlop_fleet.documents import (
    GROUP_NAME,
    NODE_NAME,
    Wrong,
    parse_request,
    parse_settings,
    show_group,
    show_settings,
)
from orlop_fleet.metrics import Counts, render
from orlop_fleet.policy import Group, Node, Outcome, Settings
from orlop_fleet.store import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop_fleet.store import Store

log = logging.getLogger("fleet")

MAX_BODY_BYTES = 256 << 10
TIMEOUT_S = 15.0
REQUEST_S = 60.0
"""For a whole request: bytes that come one by one would keep a thread for ever."""
MAX_CONNECTIONS = 256
PROTOCOL_HEADER = "fleet-lock-protocol"


@dataclass(frozen=True, slots=True)
class Options:
    """*machines* is the token that machines have to show, empty for none; *people* that of people:
    without one nobody may do what people do. *clock* is the time of day."""

    people: str = ""
    machines: str = ""
    clock: Callable[[], float] = time.time


class Refused(Exception):
    """An answer that is an error: *status*, and `{"kind", "value"}`."""

    def __init__(self, status: int, kind: str, value: str) -> None:
        super().__init__(value)
        self.status, self.kind, self.value = status, kind, value


class Fleet:
    """What the server does, without HTTP."""

    def __init__(self, store: Store, options: Options) -> None:
        self.store, self.options = store, options
        self.counts = Counts()

    def machine(self, path: str, headers: Any, body: bytes) -> None:
        """A request of a machine: it is granted, or refused."""
        if (headers.get(PROTOCOL_HEADER) or "").lower() != "true":
            raise Refused(400, "bad_request", f"the header {PROTOCOL_HEADER}: true is missing")
        token = self.options.machines
        if token and not _shows(headers, token):
            raise Refused(401, "unauthorized", "another token is expected")
        group, request = parse_request(body)
        decide = {
            "/v1/pre-reboot": policy.pre_reboot,
            "/v1/steady-state": policy.steady_state,
        }[path]
        now_s = self.options.clock()
        outcome = self.store.change(
            group, request.id, lambda known, node: decide(known, node, request, now_s)
        )
        if outcome is None:
            raise Refused(400, "unknown_group", f"there is no group {group}")
        self.counts.add(group, path.rpartition("/")[2], outcome.kind or "granted")
        if outcome.kind:
            raise Refused(409, outcome.kind, outcome.value)

    def person(self, method: str, parts: list[str], headers: Any, body: bytes) -> Any:
        """A request of a person; what it answers."""
        if not self.options.people or not _shows(headers, self.options.people):
            raise Refused(401, "unauthorized", "another token is expected")
        return self._look(parts) if method == "GET" else self._act(method, parts, body)

    def _look(self, parts: list[str]) -> Any:
        match parts:
            case []:
                return [show_group(n, self._now(g)) for n, g in self.store.groups().items()]
            case [group]:
                return show_group(group, self._now(self._find(group)))
            case [group, "nodes"]:
                self._find(group)
                return {name: asdict(node) for name, node in self.store.nodes(group).items()}
            case [group, "nodes", name]:
                self._find(group)
                node = self.store.nodes(group).get(name)
                if node is None:
                    raise Refused(404, "not_found", f"there is no machine {name} in {group}")
                return asdict(node)
        raise Refused(404, "not_found", "there is nothing at this path")

    def _act(self, method: str, parts: list[str], body: bytes) -> Any:
        match method, parts:
            case "PUT", [group]:
                return self._configure(group, _json(body))
            case "POST", [group, "pause"]:
                reason = str(_json(body).get("reason") or "")
                return self._change(group, lambda known: policy.pause(known, reason))
            case "POST", [group, "resume"]:
                return self._change(group, policy.resume)
            case "POST", [group, "release"]:
                return self._release(group, _json(body))
        raise Refused(404, "not_found", "there is nothing at this path")

    def metrics(self) -> str:
        """In Prometheus's text format."""
        groups = {name: self._now(group) for name, group in self.store.groups().items()}
        return render(groups, self.counts)

    def _now(self, group: Group) -> Group:
        return policy.expire(group, self.options.clock())

    def _find(self, name: str) -> Group:
        group = self.store.groups().get(name)
        if group is None:
            raise Refused(404, "not_found", f"there is no group {name}")
        return group

    def _configure(self, name: str, data: dict[str, Any]) -> Any:
        if GROUP_NAME.fullmatch(name) is None:
            raise Refused(400, "bad_request", "group: letters, digits, points, hyphens expected")
        parse_settings({**show_settings(Settings()), **data})  # or there would be a group after all
        self.store.create(name)

        def change(group: Group) -> Group:
            merged = {**show_settings(group.settings), **data}
            return replace(group, settings=parse_settings(merged))

        return self._change(name, change)

    def _change(self, name: str, change: Callable[[Group], Group]) -> Any:
        outcome = self.store.change(name, "", lambda known, node: Outcome(change(known), node))
        if outcome is None:
            raise Refused(404, "not_found", f"there is no group {name}")
        return show_group(name, outcome.group)

    def _release(self, group: str, data: dict[str, Any]) -> Any:
        name, force = data.get("id"), data.get("force") is True
        if not isinstance(name, str) or NODE_NAME.fullmatch(name) is None:
            raise Refused(400, "bad_request", "id: a machine expected")
        now_s = self.options.clock()

        def change(known: Group, node: Node) -> Outcome:
            return policy.release(known, node, name, now_s, force=force)

        outcome = self.store.change(group, name, change)
        if outcome is None:
            raise Refused(404, "not_found", f"there is no group {group}")
        if outcome.kind:
            raise Refused(409, outcome.kind, outcome.value)
        return show_group(group, outcome.group)


def _shows(headers: Any, token: str) -> bool:
    given = (headers.get("Authorization") or "").partition(" ")
    return given[0].lower() == "bearer" and hmac.compare_digest(given[2].encode(), token.encode())


def _json(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body or b"{}")
    except (ValueError, RecursionError) as error:
        raise Refused(400, "bad_request", f"no JSON: {error}") from None
    if not isinstance(found, dict):
        raise Refused(400, "bad_request", "an object expected")
    return found


class Handler(http.server.BaseHTTPRequestHandler):
    """One request a connection."""

    server: Server
    timeout = TIMEOUT_S
    server_version, sys_version = "orlop-fleet", ""

    def setup(self) -> None:
        """TLS is shaken hands here, where it keeps nobody else waiting."""
        if isinstance(self.request, ssl.SSLSocket):
            self.request.settimeout(TIMEOUT_S)
            self.request.do_handshake()
        super().setup()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's name
        log.debug("%s %s", self.client_address, format % args)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def _answer(self) -> None:
        try:
            status, kind, data = self._decide()
        except Refused as refusal:
            status, kind, data = refusal.status, "", refusal
        except Wrong as error:
            status, kind, data = 400, "", Refused(400, "bad_request", str(error))
        except Unavailable as error:
            log.warning("the store: %s", error)
            status, kind, data = 503, "", Refused(503, "store", "the store does not answer")
        except Exception:
            log.exception("%s %s", self.command, self.path)
            status, kind, data = 500, "", Refused(500, "internal", "a fault of the server's")
        if isinstance(data, Refused):
            data, kind = {"kind": data.kind, "value": data.value}, "application/json"
        text = data if isinstance(data, str) else json.dumps(data)
        content = b"" if data is None else text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def _decide(self) -> tuple[int, str, Any]:
        fleet, path = self.server.fleet, urlsplit(self.path).path
        body = self._body()
        if path in ("/v1/pre-reboot", "/v1/steady-state"):
            if self.command != "POST":
                raise Refused(405, "bad_request", "POST expected")
            fleet.machine(path, self.headers, body)
            return 200, "text/plain", None
        if path == "/metrics" and self.command == "GET":
            return 200, "text/plain; version=0.0.4", fleet.metrics()
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[:2] != ["v1", "groups"]:
            raise Refused(404, "not_found", "there is nothing at this path")
        answer = fleet.person(self.command, parts[2:], self.headers, body)
        return 200, "application/json", answer

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length") or "0"
        if not length.isascii() or not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            raise Refused(413, "bad_request", f"a body of up to {MAX_BODY_BYTES} bytes expected")
        return self.rfile.read(int(length))


class Server(http.server.ThreadingHTTPServer):
    """A thread for each connection, of which there are not too many."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, address: tuple[str, int], fleet: Fleet, context: ssl.SSLContext | None = None
    ) -> None:
        self.fleet, self._context = fleet, context
        self._turns = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._since: dict[Any, float] = {}
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, Handler)

    def get_request(self) -> tuple[Any, Any]:
        connection, where = super().get_request()
        if self._context is not None:
            connection = self._context.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, where

    def process_request(self, request: Any, client_address: Any) -> None:
        while not self._turns.acquire(timeout=1.0):
            self.service_actions()
        self._since[request] = time.monotonic()
        super().process_request(request, client_address)

    def service_actions(self) -> None:
        """Twice a second: end what takes too long."""
        for request, since_s in [*self._since.items()]:
            if time.monotonic() - since_s > REQUEST_S:
                with contextlib.suppress(OSError):
                    request.shutdown(socket.SHUT_RDWR)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._since.pop(request, None)
            self._turns.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("connection from %s", client_address, exc_info=True)
