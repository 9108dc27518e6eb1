"""`./orlop bench engine_start`: the life of a container over the API: create, start, wait, delete.

Orlop's engine, dockerd of Debian 13, and crun by itself as the floor, on this Linux, one container
on each in turn, without a network. Needs root. Everything happens in namespaces that end with it.
One JSON object per container goes to stdout, medians to stderr.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.boot import debian, report
from bench.engine_start import engines
from bench.engine_start.engines import Contestant
from orlop.vm.accelerator import choose

INSIDE = "ORLOP_BENCH_INSIDE"
CHECKOUT = Path(__file__).resolve().parents[2]
REPORTER = CHECKOUT / "bench/boot/reporter.c"
WARM_UP = 3
"""Containers on each engine before the first that counts."""

# A control group of its own whose root is free of processes, as engines want it; mounts, network,
# processes of its own; and the same program again.
ENTER = """
set -e
mount --make-rprivate /
group=$(mktemp -d)
mount -t cgroup2 cgroup2 "$group"
mkdir "$group/$1"
echo $$ > "$group/$1/cgroup.procs"
umount "$group"; rmdir "$group"
shift
exec unshare --cgroup sh -c '
set -e
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir /sys/fs/cgroup/bench
echo $$ > /sys/fs/cgroup/bench/cgroup.procs
exec unshare --pid --net --ipc --uts --fork --kill-child --mount-proc "$@"' sh "$@"
"""
LEAVE = """
group=$(mktemp -d)
mount -t cgroup2 cgroup2 "$group"
echo 1 > "$group/$1/cgroup.kill"
sleep 0.2
find "$group/$1" -depth -type d -exec rmdir {} +
umount "$group"; rmdir "$group"
"""


def main() -> int:
    options = _options()
    cache = Path(os.environ.get("ORLOP_CACHE", "~/.cache/orlop")).expanduser() / "bench"
    if INSIDE in os.environ:
        return _measure(options, cache)
    if os.geteuid() != 0:
        print("orlop: this benchmark needs root", file=sys.stderr)
        return 1
    _ensure_tree(cache)
    group = f"orlop-bench-{os.getpid()}"
    program = [sys.executable, "-m", "bench.engine_start", *sys.argv[1:]]
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", ENTER, "sh", group, *program],
        env={**os.environ, INSIDE: "1"},
        check=False,
    )
    subprocess.run(["unshare", "--mount", "sh", "-c", LEAVE, "sh", group], check=False)
    return done.returncode


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./orlop bench engine_start", description=__doc__)
    parser.add_argument("--runs", type=int, default=30, metavar="N", help="containers on each (30)")
    return parser.parse_args()


def _tree(cache: Path) -> Path:
    return cache / f"tree-{debian.image_key(REPORTER)}"


def _ensure_tree(cache: Path) -> None:
    """The Debian of bench/boot as a tree: unpacked from its disk, once."""
    tree = _tree(cache)
    if tree.is_dir():
        return
    from functools import partial

    from bench.boot import sides

    prime = partial(sides.prime_debian, choose(cache.parent), 512, 2)
    image = debian.ensure_image(cache, REPORTER, prime)
    with tempfile.TemporaryDirectory(prefix=".tree-", dir=cache) as name:
        made = Path(name) / "tree"
        made.mkdir()
        subprocess.run(
            ["debugfs", "-R", f"rdump / {made}", image.disk], check=True, capture_output=True
        )
        made.rename(tree)


def _measure(options: argparse.Namespace, cache: Path) -> int:
    machine, commit = report.machine(), report.commit(CHECKOUT)
    with tempfile.TemporaryDirectory(prefix="engine-start-", dir=cache) as name:
        work = Path(name)
        contestants = [
            engines.start_orlop(work, CHECKOUT / "src"),
            engines.start_dockerd(work, _tree(cache)),
            engines.start_crun(work),
        ]
        taken = _compare(contestants, options.runs)
        shutil.rmtree(work / "orlop/run", ignore_errors=True)
    for contestant, values_ms in taken.items():
        for value_ms in values_ms:
            line = {
                "name": f"engine_start/{contestant}/life_ms",
                "unit": "ms",
                "value": round(value_ms, 2),
                "commit": commit,
                "machine": machine,
            }
            print(json.dumps(line))
        values_ms.sort()
        print(
            f"{contestant:<8} median {statistics.median(values_ms):8.1f} ms"
            f"   best {values_ms[0]:8.1f} ms   of {len(values_ms)}",
            file=sys.stderr,
        )
    return 0


def _compare(contestants: list[Contestant], runs: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for run in range(-WARM_UP, runs):
        for contestant in contestants:
            started = time.perf_counter()
            contestant.live(f"c{run + WARM_UP}")
            if run >= 0:
                taken[contestant.name].append((time.perf_counter() - started) * 1000)
    return taken


if __name__ == "__main__":
    sys.exit(main())
