"""The directories of one container, by purpose.

RUN/containers/ID/   config.json (bundle)  rootfs/  etc/  stdin stdout stderr
RUN/runtime/ID/      the OCI runtime's own state
RUN/tty/             sockets through which terminals arrive, short names
DATA/containers/ID/  upper/ work/ logs/
RECORDS/ID/          container.json (state.json): RECORDS is RUN/containers, of a durable engine
                     DATA/containers (`engine.container.records`)
DATA/trash/          what is being deleted
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.settings import EngineSettings


class Layout:
    """Where things of container *id* are. Each path is made once, a start asks for some of them
    ten times."""

    def __init__(self, settings: EngineSettings, id: str) -> None:  # noqa: A002 - as in the API
        self.settings, self.id = settings, id

    @cached_property
    def run(self) -> Path:
        return self.settings.run_dir / "containers" / self.id

    @cached_property
    def rootfs(self) -> Path:
        return self.run / "rootfs"

    @cached_property
    def etc(self) -> Path:
        return self.run / "etc"

    def subpath(self, index: int) -> Path:
        """Where the part of a volume that mount *index* shows is mounted.

        Not below `run`: what is deleted with the container must hold nothing of a volume.
        """
        return self.settings.run_dir / "subpaths" / f"{self.id}-{index}"

    @cached_property
    def shifted(self) -> Path:
        """Where image directories with shifted owners are mounted."""
        return self.settings.run_dir / "shifted" / self.id

    @cached_property
    def shm(self) -> Path:
        """Where a /dev/shm that other containers may share is mounted."""
        return self.run / "shm"

    @cached_property
    def data(self) -> Path:
        return self.settings.data_dir / "containers" / self.id

    @cached_property
    def upper(self) -> Path:
        return self.data / "upper"

    @cached_property
    def work(self) -> Path:
        return self.data / "work"

    @cached_property
    def logs(self) -> Path:
        return self.data / "logs"

    @cached_property
    def runtime_state(self) -> Path:
        return self.settings.run_dir / "runtime" / self.id
