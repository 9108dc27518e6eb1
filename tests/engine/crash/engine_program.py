"""`orlop engine` with crash points: `engine_program.py CONTROL ROOTS ARGUMENT...`."""

import sys
from pathlib import Path

# Workers are started on this process's path, and have points too.
sys.path.insert(0, str(Path(__file__).parents[3]))

from orlop.__main__ import main
from tests.engine.crash import points

if __name__ == "__main__":
    made = points.Points(Path(sys.argv[1]), "engine", tuple(sys.argv[2].split(":")))
    points.install(made)
    points.install_in_engine(made)
    made.watch_doom()
    sys.exit(main(sys.argv[3:]))
