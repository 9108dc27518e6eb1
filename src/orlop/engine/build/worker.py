"""The worker of builds: `worker build COMMAND JOB`. Descriptor 3 is a directory of its own.

    context   `context_work`: 0 is the context
    copy      `copy_work`: the job is a line of JSON on 0
    fetch     `fetch`: the job is JSON on 0; downloads to 4

All of it is input from strangers: a worker imports what it needs, gives up everything, and only
then looks at a byte.
"""

from __future__ import annotations

import json
import os
import sys

from orlop.engine.store.compression import CorruptStream
from orlop.engine.worker_process import report_error
from orlop.lib.errors import Internal, InvalidArgument, OrlopError, ResourceExhausted
from orlop.wire.tar import TarError


def main(argv: list[str]) -> int:
    """Run one command; its answer, or why there is none, is on descriptor 1."""
    try:
        _run(argv)
    except (TarError, CorruptStream) as error:
        report_error(InvalidArgument(f"Error processing tar file: {error}"))
    except MemoryError:
        report_error(ResourceExhausted("the input takes more memory than a worker may have"))
    except OrlopError as error:
        report_error(error)
    except OSError as error:
        report_error(ResourceExhausted(error.strerror or str(error)))
    except Exception as error:  # noqa: BLE001 - nobody reads a traceback of a worker
        report_error(Internal(f"a build worker failed: {error!r}"))
    sys.stdout.flush()
    os._exit(0)


def _run(argv: list[str]) -> None:
    # Each command loads its own part only: starting is most of what a small step takes.
    match argv[0]:
        case "context":
            from orlop.engine.build import context_work

            context_work.main(json.loads(argv[1]))
        case "copy":
            from orlop.engine.build import copy_work

            copy_work.main()
        case "fetch":
            from orlop.engine.build import fetch

            fetch.main()
        case command:
            raise InvalidArgument(f"no command {command}")
