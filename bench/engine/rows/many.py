"""Hundreds of sleeping containers: starting, listing, stopping them, and what they take."""

import subprocess
import time

from bench.engine import processes
from bench.engine.contestants import Bundle, Contestant
from bench.engine.measure import IMAGE, SLEEP, Options, Sample, Steps, time_ms

LISTS = 20
CALLS = 5


def many(side: Contestant, options: Options) -> Steps:
    """Sleeping containers, one after the other up to each count; then all are ended."""
    counts = sorted(options.sleepers)
    if side.is_floor:
        yield _floor(side, counts[0])
        return
    client = side.client()
    before = processes.measure(side.programs)
    made: list[str] = []
    for count in counts:
        label, there = f"{count} sleepers", len(made)
        started_s = time.perf_counter()
        while len(made) < count:
            made.append(client.create(IMAGE, SLEEP, "none"))
            client.start(made[-1])
        yield [_each(side, f"{label}: create and start, each", started_s, count - there)]
        yield _cost(side, label, count, before)
        yield [
            Sample(side.name, f"{label}: list", time_ms(client.read, "/containers/json"))
            for _ in range(LISTS)
        ]
        ps = ["docker", "ps"]
        yield [
            Sample(side.name, f"{label}: docker ps", time_ms(_call, ps, side)) for _ in range(CALLS)
        ]
    label = f"{len(made)} sleepers"
    started_s = time.perf_counter()
    for container in made:
        client.call("POST", f"/containers/{container}/stop?t=0")
    yield [_each(side, f"{label}: stop, each", started_s, len(made))]
    started_s = time.perf_counter()
    for container in made:
        client.remove(container)
    yield [_each(side, f"{label}: delete, each", started_s, len(made))]


def _cost(side: Contestant, label: str, count: int, before: processes.Cost) -> list[Sample]:
    after = processes.measure(side.programs)
    each_kib = (after.pss_bytes - before.pss_bytes) / count / 1024
    name = side.name
    return [
        Sample(name, f"{label}: memory of the engine (PSS), each", each_kib, "KiB"),
        Sample(name, f"{label}: memory of the engine (PSS)", after.pss_bytes / 2**20, "MiB"),
        Sample(name, f"{label}: processes of the engine", float(after.processes), "1"),
    ]


def _call(command: list[str], side: Contestant) -> None:
    subprocess.run(command, env=side.docker(), check=True, capture_output=True)


def _floor(side: Contestant, count: int) -> list[Sample]:
    bundle = Bundle(side, SLEEP)
    label = f"{count} sleepers"
    started_s = time.perf_counter()
    for number in range(count):
        bundle.crun("run", "--detach", f"sleeper{number}")
    samples = [_each(side, f"{label}: create and start, each", started_s, count)]
    for number in range(count):
        bundle.crun("delete", "--force", f"sleeper{number}")
    return samples


def _each(side: Contestant, figure: str, started_s: float, count: int) -> Sample:
    return Sample(side.name, figure, (time.perf_counter() - started_s) / count * 1000)
