"""`./orlop bench NAME`: run the benchmark `bench/NAME`, a package or a module, in the tool root."""

import os
import sys

from orlop.cli.host.settings import host_settings
from orlop.lib.errors import InvalidArgument

USAGE = "usage: ./orlop bench NAME [ARGUMENT...]"


def main(argv: list[str]) -> int:
    folder = host_settings().checkout / "bench"
    names = sorted(
        path.stem
        for path in folder.iterdir()
        if (path / "__main__.py").exists() or (path.suffix == ".py" and path.stem != "__init__")
    )
    match argv:
        case [] | ["-h" | "--help"]:
            print(f"{USAGE}\n\n{__doc__}\nBenchmarks: {', '.join(names)}")
            return 0 if argv else 2
        case [name, *_] if name not in names:
            raise InvalidArgument(
                f"there is no benchmark {name!r}", hint=f"./orlop bench {'|'.join(names)}"
            )
    os.chdir(folder.parent)
    sys.stdout.flush()
    return os.execv(sys.executable, [sys.executable, "-m", f"bench.{argv[0]}", *argv[1:]])
