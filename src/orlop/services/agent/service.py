"""The agent: takes requests from the host on a virtio port, runs them, sends answers.

One poll loop. The host may disconnect and come back at any time; the port then reports a hangup
forever, so it is looked at again after a pause instead of polled. What the host does not read is
not collected without end: while answers wait, no new requests are taken.
"""

import errno
import json
import os
import select
import sys
import time

from orlop.lib.errors import InvalidArgument
from orlop.services.agent.jobs import Job, identifier_of, parse_request

PORT_NAME = "org.orlop.agent.0"
MAX_REQUEST_BYTES = 16 << 20
MAX_JOBS = 16
PAUSE_S = 0.25
"""Between looks at a port to which no host is connected."""

DRAIN_S = 0.2
"""After a command has ended, for output that is still in the pipes while a child of it holds
them."""


def find_port(name: str = PORT_NAME, sys_root: str = "/sys/class/virtio-ports") -> str | None:
    """The device node of the port called *name*, or None if the machine has no such port."""
    try:
        entries = os.listdir(sys_root)
    except FileNotFoundError:
        return None
    for entry in entries:
        try:
            with open(f"{sys_root}/{entry}/name", encoding="utf-8", errors="replace") as stream:
                if stream.read(256).strip() == name:
                    return f"/dev/{entry}"
        except OSError:
            continue
    return None


class Agent:
    """Serves one open port until it is gone."""

    def __init__(self, port: int) -> None:
        os.set_blocking(port, False)
        self._port = port
        self._poll = select.poll()
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._jobs: dict[int, Job] = {}
        self._connected = True

    def run(self) -> None:
        """Serve.

        Raises:
            OSError: the port is gone (ENODEV), or broken.
        """
        while True:
            self._watch_port()
            ready = self._poll.poll(self._timeout_ms())
            self._connected = True
            for descriptor, events in ready:
                if descriptor == self._port:
                    self._serve_port(events)
                elif descriptor in self._jobs:
                    self._serve_job(self._jobs[descriptor], descriptor)
            self._check_deadlines()
            self._start_jobs()

    def _watch_port(self) -> None:
        if not self._connected:
            self._forget(self._port)
            return
        wanted = select.POLLOUT if self._outgoing else select.POLLIN
        if len(self._incoming) <= MAX_REQUEST_BYTES or wanted == select.POLLOUT:
            self._poll.register(self._port, wanted)
        else:
            self._forget(self._port)

    def _timeout_ms(self) -> float | None:
        limits = [job.deadline_s - time.monotonic() for job in self._running()]
        if not self._connected:
            limits.append(PAUSE_S)
        return max(0.0, min(limits)) * 1000 + 1 if limits else None

    def _running(self) -> list[Job]:
        return list({id(job): job for job in self._jobs.values()}.values())

    def _serve_port(self, events: int) -> None:
        if events & select.POLLOUT and self._outgoing and not events & select.POLLHUP:
            self._send()
        else:  # data or a hangup: reading tells whether the host left (nothing) or the port (error)
            self._receive()

    def _receive(self) -> None:
        try:
            data = os.read(self._port, 65536)
        except BlockingIOError:
            return
        if not data:
            self._lose_host()
            return
        self._incoming += data
        if len(self._incoming) > MAX_REQUEST_BYTES and b"\n" not in self._incoming:
            self._incoming.clear()
            self._answer({"id": None, "error": "the request is too long"})

    def _send(self) -> None:
        try:
            del self._outgoing[: os.write(self._port, self._outgoing)]
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.EPIPE:
                raise
            self._lose_host()

    def _lose_host(self) -> None:
        """Nobody is there: what was asked and what was to be answered means nothing any more."""
        self._connected = False
        self._incoming.clear()
        self._outgoing.clear()
        for job in self._running():
            job.abandoned = True
            job.kill()

    def _start_jobs(self) -> None:
        while not self._outgoing and len(self._running()) < MAX_JOBS:
            end = self._incoming.find(b"\n")
            if end < 0:
                return
            line = bytes(self._incoming[:end])
            del self._incoming[: end + 1]
            if line.strip():
                self._start_job(line)

    def _start_job(self, line: bytes) -> None:
        try:
            request = parse_request(line)
            job = Job(request, time.monotonic() + request.timeout_s)
        except (InvalidArgument, OSError) as error:
            self._answer({"id": identifier_of(line), "error": str(error)})
            return
        if job.feed():
            self._register(job, job.stdin, select.POLLOUT)
        for descriptor in (job.stdout, job.stderr, job.pidfd):
            self._register(job, descriptor, select.POLLIN)

    def _serve_job(self, job: Job, descriptor: int) -> None:
        if descriptor == job.pidfd:
            self._forget(descriptor)
            job.reap()
            job.deadline_s = time.monotonic() + DRAIN_S
        elif descriptor == job.stdin:
            if not job.feed():
                self._forget(descriptor)
        elif not job.drain(descriptor):
            self._forget(descriptor)
        if job.status is not None and not job.output:
            self._finish(job)

    def _check_deadlines(self) -> None:
        now_s = time.monotonic()
        for job in self._running():
            if job.deadline_s > now_s:
                continue
            if job.status is not None:
                self._finish(job)
                continue
            job.timed_out = True
            job.kill()
            job.deadline_s = (
                now_s + DRAIN_S
            )  # then its pidfd tells; a process in the kernel may take time

    def _finish(self, job: Job) -> None:
        for descriptor in [key for key, owner in self._jobs.items() if owner is job]:
            self._forget(descriptor)
        job.close()
        if not job.abandoned:
            self._answer(job.answer())

    def _answer(self, content: dict[str, object]) -> None:
        self._outgoing += json.dumps(content).encode() + b"\n"

    def _register(self, job: Job, descriptor: int, events: int) -> None:
        self._jobs[descriptor] = job
        self._poll.register(descriptor, events)

    def _forget(self, descriptor: int) -> None:
        self._jobs.pop(descriptor, None)
        try:
            self._poll.unregister(descriptor)
        except KeyError:
            pass


def serve_forever() -> None:
    """Open the port, serve it, and again when it has gone away and come back."""
    while True:
        path = find_port()
        if path is not None:
            try:
                port = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
                try:
                    Agent(port).run()
                finally:
                    os.close(port)
            except OSError as error:
                print(f"agent: {path}: {error}", file=sys.stderr, flush=True)
        time.sleep(1)
