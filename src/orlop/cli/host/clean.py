"""`./orlop clean`: remove build results that are not the last used, and old tool roots.

`./orlop clean --all` is the launcher's own: it removes the whole cache, this tool root with it.
"""

import argparse
import os
from pathlib import Path

from orlop.cli.host.settings import host_settings
from orlop.image.store import Store
from orlop.lib.errors import Conflict
from orlop.lib.owned_directory import remove_tree


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="./orlop clean", description=__doc__)
    parser.add_argument(
        "--keep", type=int, default=1, metavar="N", help="results kept of each step (default: 1)"
    )
    parser.add_argument("--all", action="store_true", help="remove the whole cache")
    options = parser.parse_args(argv)
    host = host_settings()
    locks = (host.cache / "work").glob("*.lock")
    if [lock for lock in locks if lock.stem != host.session]:
        raise Conflict("other ./orlop commands are running", hint="stop them first")
    for entry in Store(host.cache).prune(kept_per_step=options.keep):
        print(f"removed {entry.name}")
    for failed in (host.cache / "failed").iterdir():
        remove_tree(failed)
        print(f"removed the work of the failed step {failed.name}")
    current = Path(os.environ["ORLOP_TOOLROOT"])
    for toolroot in current.parent.iterdir():
        if toolroot.name not in {current.name, f"{current.name}.lock"}:
            remove_tree(toolroot)
            print(f"removed tool root {toolroot.name}")
    return 0
