"""Work for an engine while it is watched: `starter SOCKET COUNT`, or `starter SOCKET pull IMAGE`.

Starts containers, several at a time, or pulls an image.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.engine.client import Client

AT_ONCE = 8


def main() -> None:
    client = Client(Path(sys.argv[1]))
    if sys.argv[2] == "pull":
        name, _, tag = sys.argv[3].rpartition(":")
        path = f"/images/create?fromImage={name}&tag={tag}&tlsVerify=false"
        client.follow("POST", path, {})
        return

    def start(_number: int) -> None:
        client = Client(Path(sys.argv[1]))
        container = client.create("busybox:latest", ["/bin/sleep", "100000"], "none")
        client.start(container)
        client.close()

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(start, range(int(sys.argv[2]))))


if __name__ == "__main__":
    main()
