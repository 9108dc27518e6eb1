"""Requests that change nothing, alone and beside work; and what an idle engine takes."""

import statistics
import subprocess
import sys
import time

from bench.engine import large, processes
from bench.engine.client import raw_requests
from bench.engine.contestants import Contestant
from bench.engine.measure import IMAGE, SLEEP, Options, Sample, Steps

TURNS = 3
PING_PAUSE_S = 0.001
PINGS_S = 3.0
STARTED = 50
WORK_LIMIT_S = 120.0


def idle(side: Contestant, options: Options) -> Steps:
    """Memory of engines that have only loaded an image and made a container."""
    cost = processes.measure(side.programs)
    yield [
        Sample(side.name, "idle: memory (PSS)", cost.pss_bytes / 2**20, "MiB"),
        Sample(side.name, "idle: processes", float(cost.processes), "1"),
    ]


def rates(side: Contestant, options: Options) -> Steps:
    """Requests one after the other on one connection, with ten containers there."""
    client = side.client()
    made = [client.create(IMAGE, SLEEP, "none") for _ in range(10)]
    for container in made:
        client.start(container)
    targets = {
        "_ping": "/_ping",
        "version": "/version",
        "list of 10": "/containers/json",
        "inspect": f"/containers/{made[0]}/json",
    }
    for _ in range(TURNS):
        for label, target in targets.items():
            request = f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
            taken_s = list(raw_requests(client.path, request, options.seconds / TURNS))
            figure = f"requests a second: {label}"
            yield [Sample(side.name, figure, 1 / statistics.mean(taken_s), "1/s")]
    for container in made:
        client.end(container)


def responsive(side: Contestant, options: Options) -> Steps:
    """How long `/_ping` takes: idle, while 50 containers start, while an image is pulled."""
    yield _percentiles(side, "idle", ["sleep", str(PINGS_S)])
    starter = [sys.executable, "-m", "bench.engine.starter", str(side.socket_path)]
    yield _percentiles(side, f"while {STARTED} containers start", [*starter, str(STARTED)])
    client = side.client()
    for container in client.call("GET", "/containers/json?all=1"):
        client.end(container["Id"])
    reference = large.reference(side.work.parent, options.large_megabytes)
    yield _percentiles(side, "while an image is pulled", [*starter, "pull", reference])
    client.call("DELETE", f"/images/{reference}?force=1")


def _percentiles(side: Contestant, what: str, command: list[str]) -> list[Sample]:
    """Ping once a millisecond while *command* runs."""
    request = b"GET /_ping HTTP/1.1\r\nHost: bench\r\n\r\n"
    taken_ms = []
    worker = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        for taken_s in raw_requests(side.socket_path, request, stop_s=WORK_LIMIT_S):
            taken_ms.append(taken_s * 1000)
            time.sleep(PING_PAUSE_S)
            if worker.poll() is not None:
                break
        else:
            raise RuntimeError(f"{what}: not done after {WORK_LIMIT_S:.0f} s")
    finally:
        worker.kill()
        worker.communicate()
    if worker.returncode:
        raise RuntimeError(f"{what}: {command[0]} ended with {worker.returncode}")
    parts = statistics.quantiles(taken_ms, n=100)
    return [
        Sample(side.name, f"_ping {what}: median", parts[49]),
        Sample(side.name, f"_ping {what}: 99th percentile", parts[98]),
        Sample(side.name, f"_ping {what}: longest", max(taken_ms)),
    ]
