"""PID 1: the entry point of `init`.

    init               the machine's first process
    init --resume=FD   the same, executed anew by itself (`handover`)
    init --check       import everything, do nothing: is this code fit to be executed?

The order of imports is part of the boot: nothing that is not needed for the first steps is
imported before them.
"""

# The first statement of PID 1 is its first measurement.
import time

STARTED_S = round(time.clock_gettime(time.CLOCK_BOOTTIME), 3)

import os  # noqa: E402
import sys  # noqa: E402

TYPE_CHECKING = False  # importing typing for it would cost PID 1 a millisecond
if TYPE_CHECKING:
    from orlop.system import early, handover

MAX_REEXECUTIONS = 3
"""How often a broken event loop is answered by a re-execution before PID 1 gives up on it."""


def main(argv: list[str]) -> int:
    """Be PID 1; returns only for `--check`."""
    if "--check" in argv:
        _import_everything()
        return 0
    while True:
        try:
            _run(argv)
        except BaseException as error:  # noqa: BLE001 - PID 1 never ends
            _last_resort(error)


def _import_everything() -> None:
    from orlop.engine import engine  # noqa: F401
    from orlop.system import boot, early, routes  # noqa: F401


def _run(argv: list[str]) -> None:
    from orlop.lib.priority import go_first
    from orlop.system import early, handover

    go_first()
    descriptor = handover.resume_descriptor(argv)
    resumed: handover.Handover | None = None
    if descriptor is None:
        first = early.run(STARTED_S)
    else:
        first, resumed = _resume(descriptor)
    from orlop.system.boot import Boot

    Boot(first, resumed).run()


def _resume(descriptor: int) -> "tuple[early.Early, handover.Handover]":
    """What `early` would have found, without doing it again."""
    from orlop.system import early, handover
    from orlop.system.parameters import parse_parameters

    first = early.Early()
    try:
        resumed = handover.load(descriptor)
    except (OSError, ValueError, TypeError) as error:
        first.problems.append(f"nothing was handed over: {error!r}")
        resumed = handover.Handover()
    with open("/proc/cmdline", encoding="utf-8", errors="replace") as stream:
        first.command_line = stream.read()
    first.parameters = parse_parameters(first.command_line)
    first.stages = list(resumed.stages)
    early.set_up_output(first)
    return first, resumed


def _last_resort(error: BaseException) -> None:
    """Nothing works: say so, execute this program anew a few times, then only reap."""
    _say(f"orlop: PID 1 failed: {type(error).__name__}: {error}")
    try:
        time.sleep(1)
        count = int(os.environ.get("ORLOP_FAILURES", "0"))
        if count < MAX_REEXECUTIONS:
            words = [word for word in sys.orig_argv if not word.startswith("--resume=")]
            environment = {**os.environ, "ORLOP_FAILURES": str(count + 1)}
            os.execve(sys.executable, words, environment)
    except BaseException:  # noqa: BLE001 - reap at least
        pass
    while True:
        try:
            os.waitpid(-1, 0)
        except BaseException:  # noqa: BLE001 - no children: look again later
            time.sleep(1)


def _say(text: str) -> None:
    """To the kernel log, and to the console that /init left open, whichever there is so early."""
    data = text.encode("utf-8", "replace")[:900] + b"\n"
    try:
        with open("/dev/kmsg", "wb", buffering=0) as stream:
            stream.write(b"<3>" + data)
    except BaseException:  # noqa: BLE001 - /dev may not be mounted yet
        try:
            os.write(2, data)
        except OSError:
            pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
