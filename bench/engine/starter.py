"""Starts containers on an engine, several at a time: `starter SOCKET COUNT`. Prints their ids."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.engine.client import Client

AT_ONCE = 8


def main() -> None:
    path, count = Path(sys.argv[1]), int(sys.argv[2])

    def start(_number: int) -> str:
        client = Client(path)
        container = client.create("busybox", ["/bin/sleep", "100000"], "none")
        client.start(container)
        client.close()
        return container

    with ThreadPoolExecutor(AT_ONCE) as pool:
        print("\n".join(pool.map(start, range(count))))


if __name__ == "__main__":
    main()
