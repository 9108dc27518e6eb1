"""Orlop's engine by itself, for the benchmark: serves on DIRECTORY/sock until it is killed."""

import asyncio
import sys
from pathlib import Path

from orlop.engine.engine import Engine
from orlop.engine.settings import EngineSettings


async def main() -> None:
    directory, cgroup_root, images = map(Path, sys.argv[1:4])
    engine = Engine(
        EngineSettings(
            run_dir=directory / "run",
            data_dir=directory / "data",
            images_dir=images,
            cgroup_root=cgroup_root,
        )
    )
    await engine.start({})
    await engine.serve(directory / "sock")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
