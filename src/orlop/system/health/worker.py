"""The worker that asks others whether they work: `worker health`, the request on descriptor 0.

    {"checks": [{"kind", "target", "command", "status", "insecure", "timeout_s"}], "limit_s": N,
     "settle_s": N, "socket": PATH}

`http` and `tcp` go into the machine's network; `state` and `exec` are about containers of the
user's engine, which listens at *socket*. Connections to it are made first, then every privilege is
given up, and only then does a byte come in from outside. The answer is `{"found": [[STATUS, CODE,
TEXT]], "stuck": [PID]}`: outcomes in the order of the checks, where what has no answer by then has
failed; and programs in containers that have not ended, for somebody with the right to kill them.
"""

from __future__ import annotations

import calendar
import http.client
import json
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from orlop.engine.sandbox import Limits, drop_privileges

if TYPE_CHECKING:
    from ssl import SSLContext

MAX_REQUEST_BYTES = 1 << 20
MAX_BODY_BYTES = 1 << 20
OUTPUT_BYTES = 4096
THREADS = 16
STACK_BYTES = 512 << 10
LIMITS = Limits(memory_bytes=1 << 30, cpu_s=60, file_bytes=1 << 20, open_files=600)

type Outcome = tuple[str, str, str]
OK: Outcome = ("ok", "ok", "")


@dataclass(slots=True)
class Job:
    """One check, and its connections to the user's engine."""

    number: int
    kind: str
    target: str
    command: list[str]
    status: int
    insecure: bool
    timeout_s: float
    engine: list[http.client.HTTPConnection] = field(default_factory=list)
    refused: str = ""
    stuck: int = 0
    """PID of a program that has not ended in time."""


def main(argv: list[str]) -> int:
    """Connect, drop, ask, answer."""
    del argv
    with open(0, "rb", closefd=False) as stream:
        request = json.loads(stream.read(MAX_REQUEST_BYTES))
    jobs = [_job(number, item, request["socket"]) for number, item in enumerate(request["checks"])]
    contexts = _contexts(jobs)
    _load_what_answers_need()
    found: list[Outcome] = [("failed", "timeout", "no answer in time")] * len(jobs)
    workers = _Threads(jobs, found, float(request["settle_s"]), contexts)
    drop_privileges(None, LIMITS, network=True, start_threads=workers.start)
    workers.run(float(request["limit_s"]))
    stuck = [job.stuck for job in jobs if job.stuck]
    answer = json.dumps({"found": found, "stuck": stuck}).encode()
    while answer:
        answer = answer[os.write(1, answer) :]
    os._exit(0)  # a thread may still wait for a name server


def _job(number: int, item: dict[str, Any], engine: str) -> Job:
    job = Job(
        number,
        str(item["kind"]),
        str(item["target"]),
        [str(word) for word in item["command"]],
        int(item["status"]),
        bool(item["insecure"]),
        float(item["timeout_s"]),
    )
    count = {"state": 1, "exec": 2}.get(job.kind, 0)
    try:
        job.engine = [connect(engine, job.timeout_s) for _ in range(count)]
    except OSError as error:
        job.refused = f"the user's engine does not answer: {error.strerror or error}"
    return job


def connect(path: str, timeout_s: float) -> http.client.HTTPConnection:
    """A connection to the engine at the socket *path*.

    Raises:
        OSError: it does not answer.
    """
    connection = http.client.HTTPConnection("localhost", timeout=timeout_s)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(timeout_s)
    connection.sock.connect(path)
    return connection


def _contexts(jobs: list[Job]) -> dict[bool, SSLContext]:
    """TLS with the system's authorities, and without any; only what is needed."""
    wanted = {job.insecure for job in jobs if job.target.startswith("https:")}
    if not wanted:
        return {}
    import ssl  # a megabyte

    from orlop.engine.registry.tls import PACKAGED_AUTHORITIES, read_authorities

    found: dict[bool, SSLContext] = {}
    for insecure in wanted:
        found[insecure] = context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        elif authorities := read_authorities(PACKAGED_AUTHORITIES):
            context.load_verify_locations(cadata=authorities)
    return found


def _load_what_answers_need() -> None:
    """Codecs and resolver, while files can still be opened."""
    "a.example".encode("idna")
    socket.getaddrinfo("127.0.0.1", 80)


class _Threads:
    """Made before the right to make threads is gone; each takes the next job that there is."""

    def __init__(
        self,
        jobs: list[Job],
        found: list[Outcome],
        settle_s: float,
        contexts: dict[bool, SSLContext],
    ) -> None:
        self._jobs = iter(jobs)
        self._found = found
        self._settle_s = settle_s
        self._contexts = contexts
        self._lock = threading.Lock()
        self._go = threading.Event()
        self._left = threading.Semaphore(0)
        self._count = len(jobs)

    def start(self) -> None:
        """They wait."""
        threading.stack_size(STACK_BYTES)
        for _ in range(min(THREADS, self._count)):
            threading.Thread(target=self._work, daemon=True).start()

    def run(self, limit_s: float) -> None:
        """Let them work, until all is done or the time is up."""
        deadline_s = time.monotonic() + limit_s
        self._go.set()
        for _ in range(self._count):
            if not self._left.acquire(timeout=max(0.0, deadline_s - time.monotonic())):
                return

    def _work(self) -> None:
        self._go.wait()
        while True:
            with self._lock:
                job = next(self._jobs, None)
            if job is None:
                return
            try:
                outcome = ask(job, self._settle_s, self._contexts)
            except (OSError, http.client.HTTPException, ValueError) as error:
                outcome = ("failed", "unreachable", words(error))
            except Exception as error:  # noqa: BLE001 - whatever an answer brought about
                outcome = ("failed", "error", repr(error)[:200])
            self._found[job.number] = outcome
            self._left.release()


def words(error: Exception) -> str:
    """Why there is no answer, for people."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(str(text).split())[:200]


def ask(job: Job, settle_s: float, contexts: dict[bool, SSLContext]) -> Outcome:
    """How *job* comes out.

    Raises:
        OSError, HTTPException, ValueError: it cannot be asked.
    """
    if job.refused:
        return ("failed", "engine", job.refused)
    match job.kind:
        case "tcp":
            host, _, port = job.target.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), job.timeout_s).close()
            return OK
        case "http":
            return _ask_http(job, contexts)
        case "state":
            return _ask_state(job, settle_s)
        case _:
            return _ask_exec(job)


def _ask_http(job: Job, contexts: dict[bool, SSLContext]) -> Outcome:
    parts = urlsplit(job.target)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(
            host, parts.port or 443, timeout=job.timeout_s, context=contexts[job.insecure]
        )
    else:
        connection = http.client.HTTPConnection(host, parts.port or 80, timeout=job.timeout_s)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request("GET", path, headers={"User-Agent": "orlop-health"})
        status = connection.getresponse().status
    finally:
        connection.close()
    if status == job.status or (not job.status and 200 <= status < 400):
        return OK
    return ("failed", "status", f"answered with status {status}")


def call(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None
) -> tuple[int, Any]:
    """Status and JSON of one request to the engine."""
    data = None if body is None else json.dumps(body).encode()
    connection.request(method, path, data, {"Content-Type": "application/json"})
    response = connection.getresponse()
    text = response.read(MAX_BODY_BYTES)
    return response.status, json.loads(text) if text.startswith((b"{", b"[")) else {}


def _ask_state(job: Job, settle_s: float) -> Outcome:
    status, answer = call(job.engine[0], "GET", f"/containers/{quote(job.target, '')}/json")
    if status == 404:
        return ("failed", "missing", "there is no such service or container")
    if status != 200:
        return ("failed", "engine", f"the engine answered with status {status}")
    return judge_container(answer, settle_s, time.time())


def judge_container(answer: Any, settle_s: float, now_s: float) -> Outcome:
    """What an inspection says about a container."""
    state = answer["State"]
    if state.get("Restarting"):
        return ("failed", "restarting", f"ended with status {state.get('ExitCode')}, starts anew")
    if not state.get("Running"):
        word = str(state.get("Status"))[:20]
        code = state.get("ExitCode")
        return ("failed", "stopped", f"does not run ({word}, status {code})")
    if state.get("Paused"):
        return ("failed", "paused", "is paused")
    health = (state.get("Health") or {}).get("Status")
    if health == "unhealthy":
        return ("failed", "unhealthy", "does not pass its health check")
    if health == "starting":
        return ("waiting", "starting", "has not passed its health check yet")
    restarts, since_s = int(answer.get("RestartCount") or 0), _moment(str(state.get("StartedAt")))
    if restarts and now_s - since_s < settle_s:
        ago_s = max(0.0, now_s - since_s)
        return ("failed", "flapping", f"started anew {ago_s:.0f} s ago ({restarts} times in all)")
    return OK


def _moment(text: str) -> float:
    """RFC 3339 in UTC, as the engine writes it; seconds since 1970."""
    return calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S"))


def _ask_exec(job: Job) -> Outcome:
    first, second = job.engine
    wanted = {"Cmd": job.command, "AttachStdout": True, "AttachStderr": True, "Tty": True}
    status, answer = call(first, "POST", f"/containers/{quote(job.target, '')}/exec", wanted)
    if status != 201:
        code = "missing" if status == 404 else "stopped"
        return ("failed", code, str(answer.get("message") or f"status {status}")[:200])
    name = quote(str(answer["Id"]), "")
    body = json.dumps({"Detach": False, "Tty": True})
    second.request("POST", f"/exec/{name}/start", body, {"Content-Type": "application/json"})
    output = b""
    try:
        output = _read_all(second.getresponse(), time.monotonic() + job.timeout_s)
    finally:
        _, answer = call(first, "GET", f"/exec/{name}/json")
        if answer.get("Running"):
            job.stuck = int(answer.get("Pid") or 0)
    if answer.get("ExitCode") == 0:
        return OK
    return ("failed", "status", said(answer.get("ExitCode"), output))


def _read_all(response: http.client.HTTPResponse, end_s: float) -> bytes:
    """The end of what it says, until it ends or it is *end_s*."""
    output = b""
    while part := response.read1(OUTPUT_BYTES):
        output = (output + part)[-OUTPUT_BYTES:]
        if time.monotonic() > end_s:
            raise TimeoutError
    return output


def said(code: object, output: bytes | bytearray) -> str:
    """What a program that failed had to say last."""
    lines = bytes(output).decode(errors="replace").strip().splitlines()
    last = "".join(c for c in lines[-1] if c.isprintable())[:160] if lines else ""
    return f"ended with status {code}" + (f": {last}" if last else "")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
