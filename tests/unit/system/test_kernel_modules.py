"""`orlop.modules`: what the loader is asked for, and modules that were loaded before."""

import asyncio
import os
from pathlib import Path

from orlop.lib.children import ExitStatus
from orlop.system.kernel_settings import MODLOAD, load_modules


class Loader:
    """The children of PID 1, of which one is asked for."""

    def __init__(self, status: int = 0, said: bytes = b"") -> None:
        self.ran: list[list[str]] = []
        self._answer = ExitStatus(status, 0), said

    async def run(self, argv: list[str], timeout_s: float) -> tuple[ExitStatus, bytes]:
        self.ran.append(argv)
        return self._answer


def load(loader: Loader, modules: Path, *entries: str) -> dict[str, str]:
    return asyncio.run(load_modules(loader, entries, str(modules)))  # type: ignore[arg-type]


def test_parameters_go_to_the_loader(tmp_path: Path) -> None:
    loader = Loader()
    assert load(loader, tmp_path, "nbd nbds_max=64 max_part=8", "dummy") == {}
    assert loader.ran == [[MODLOAD, "nbd", "nbd.nbds_max=64", "nbd.max_part=8"], [MODLOAD, "dummy"]]


def test_a_module_that_was_loaded_before(tmp_path: Path) -> None:
    directory = tmp_path / "snd_dummy/parameters"
    directory.mkdir(parents=True)
    for name, value in (("level", "5\n"), ("on", "Y\n"), ("depth", "0x10\n")):
        (directory / name).write_text(value)
    assert load(Loader(), tmp_path, "snd-dummy level=5 on=1 depth=16 unseen=3") == {}
    assert load(Loader(), tmp_path, "snd-dummy level=6") == {}
    assert (directory / "level").read_text().startswith("6\n")
    # As a parameter that can only be read, even for root.
    (directory / "depth").unlink()
    os.symlink("/proc/version", directory / "depth")
    entry = "snd-dummy depth=17"
    problem = load(Loader(), tmp_path, entry)[entry]
    assert problem.startswith("is loaded already, with depth=Linux")
    assert problem.endswith("the kernel command line comes before that: snd_dummy.depth=17")


def test_what_the_loader_says(tmp_path: Path) -> None:
    said = b"modload: cannot load nbd: Invalid argument\n"
    assert load(Loader(1, said), tmp_path, "nbd x=1") == {"nbd x=1": said.decode().strip()}
