"""`./orlop bench engine`: what containers cost on Orlop, dockerd, podman, and crun alone.

All on this Linux, from Debian 13, with overlay storage and the same images, each in turn. Needs
root. Everything happens in namespaces that end with it, networks included. One JSON object per
measurement goes to stdout, a table of medians to stderr. A side that takes too long for a row did
not finish it, and the next row goes on without what it left.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.boot.report import commit, machine
from bench.engine import contestants, images, report, turns
from bench.engine.contestants import SIDES, Contestant
from bench.engine.measure import IMAGE, TRUE, Options, Sample
from bench.engine.rows.table import ROWS

INSIDE = "ORLOP_BENCH_INSIDE"
CHECKOUT = Path(__file__).resolve().parents[2]

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
exec unshare --pid --net --ipc --uts --fork --kill-child --mount-proc sh -c "
ip link set lo up
root=\\$(mktemp -d)
mount --rbind / \\$root
cd \\$root
mount --move . /
exec chroot . \\"\\$@\\"" sh "$@"' sh "$@"
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
    if INSIDE in os.environ:
        os.chdir(CHECKOUT)
        return _measure(options)
    if os.geteuid() != 0:
        print("orlop: this benchmark needs root", file=sys.stderr)
        return 1
    group = f"orlop-bench-{os.urandom(4).hex()}"
    program = [sys.executable, "-m", "bench.engine", *sys.argv[1:]]
    path = f"{CHECKOUT}{os.pathsep}{CHECKOUT / 'src'}"
    # Not on a tmpfs: overlay wants a real file system. Removed outside, where nothing is mounted.
    with tempfile.TemporaryDirectory(prefix="engine-", dir="/var/tmp") as work:
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", ENTER, "sh", group, *program],
            env={**os.environ, INSIDE: work, "PYTHONPATH": path},
            check=False,
        )
        subprocess.run(["unshare", "--mount", "sh", "-c", LEAVE, "sh", group], check=False)
    return done.returncode


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./orlop bench engine", description=__doc__)
    parser.add_argument("--rows", default=",".join(ROWS), help=f"({','.join(ROWS)})")
    parser.add_argument("--sides", default=",".join(SIDES), help=f"({','.join(SIDES)})")
    parser.add_argument("--runs", type=int, default=30, help="of short measurements (30)")
    parser.add_argument("--rounds", type=int, default=3, help="of long measurements (3)")
    parser.add_argument("--sleepers", default="300,1000", help="containers at once (300,1000)")
    parser.add_argument("--seconds", type=float, default=3, help="for each rate (3)")
    parser.add_argument("--megabytes", type=int, default=500, help="of output (500)")
    parser.add_argument("--large", type=int, default=460, help="megabytes of the image (460)")
    options = parser.parse_args()
    for row in options.rows.split(","):
        if row not in ROWS:
            parser.error(f"there is no row {row!r}")
    for side in options.sides.split(","):
        if side not in SIDES:
            parser.error(f"there is no side {side!r}")
    return options


def _measure(options: argparse.Namespace) -> int:
    amounts = Options(
        runs=options.runs,
        rounds=options.rounds,
        sleepers=tuple(int(count) for count in options.sleepers.split(",")),
        seconds=options.seconds,
        megabytes=options.megabytes,
        large_megabytes=options.large,
    )
    samples: list[Sample] = []
    machine_name, commit_name = machine(), commit(CHECKOUT)
    work = Path(os.environ[INSIDE])
    started_s = time.monotonic()
    sides = list(_start(options.sides.split(","), work))
    try:
        for name in options.rows.split(","):
            print(f"{name} … ({time.monotonic() - started_s:.0f} s)", file=sys.stderr)
            for sample in turns.run(name, ROWS[name], sides, amounts):
                samples.append(sample)
                print(report.line(sample, machine_name, commit_name), flush=True)
    except KeyboardInterrupt:
        print("interrupted: what there is until here", file=sys.stderr)
    print(report.table(samples), file=sys.stderr)
    return 0


def _start(names: list[str], work: Path) -> Iterator[Contestant]:
    """Engines that answer and have busybox; one that does not come up is left out."""
    archive = work / "busybox.tar"
    images.make_archive(archive, "busybox:latest", [images.small_layer(work / "busybox")])
    for name in names:
        side = contestants.make(name, work, CHECKOUT / "src")
        if not side.is_floor:
            try:
                side.start()
                client = side.client()
                client.send_file("/images/load", archive, {"Content-Type": "application/x-tar"})
                client.remove(client.create(IMAGE, TRUE, "none"))
            except (OSError, RuntimeError) as error:
                print(f"{name} takes no part: {error}", file=sys.stderr)
                continue
        yield side


if __name__ == "__main__":
    sys.exit(main())
