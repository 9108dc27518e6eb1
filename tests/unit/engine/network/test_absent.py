"""An engine without networks, such as PID 1's, does not load them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CODE = """
import asyncio, sys
from pathlib import Path
from orlop.engine.engine import Engine
from orlop.engine.settings import EngineSettings
from orlop.engine.api.table import make_router
from orlop.engine.api import create_request

async def main(directory):
    engine = Engine(EngineSettings(run_dir=directory, data_dir=directory, images_dir=directory))
    make_router(engine)

asyncio.run(main(Path(sys.argv[1])))
print([name for name in sys.modules if name.startswith("orlop.engine.network")])
"""


def test_nothing_of_networks_is_imported(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE, tmp_path],
        env={"PYTHONPATH": str(Path(__file__).parents[4] / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "[]\n", done.stderr
