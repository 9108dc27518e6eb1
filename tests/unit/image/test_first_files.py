"""The list of what a boot reads keeps up with the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from orlop.image.root import first_files

CHECKOUT = Path(__file__).parents[3]
PLACE = "/usr/lib/orlop/python/"
TOLERATED = 5
"""Each costs a boot 43 million instructions, one in eighty; then the list has to be made anew."""

PROGRAM = """
import sys
sys.path.insert(0, "src")
sys.modules["ssl"] = None
from orlop.system import main
main._import_everything()
for name, module in sys.modules.items():
    if name.startswith("orlop"):
        print(module.__file__)
"""


def test_pid_1_loads_what_is_listed() -> None:
    output = subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    source = CHECKOUT / "src"
    loaded = {
        PLACE + Path(line).relative_to(source).with_suffix(".pyc").as_posix()
        for line in output.splitlines()
    }
    listed = set(first_files(CHECKOUT))
    assert len(loaded) > 100
    missing = sorted(loaded - listed)
    assert len(missing) <= TOLERATED, f"./orlop bench order > os/root/first.txt; or add {missing}"


def test_modules_that_are_gone_are_not_listed() -> None:
    own = [path for path in first_files(CHECKOUT) if path.startswith(PLACE + "orlop/")]
    gone = [
        path
        for path in own
        if not (CHECKOUT / "src" / path.removeprefix(PLACE)).with_suffix(".py").exists()
    ]
    assert len(gone) <= TOLERATED, f"./orlop bench order > os/root/first.txt; or remove {gone}"
