"""Where groups and machines are kept: a file of SQLite, or etcd for several servers at once.

Both do the same: read a group and a machine, let a pure function say what they are then, and write
both as one, if nobody has changed the group meanwhile. What is answered is on the disk.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import sqlite3
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from orlop_fleet.documents import dump, load_group, load_node
from orlop_fleet.policy import Group, Node, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

type Change = Callable[[Group, Node], Outcome]

ATTEMPTS = 100
TIMEOUT_S = 10.0
MAX_ANSWER_BYTES = 64 << 20
PREFIX = "orlop-fleet/"
SEEN_S = 60.0


class Unavailable(Exception):
    """The store does not answer, or too many change the same."""


class Store(Protocol):
    """What the server needs of a store."""

    def groups(self) -> dict[str, Group]: ...
    def create(self, name: str) -> None: ...
    def nodes(self, group: str) -> dict[str, Node]: ...
    def change(self, group: str, node: str, change: Change) -> Outcome | None:
        """What *change* makes of a group and a machine; None if there is no such group."""


class Sqlite:
    """In the file *path*."""

    def __init__(self, path: str) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, timeout=TIMEOUT_S)
        self._db.isolation_level = None
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("CREATE TABLE IF NOT EXISTS groups (name TEXT PRIMARY KEY, data TEXT)")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS nodes (grp TEXT, name TEXT, data TEXT, "
            "PRIMARY KEY (grp, name)) WITHOUT ROWID"
        )

    def groups(self) -> dict[str, Group]:
        with self._used():
            rows = self._db.execute("SELECT name, data FROM groups ORDER BY name").fetchall()
        return {name: load_group(data) for name, data in rows}

    def create(self, name: str) -> None:
        with self._used():
            self._db.execute("INSERT OR IGNORE INTO groups VALUES (?, ?)", (name, dump(Group())))

    def nodes(self, group: str) -> dict[str, Node]:
        with self._used():
            rows = self._db.execute(
                "SELECT name, data FROM nodes WHERE grp = ? ORDER BY name", (group,)
            ).fetchall()
        return {name: load_node(data) for name, data in rows}

    def change(self, group: str, node: str, change: Change) -> Outcome | None:
        with self._used(), self._transaction():
            row = self._db.execute("SELECT data FROM groups WHERE name = ?", (group,)).fetchone()
            if row is None:
                return None
            found = self._db.execute(
                "SELECT data FROM nodes WHERE grp = ? AND name = ?", (group, node)
            ).fetchone()
            before, known = load_group(row[0]), load_node(found[0]) if found else Node()
            outcome = change(before, known)
            if not _is_news(before, known, outcome):
                return outcome
            self._db.execute(
                "UPDATE groups SET data = ? WHERE name = ?", (dump(outcome.group), group)
            )
            if outcome.node.first_s:
                values = (group, node, dump(outcome.node))
                self._db.execute("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", values)
            return outcome

    def close(self) -> None:
        self._db.close()

    @contextlib.contextmanager
    def _used(self) -> Any:
        """By one at a time. Raises: Unavailable: the disk is full, or broken."""
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise Unavailable(f"SQLite: {error}") from error

    @contextlib.contextmanager
    def _transaction(self) -> Any:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # it may have ended with what failed
                self._db.execute("ROLLBACK")
            raise


class Etcd:
    """In etcd, by the JSON gateway of its version 3, at the first of *endpoints* that answers."""

    def __init__(self, endpoints: Sequence[str], context: ssl.SSLContext | None = None) -> None:
        self._endpoints = [*endpoints]
        self._context = context
        self._lock = threading.Lock()

    def groups(self) -> dict[str, Group]:
        rows = self._range(f"{PREFIX}groups/")
        return {name: load_group(data) for name, data in rows.items()}

    def create(self, name: str) -> None:
        key = _group_key(name)
        absent = {"key": _encode(key), "target": "VERSION", "result": "EQUAL", "version": "0"}
        self._call("txn", {"compare": [absent], "success": [_put(key, dump(Group()))]})

    def nodes(self, group: str) -> dict[str, Node]:
        rows = self._range(f"{PREFIX}nodes/{group}/")
        return {name: load_node(data) for name, data in rows.items()}

    def change(self, group: str, node: str, change: Change) -> Outcome | None:
        keys = _group_key(group), f"{PREFIX}nodes/{group}/{node}"
        with self._lock:  # who shares this server waits, instead of trying again
            for attempt in range(ATTEMPTS):
                reads = [{"requestRange": {"key": _encode(key)}} for key in keys]
                answer = self._call("txn", {"success": reads})
                rows = [_rows(part["response_range"]) for part in answer["responses"]]
                if not rows[0]:
                    return None
                known = load_node(_decode(rows[1][0]["value"])) if rows[1] else Node()
                before = load_group(_decode(rows[0][0]["value"]))
                outcome = change(before, known)
                if not _is_news(before, known, outcome):
                    return outcome
                unchanged = {
                    "key": _encode(keys[0]),
                    "target": "MOD",
                    "result": "EQUAL",
                    "mod_revision": rows[0][0]["mod_revision"],
                }
                puts = [_put(keys[0], dump(outcome.group))]
                if outcome.node.first_s:
                    puts.append(_put(keys[1], dump(outcome.node)))
                if self._call("txn", {"compare": [unchanged], "success": puts}).get("succeeded"):
                    return outcome
                time.sleep(random.uniform(0, 0.001 * min(attempt + 1, 50)))
        raise Unavailable(f"group {group} is changed all the time by others")

    def _range(self, prefix: str) -> dict[str, str]:
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        found = self._call("range", {"key": _encode(prefix), "range_end": _encode(end)})
        return {
            _decode(row["key"]).removeprefix(prefix): _decode(row["value"]) for row in _rows(found)
        }

    def _call(self, what: str, body: dict[str, Any]) -> dict[str, Any]:
        data, reasons = json.dumps(body).encode(), []
        for endpoint in [*self._endpoints]:
            try:
                return self._ask(endpoint, what, data)
            except (OSError, http.client.HTTPException, ValueError) as error:
                reasons.append(f"{endpoint}: {error}")
                # The next request begins with another.
                with contextlib.suppress(ValueError):
                    self._endpoints.remove(endpoint)
                    self._endpoints.append(endpoint)
        raise Unavailable("; ".join(reasons))

    def _ask(self, endpoint: str, what: str, data: bytes) -> dict[str, Any]:
        parts = urlsplit(endpoint)
        host, port = parts.hostname or "", parts.port or 2379
        connection = (
            http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=self._context)
            if parts.scheme == "https"
            else http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        )
        try:
            connection.request("POST", f"/v3/kv/{what}", data)
            response = connection.getresponse()
            text = response.read(MAX_ANSWER_BYTES)
            if response.status != 200:
                raise ValueError(f"status {response.status}: {text[:200]!r}")
            found = json.loads(text)
            if not isinstance(found, dict):
                raise ValueError("no object")
            return found
        finally:
            connection.close()


def _is_news(group: Group, node: Node, outcome: Outcome) -> bool:
    """Whether there is something to be written: that a machine was seen again a moment later is
    not worth a disk's time."""
    is_same = outcome.group == group and outcome.node.events == node.events
    return not is_same or outcome.node.seen_s - node.seen_s >= SEEN_S


def _group_key(name: str) -> str:
    return f"{PREFIX}groups/{name}"


def _encode(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _decode(text: str) -> str:
    return base64.b64decode(text).decode()


def _put(key: str, value: str) -> dict[str, Any]:
    return {"requestPut": {"key": _encode(key), "value": _encode(value)}}


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    rows = found.get("kvs", [])
    return rows if isinstance(rows, list) else []
