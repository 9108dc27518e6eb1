"""The rows of the benchmark: what is done on each engine in turn, and what is noted.

A row is a function from engines to figures. Where one measurement is short the engines take turns,
so that whatever else the machine does meets them alike.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.engine import processes
from bench.engine.client import Client, raw_requests
from bench.engine.contestants import Bundle, Contestant

IMAGE = "busybox"
TRUE = ["/bin/true"]
SLEEP = ["/bin/sleep", "100000"]
WARM_UP = 3
LINE_BYTES = 100
START_LIMIT_S = 120.0
PING_PAUSE_S = 0.001


@dataclass(frozen=True, slots=True)
class Options:
    """How much of everything.

    seconds: for rates. megabytes: of output and of the large image.
    """

    runs: int
    sleepers: tuple[int, ...]
    seconds: float
    megabytes: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: *figure* is what is measured, in *unit*."""

    side: str
    figure: str
    value: float
    unit: str = "ms"


type Samples = Iterator[Sample]
type Row = Callable[[list[Contestant], Options], Samples]


def life(sides: list[Contestant], options: Options) -> Samples:
    """Create, start, wait for and delete a container over the API."""
    for network in ("none", "bridge"):
        lives = {side.name: _life_on(side, network) for side in sides if _has(side, network)}
        for run in range(-WARM_UP, options.runs):
            for name, live in lives.items():
                taken_ms = _time_ms(live)
                if run >= 0:
                    yield Sample(name, f"create, start, wait, delete: network {network}", taken_ms)


def _life_on(side: Contestant, network: str) -> Callable[[], None]:
    if side.is_floor:
        bundle = Bundle(side, TRUE)
        return lambda: bundle.crun("run", "floor")
    client = side.client()

    def live() -> None:
        container = client.create(IMAGE, TRUE, network)
        client.start(container)
        client.wait(container)
        client.remove(container)

    return live


def _has(side: Contestant, network: str) -> bool:
    if side.is_floor:
        return network == "none"
    return network == "none" or network in side.networks()


def command_line(sides: list[Contestant], options: Options) -> Samples:
    """`docker run --rm busybox true`; podman by its own command."""
    commands = {}
    for side in sides:
        if side.is_floor:
            continue
        words = ["run", "--rm", "--network=none", IMAGE, "true"]
        if side.name == "podman":
            commands[side.name] = (["podman", *words], dict(side.environment))
        else:
            host = {"DOCKER_HOST": f"unix://{side.socket_path}", **os.environ}
            commands[side.name] = (["docker", *words], host)
    for run in range(-1, max(options.runs // 3, 3)):
        for name, (argv, environment) in commands.items():
            started_s = time.perf_counter()
            subprocess.run(argv, env=environment, check=True, capture_output=True)
            taken_ms = (time.perf_counter() - started_s) * 1000
            if run >= 0:
                yield Sample(name, "run --rm on the command line: network none", taken_ms)


def many(sides: list[Contestant], options: Options) -> Samples:
    """Sleeping containers, one after the other: starting, listing, stopping them; memory."""
    for count in options.sleepers:
        for side in sides:
            if not side.is_floor:
                yield from _many_on(side, count)


def _many_on(side: Contestant, count: int) -> Samples:
    client, label = side.client(), f"{count} sleepers"
    before = processes.measure(side.programs)
    started_s = time.perf_counter()
    made = []
    for _ in range(count):
        made.append(client.create(IMAGE, SLEEP, "none"))
        client.start(made[-1])
    yield _mean_ms(side, f"{label}: create and start, each", started_s, count)
    after = processes.measure(side.programs)
    memory_kib = (after.pss_bytes - before.pss_bytes) / count / 1024
    yield Sample(side.name, f"{label}: memory of the engine, each", memory_kib, "KiB")
    yield Sample(side.name, f"{label}: memory of the engine, all", after.pss_bytes / 2**20, "MiB")
    for _ in range(10):
        taken_ms = _time_ms(lambda: client.call("GET", "/containers/json"))
        yield Sample(side.name, f"{label}: list", taken_ms)
    host = {"DOCKER_HOST": f"unix://{side.socket_path}", **os.environ}
    for _ in range(3):
        taken_ms = _time_ms(
            lambda: subprocess.run(["docker", "ps"], env=host, check=True, capture_output=True)
        )
        yield Sample(side.name, f"{label}: docker ps", taken_ms)
    started_s = time.perf_counter()
    for container in made:
        client.call("POST", f"/containers/{container}/kill")
        client.wait(container)
    yield _mean_ms(side, f"{label}: kill, each", started_s, count)
    started_s = time.perf_counter()
    for container in made:
        client.remove(container)
    yield _mean_ms(side, f"{label}: delete, each", started_s, count)


def output(sides: list[Contestant], options: Options) -> Samples:
    """A container writes lines of 100 bytes; then all of it is read back."""
    lines = options.megabytes * 10**6 // LINE_BYTES
    text = "x" * (LINE_BYTES - 1)
    command = ["/bin/sh", "-c", f"yes {text} | head -n {lines}"]
    figure = f"{options.megabytes} MB of output in lines of {LINE_BYTES} bytes"
    for side in sides:
        for _ in range(2):
            taken_ms = _output_on(side, command)
            yield Sample(side.name, figure, options.megabytes / taken_ms * 1000, "MB/s")
        if not side.is_floor:
            yield from _read_back(side, command)


def _output_on(side: Contestant, command: list[str]) -> float:
    if side.is_floor:
        bundle = Bundle(side, command)
        with (side.work / "output").open("wb") as stream:
            return _time_ms(lambda: bundle.crun("run", "floor", stdout=stream.fileno()))
    client = side.client()
    container = client.create(IMAGE, command, "none")

    def run() -> None:
        client.start(container)
        client.wait(container)

    taken_ms = _time_ms(run)
    client.remove(container)
    return taken_ms


def _read_back(side: Contestant, command: list[str]) -> Samples:
    client = side.client()
    container = client.create(IMAGE, command, "none")
    client.start(container)
    client.wait(container)
    started_s = time.perf_counter()
    size = client.read(f"/containers/{container}/logs?stdout=1&stderr=1")
    taken_s = time.perf_counter() - started_s
    yield Sample(side.name, "reading what was kept of it", size / 1e6 / taken_s, "MB/s")
    client.remove(container)


def execute(sides: list[Contestant], options: Options) -> Samples:
    """Exec in a running container: create, start, read its output to the end."""
    executors = {side.name: _executor(side) for side in sides}
    for run in range(-WARM_UP, options.runs):
        for name, once in executors.items():
            taken_ms = _time_ms(once)
            if run >= 0:
                yield Sample(name, "exec", taken_ms)


def _executor(side: Contestant) -> Callable[[], object]:
    if side.is_floor:
        bundle = Bundle(side, SLEEP)
        bundle.crun("run", "--detach", "exec")
        return lambda: bundle.crun("exec", "exec", "/bin/true")
    client = side.client()
    container = client.create(IMAGE, SLEEP, "none")
    client.start(container)
    wanted = {"AttachStdout": True, "AttachStderr": True, "Cmd": TRUE}

    def once() -> None:
        session = client.call("POST", f"/containers/{container}/exec", wanted)["Id"]
        # The answer is the connection itself; its end is the end of the program.
        attached = Client(client.path)
        attached.call("POST", f"/exec/{session}/start", {"Detach": False, "Tty": False})
        attached.close()

    return once


def rates(sides: list[Contestant], options: Options) -> Samples:
    """Requests one after the other on one connection, with ten containers there."""
    targets = {"ping": "/_ping", "version": "/version", "list of 10": "/containers/json"}
    for side in sides:
        if side.is_floor:
            continue
        client = side.client()
        made = [client.create(IMAGE, SLEEP, "none") for _ in range(10)]
        for container in made:
            client.start(container)
        targets["inspect"] = f"/containers/{made[0]}/json"
        for label, target in targets.items():
            request = f"GET {target} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()
            taken_s = list(raw_requests(client.path, request, options.seconds))
            yield Sample(
                side.name, f"requests a second: {label}", 1 / statistics.mean(taken_s), "1/s"
            )
        for container in made:
            client.remove(container)


def idle(sides: list[Contestant], options: Options) -> Samples:
    """Memory of engines that have done nothing yet but run one container."""
    for side in sides:
        if not side.is_floor:
            cost = processes.measure(side.programs)
            yield Sample(side.name, "idle: memory", cost.pss_bytes / 2**20, "MiB")
            yield Sample(side.name, "idle: processes", float(cost.processes), "1")


def responsive(sides: list[Contestant], options: Options) -> Samples:
    """How long `/_ping` takes at the 99th percentile while 50 containers start."""
    for side in sides:
        # podman's service (5.4) was seen to stop answering while eight clients start containers.
        if side.is_floor or side.name == "podman":
            continue
        client = side.client()
        starter = subprocess.Popen(
            [sys.executable, "-m", "bench.engine.starter", str(side.socket_path), "50"],
            stdout=subprocess.PIPE,
        )
        request = b"GET /_ping HTTP/1.1\r\nHost: bench\r\n\r\n"
        taken_ms = []
        for taken_s in raw_requests(client.path, request, stop_s=START_LIMIT_S):
            taken_ms.append(taken_s * 1000)
            time.sleep(PING_PAUSE_S)
            if starter.poll() is not None:
                break
        if starter.poll() is None:
            starter.kill()
            print(f"{side.name} did not start 50 in {START_LIMIT_S} s", file=sys.stderr)
        names, _ = starter.communicate()
        percentiles = statistics.quantiles(taken_ms, n=100)
        yield Sample(side.name, "ping while 50 containers start: 99th percentile", percentiles[98])
        yield Sample(side.name, "ping while 50 containers start: longest", max(taken_ms))
        for container in names.decode().split():
            client.remove(container)


ROWS: dict[str, Row] = {
    "idle": idle,
    "life": life,
    "cli": command_line,
    "exec": execute,
    "rates": rates,
    "responsive": responsive,
    "output": output,
    "many": many,
}


def _time_ms(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return (time.perf_counter() - started_s) * 1000


def _mean_ms(side: Contestant, figure: str, started_s: float, count: int) -> Sample:
    return Sample(side.name, figure, (time.perf_counter() - started_s) / count * 1000)
