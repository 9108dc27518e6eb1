"""What the launcher tells the commands inside the tool root, and what they share."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from orlop.cli.host.main import report
from orlop.image import lockfile
from orlop.image.pipeline import BuildFailed, Settings, Step, run_steps
from orlop.image.progress import Display
from orlop.image.store import Session, Store
from orlop.lib.errors import Unavailable
from orlop.toolroot.make import installed

BUILD_MOUNT = Path("/build")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """Places, as absolute paths that are the same inside the tool root and outside."""

    checkout: Path
    cache: Path
    session: str

    @property
    def out(self) -> Path:
        return self.checkout / "out"


def host_settings() -> HostSettings:
    """Read what the launcher put into the environment.

    Raises:
        Unavailable: this is not the inside of a tool root.
    """
    try:
        return HostSettings(
            Path(os.environ["ORLOP_CHECKOUT"]),
            Path(os.environ["ORLOP_CACHE"]),
            os.environ["ORLOP_SESSION"],
        )
    except KeyError as error:
        raise Unavailable(
            f"{error.args[0]} is not set: this is not the tool root", hint="start it with ./orlop"
        ) from None


@contextmanager
def build_settings(host: HostSettings) -> Iterator[Settings]:
    """What `run_steps` needs, with the display on the terminal while it runs."""
    store = Store(host.cache)
    epoch = lockfile.parse_epoch(lockfile.read(host.checkout, "image.lock"))
    # `./orlop shell` shows the work of failed steps there instead.
    own = host.cache / "work" / host.session / "build"
    mount = BUILD_MOUNT if os.path.samefile(BUILD_MOUNT, own) else None
    with Session(store, host.session, mount=mount) as session, Display(sys.stderr) as display:
        yield Settings(session, display, epoch, tools=installed(Path("/")))


def run_and_report(
    steps: Sequence[Step], targets: Sequence[str], host: HostSettings
) -> dict[str, Path] | None:
    """Run steps and return their results; None after failures, which have been reported."""
    try:
        with build_settings(host) as settings:
            return run_steps(steps, targets, settings)
    except BuildFailed as failed:
        for failure in failed.failures:
            report(failure)
            print(f"  log:    {failure.log}", file=sys.stderr)
            if failure.replay:
                print(f"  replay: {failure.replay}", file=sys.stderr)
        return None
