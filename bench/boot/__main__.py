"""`./orlop bench boot`: Orlop, Debian 13 with systemd and docker.io, and the floor, side by side.

All three run under the same emulator with the same processors and memory, in turn, so that
whatever else this machine does meets them alike. One JSON object per measurement goes to stdout, a
table of medians to stderr. Nothing is asserted: this measures, people judge.
"""

import argparse
import os
import sys
import tempfile
from collections import defaultdict
from functools import partial
from pathlib import Path

from bench.boot import debian, report, sides
from bench.boot.guest import GuestFailed, running
from bench.boot.sides import Contestant
from orlop.image.command_line import default_command_line
from orlop.lib.errors import OrlopError
from orlop.vm.accelerator import choose
from orlop.vm.qemu import TCG, Accelerator

REPORTER = Path(__file__).with_name("reporter.c")
CHECKOUT = Path(__file__).resolve().parents[2]
COUNTING = Accelerator("tcg,thread=single", TCG.cpu)


def main() -> int:
    options = _options()
    cache = Path(os.environ.get("ORLOP_CACHE", "~/.cache/orlop")).expanduser()
    accelerator = COUNTING if options.count else choose(cache)
    with tempfile.TemporaryDirectory(prefix="orlop-bench-") as work:
        try:
            contestants = _contestants(options, accelerator, cache / "bench", Path(work))
            if options.count:
                contestants = [sides.counting(contestant) for contestant in contestants]
            _compare(contestants, options.runs, accelerator)
        except (GuestFailed, OrlopError) as error:
            print(f"orlop: {error}", file=sys.stderr)
            return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="./orlop bench boot", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="boots of each side (5)")
    parser.add_argument("--memory", type=int, default=512, metavar="MIB", help="of each (512)")
    parser.add_argument("--cpus", type=int, default=2, metavar="N", help="of each (2)")
    parser.add_argument(
        "--count", action="store_true", help="instructions: uptimes are in billions of them"
    )
    parser.add_argument("--out", type=Path, default=CHECKOUT / "out", help="what the builder made")
    parser.add_argument(
        "--sides", default="orlop,debian,floor", metavar="A,B", help="only some of the three"
    )
    return parser.parse_args()


def _contestants(
    options: argparse.Namespace, accelerator: Accelerator, cache: Path, work: Path
) -> list[Contestant]:
    wanted = options.sides.split(",")
    size = options.memory, options.cpus
    found = []
    if "orlop" in wanted:
        found.append(sides.orlop_side(options.out, default_command_line(CHECKOUT), *size))
    if "debian" in wanted:
        print("making or finding Debian's image ...", file=sys.stderr)
        prime = partial(sides.prime_debian, accelerator, *size)
        found.append(sides.debian_side(debian.ensure_image(cache, REPORTER, prime), *size))
    if "floor" in wanted:
        arguments = default_command_line(CHECKOUT)
        found.append(sides.floor_side(options.out, work, arguments, *size))
    return found


def _compare(contestants: list[Contestant], runs: int, accelerator: Accelerator) -> None:
    machine = f"{report.machine()}, {accelerator.name}"
    commit = report.commit(CHECKOUT)
    results: dict[str, dict[str, list[float]]] = {}
    for run in range(1, runs + 1):
        for contestant in contestants:
            name = contestant.side.name
            print(f"run {run} of {runs}: {name} ...", file=sys.stderr)
            with running(contestant.side, accelerator) as (guest, streams):
                figures = contestant.measure(guest, streams)
            of_side = results.setdefault(name, defaultdict(list))
            for figure, value in {**contestant.constants, **figures}.items():
                of_side[figure].append(value)
                print(report.line(name, figure, value, machine, commit), flush=True)
    print(f"\n{machine}, commit {commit}, medians of {runs}", file=sys.stderr)
    print(report.table(results), file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
