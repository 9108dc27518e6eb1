"""`./orlop COMMAND`: the commands that run on the developer's machine, inside the tool root.

The launcher has made and entered the tool root; this dispatches, and reports errors in one place.
"""

import errno
import signal
import sys
from types import FrameType
from typing import NoReturn

from orlop.lib.errors import OrlopError

COMMANDS = {
    "build": "orlop.cli.host.build",
    "run": "orlop.cli.host.run",
    "test": "orlop.cli.host.test",
    "bench": "orlop.cli.host.bench",
    "image": "orlop.cli.host.image",
    "size": "orlop.cli.host.size",
    "release": "orlop.cli.host.release",
    "channel": "orlop.cli.host.channel",
    "keys": "orlop.cli.host.keys",
    "lock": "orlop.cli.host.lock",
    "catalogue": "orlop.cli.host.catalogue",
    "config": "orlop.cli.host.config",
    "migrate": "orlop.cli.host.migrate",
    "man": "orlop.cli.host.man",
    "clean": "orlop.cli.host.clean",
}

OF_FILES = ("image", "release", "channel", "keys")
"""Commands for which a file that cannot be read or written is no fault of the program."""

OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG)
"""What writing ends with, which names no file."""

FAILED_STATUS = 1
USAGE_STATUS = 2
INTERRUPTED_STATUS = 130


def main(argv: list[str]) -> int:
    """Run one command; each module has `main(argv) -> int`."""
    match argv:
        case [command, *arguments] if command in COMMANDS:
            module = __import__(COMMANDS[command], fromlist=["main"])
        case _:
            print(f"orlop: the commands are {', '.join(COMMANDS)}", file=sys.stderr)
            return USAGE_STATUS
    if command != "run":  # a machine outlives its terminal if it is told to
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)
    try:
        status: int = module.main(arguments)
    except OrlopError as error:
        report(error)
        return FAILED_STATUS
    except BrokenPipeError:
        sys.stderr.close()  # the reader of our output is gone, and with it the reason to go on
        return FAILED_STATUS
    except OSError as error:
        if command not in OF_FILES or (error.filename is None and error.errno not in OF_DISKS):
            raise
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"orlop: {where}{(error.strerror or '').lower()}", file=sys.stderr)
        return FAILED_STATUS
    except KeyboardInterrupt:
        print("orlop: stopped", file=sys.stderr)
        return INTERRUPTED_STATUS
    return status


def report(error: OrlopError) -> None:
    """Say what failed, and what to try, on stderr."""
    print(f"orlop: {error}", file=sys.stderr)
    if error.hint:
        print(f"  (try: {error.hint})", file=sys.stderr)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    """SIGTERM and SIGHUP end a command as Ctrl-C does: everything that runs is stopped first."""
    raise KeyboardInterrupt
