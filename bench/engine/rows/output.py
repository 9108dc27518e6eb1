"""What a container writes: at which speed it is taken, and read back."""

import time

from bench.engine.contestants import Bundle, Contestant
from bench.engine.measure import IMAGE, Options, Sample, Steps, time_ms

LINE_BYTES = 100
DRIVERS = ("json-file", "local")


def output(side: Contestant, options: Options) -> Steps:
    """A container writes lines of 100 bytes; then all of it is read back."""
    lines = options.megabytes * 10**6 // LINE_BYTES
    command = ["/bin/sh", "-c", f"yes {'x' * (LINE_BYTES - 1)} | head -n {lines}"]
    what = f"{options.megabytes} MB of output in lines of {LINE_BYTES} bytes"
    for turn in range(max(options.rounds - 1, 1)):
        for driver in DRIVERS:
            if side.is_floor:
                taken_s = _into_a_file(side, command)
                yield [_speed(side, f"{what}: {driver}", options.megabytes, taken_s)]
            elif side.name != "podman" or driver != "local":
                yield _kept(side, command, driver, what, options.megabytes, read_back=turn == 0)
            else:
                yield []


def _into_a_file(side: Contestant, command: list[str]) -> float:
    bundle = Bundle(side, command)
    with (side.work / "output").open("wb") as stream:
        return time_ms(bundle.crun, "run", "floor", stdout=stream.fileno()) / 1000


def _kept(
    side: Contestant,
    command: list[str],
    driver: str,
    what: str,
    megabytes: int,
    *,
    read_back: bool,
) -> list[Sample]:
    client = side.client()
    log = {"LogConfig": {"Type": driver, "Config": {}}}
    container = client.create(IMAGE, command, "none", HostConfig=log)
    started_s = time.perf_counter()
    client.start(container)
    status = client.wait(container)
    taken_s = time.perf_counter() - started_s
    if status:
        raise RuntimeError(f"the container ended with {status}")
    samples = [_speed(side, f"{what}: {driver}", megabytes, taken_s)]
    if read_back:
        started_s = time.perf_counter()
        size = client.read(f"/containers/{container}/logs?stdout=1&stderr=1")
        taken_s = time.perf_counter() - started_s
        samples.append(_speed(side, f"reading back what {driver} kept", size / 1e6, taken_s))
    client.remove(container)
    return samples


def _speed(side: Contestant, figure: str, megabytes: float, taken_s: float) -> Sample:
    return Sample(side.name, figure, megabytes / taken_s, "MB/s")
