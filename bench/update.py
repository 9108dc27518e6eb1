"""What an update weighs, whole and as a delta: `./orlop bench update OLD.iso [NEW.iso]`.

OLD and NEW are ISOs of two builds, NEW by default that of `out/`. The delta is made as `./orlop
release` makes it and applied as a machine does; what comes out has to be the new image.
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
from orlop.cli.host_settings import host_settings
from orlop.image.release_maker import DELTA_COMMAND, DELTA_PAYS
from orlop.lib import medium
from orlop.lib.errors import OrlopError
from orlop.lib.process import run
from orlop.system.updates import delta

TIMEOUT_S = 1800.0


def extract(iso: Path, target: Path) -> medium.Source:
    """The image of *iso*, in the file *target*."""
    source = medium.read_source(str(iso))
    place = source.place
    with iso.open("rb") as stream:
        stream.seek(place.offset_bytes)
        target.write_bytes(stream.read(place.size_bytes))
    return source


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="./orlop bench update", description=__doc__)
    parser.add_argument("old", type=Path, help="the ISO of the build that machines have")
    parser.add_argument("new", type=Path, nargs="?", help="that of the other; out/orlop.iso")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        old, new, difference, made = (Path(name, part) for part in ("old", "new", "delta", "made"))
        before = extract(options.old, old)
        after = extract(options.new or host_settings().out / "orlop.iso", new)
        begun_s = time.monotonic()
        run([*DELTA_COMMAND, f"--patch-from={old}", new, "-o", difference], timeout_s=TIMEOUT_S)
        packed_s = time.monotonic()
        base = delta.open_base(str(old))
        delta.apply(base, str(difference), str(made), new.stat().st_size)
        applied_s = time.monotonic()
        os.close(base)
        if sha256(made.read_bytes()).hexdigest() != after.image.sha256:
            raise OrlopError("the delta makes another image than the new one")
        whole, part = new.stat().st_size, difference.stat().st_size
    values = {
        "whole_bytes": ("B", whole),
        "delta_bytes": ("B", part),
        "make_s": ("s", packed_s - begun_s),
        "apply_s": ("s", applied_s - packed_s),
    }
    about = {"commit": commit(host_settings().checkout), "machine": machine()}
    for figure, (unit, value) in values.items():
        found = {"name": f"update/{figure}", "unit": unit, "value": round(value, 3), **about}
        print(json.dumps(found))
    share = part / whole
    word = "in the release" if share <= DELTA_PAYS else "left out of the release"
    print(
        f"from {before.image.version} ({before.image.id}) to {after.image.version} "
        f"({after.image.id}): {whole:,} bytes whole, {part:,} as a delta, which is {share:.1%} of "
        f"it and {word}",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except OrlopError as failure:
        sys.exit(f"update: {failure}")
