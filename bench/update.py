"""What an update weighs, whole and as a delta: `./orlop bench update OLD.iso ... [--new NEW.iso]`.

OLD are ISOs of builds that machines have, NEW by default that of `out/`. The deltas are made as
`./orlop release` makes them and applied as a machine does; what comes out has to be the new image.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

from bench.boot.report import commit, machine
from orlop.cli.host.settings import host_settings
from orlop.image.delta_maker import make_delta
from orlop.image.release_maker import DELTA_PAYS
from orlop.lib import medium
from orlop.lib.errors import OrlopError
from orlop.system.updates import delta


def extract(iso: Path, target: Path) -> medium.Source:
    """The image of *iso*, in the file *target*."""
    source = medium.read_source(str(iso))
    place = source.place
    with iso.open("rb") as stream:
        stream.seek(place.offset_bytes)
        target.write_bytes(stream.read(place.size_bytes))
    return source


def measure(iso: Path, new: Path, after: medium.Source, scratch: Path) -> dict[str, float]:
    """From the image in *iso* to *new*: bytes and seconds.

    Raises:
        OrlopError: what comes out is another image.
    """
    old, difference, made = (scratch / part for part in ("old", "delta", "made"))
    extract(iso, old)
    begun_s = time.monotonic()
    make_delta(old, new, difference)
    packed_s = time.monotonic()
    base = delta.open_base(str(old))
    try:
        os.chdir(scratch)
        delta.apply(base, str(difference), str(made), new.stat().st_size, lambda _: None)
    finally:
        os.close(base)
    applied_s = time.monotonic()
    if sha256(made.read_bytes()).hexdigest() != after.image.sha256:
        raise OrlopError("the delta makes another image than the new one")
    return {
        "whole_bytes": new.stat().st_size,
        "delta_bytes": difference.stat().st_size,
        "make_s": round(packed_s - begun_s, 3),
        "apply_s": round(applied_s - packed_s, 3),
    }


def main() -> int:
    """Measure and print: figures as JSON, and a table for people."""
    parser = argparse.ArgumentParser(prog="./orlop bench update", description=__doc__)
    parser.add_argument("old", type=Path, nargs="+", help="the ISO of a build that machines have")
    parser.add_argument("--new", type=Path, help="that of the new build; out/orlop.iso")
    options = parser.parse_args()
    about = {"commit": commit(host_settings().checkout), "machine": machine()}
    table = ["| from | whole | delta | | in a release |", "|---|--:|--:|--:|---|"]
    with tempfile.TemporaryDirectory() as name:
        new = Path(name, "new")
        after = extract(options.new or host_settings().out / "orlop.iso", new)
        for iso in [path.absolute() for path in options.old]:
            found = measure(iso, new, after, Path(name))
            for figure, value in found.items():
                unit = figure.rpartition("_")[2].replace("bytes", "B")
                row = {"name": f"update/{figure}", "unit": unit, "value": value, **about}
                print(json.dumps({**row, "from": str(iso)}))
            share = found["delta_bytes"] / found["whole_bytes"]
            table.append(
                f"| {iso} | {found['whole_bytes']:,} | {found['delta_bytes']:,} | {share:.2%} | "
                f"{'yes' if share <= DELTA_PAYS else 'no'} |"
            )
    print("\n".join(table), file=sys.stderr)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OrlopError as failure:
        sys.exit(f"update: {failure}")
