"""`./orlop bench crowd`: a machine with many running containers, what they cost and how it answers.

The built system in QEMU, without a boot loader, with a disk for its state. Containers that sleep
are created and started through the user's engine, a few at a time. One JSON object per measurement
goes to stdout, a summary to stderr. Nothing is asserted.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.boot.report import commit
from bench.boot.report import machine as host_machine
from bench.engine import images
from bench.engine.client import Client
from orlop.lib.errors import OrlopError
from orlop.lib.process import environment
from orlop.vm.machine import Machine
from tests.vm import guest
from tests.vm.lab import Lab, make_lab
from tests.vm.test_user_engine import user_api

CHECKOUT = Path(__file__).resolve().parents[1]
IMAGE = "busybox:bench"
STATE_MIB = 4096
TIMES = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="./orlop bench crowd", description=__doc__)
    parser.add_argument("--containers", type=int, default=1000, metavar="N")
    parser.add_argument("--network", default="bridge", help="of the containers (bridge)")
    parser.add_argument("--memory", type=int, default=2048, metavar="MIB", help="of the machine")
    parser.add_argument("--cpus", type=int, default=2, metavar="N", help="of the machine (2)")
    parser.add_argument("--at-once", type=int, default=4, metavar="N", help="starts under way (4)")
    options = parser.parse_args()
    cache = os.environ.get("ORLOP_CACHE")
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as work:
        lab = make_lab(CHECKOUT, Path(work), Path(cache) if cache else None)
        where = {
            "commit": commit(CHECKOUT),
            "machine": f"{host_machine()}, {lab.accelerator.name}",
        }
        try:
            for figure, unit, value in measure(lab, options, Path(work)):
                row = {"name": f"crowd/{figure}", "unit": unit, "value": round(value, 3)}
                print(json.dumps(row | where), flush=True)
                print(f"{figure:32} {value:12,.2f} {unit}", file=sys.stderr)
        except OrlopError as error:
            print(f"orlop: {error}", file=sys.stderr)
            return 1
    return 0


def measure(lab: Lab, options: argparse.Namespace, work: Path) -> Iterator[tuple[str, str, float]]:
    """Figure, unit and value of each thing that is measured."""
    with lab.machine(
        lab.kernel(),
        "crowd",
        key=True,
        disks=(lab.state_disk(STATE_MIB),),
        memory_mib=options.memory,
        cpus=options.cpus,
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        archive = work / "image.tar"
        images.make_archive(archive, IMAGE, [images.small_layer(work / "layer")])
        with user_api(machine) as host:
            docker(host, "load", "--quiet", "--input", str(archive))
            yield from memory(machine, "before")
            started_s = time.monotonic()
            start_all(Path(host.removeprefix("unix://")), options)
            yield "start each", "ms", (time.monotonic() - started_s) / options.containers * 1000
            running = docker(host, "ps", "--quiet").split()
            yield "containers running", "1", len(running)
            yield from memory(machine, "with all")
            client = Client(Path(host.removeprefix("unix://")))
            questions: dict[str, Callable[[], object]] = {
                "docker ps through SSH": lambda: docker(host, "ps"),
                "docker ps on the machine": lambda: machine.succeed(["docker", "ps"]),
                "GET /containers/json": lambda: client.call("GET", "/containers/json"),
                "GET /_ping": lambda: client.call("GET", "/_ping"),
            }
            for name, ask in questions.items():
                yield name, "ms", median_ms(ask)


def start_all(socket: Path, options: argparse.Namespace) -> None:
    """Create and start the containers, some at a time."""

    def work(count: int) -> None:
        client = Client(socket)
        for _ in range(count):
            client.start(client.create(IMAGE, ["sleep", "1000000"], options.network))

    share, more = divmod(options.containers, options.at_once)
    shares = [share + (number < more) for number in range(options.at_once)]
    with ThreadPoolExecutor(options.at_once) as pool:
        for done in [pool.submit(work, count) for count in shares]:
            done.result()


def memory(machine: Machine, when: str) -> Iterator[tuple[str, str, float]]:
    """What the engine, PID 1 and the whole machine have in use."""
    for name, pid in (("engine", guest.pids(machine)["engine"]), ("PID 1", 1)):
        text = machine.succeed(f"grep VmRSS /proc/{pid}/status")
        yield f"memory of {name} {when}", "MiB", int(text.split()[1]) / 1024
    text = machine.succeed("grep -E '^Mem(Total|Available)' /proc/meminfo")
    total, available = (int(row.split()[1]) for row in text.splitlines())
    yield f"memory of the machine {when}", "MiB", (total - available) / 1024


def median_ms(action: Callable[[], object]) -> float:
    """How long *action* takes, of some times."""
    times_s = []
    for _ in range(TIMES):
        started_s = time.monotonic()
        action()
        times_s.append(time.monotonic() - started_s)
    return statistics.median(times_s) * 1000


def docker(host: str, *words: str) -> str:
    done = subprocess.run(
        ["docker", *words],
        env=environment({"DOCKER_HOST": host}),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise OrlopError(f"docker {words[0]} failed: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
