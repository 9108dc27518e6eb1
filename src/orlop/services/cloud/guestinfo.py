"""Requests for `guestinfo:KEY`: a small program of ours asks VMware's host over its backdoor."""

import subprocess

from orlop.wire.cloud.answer import MAX_USER_DATA_BYTES
from orlop.wire.cloud.conversation import Request, Response
from orlop.wire.cloud.vmware import SCHEME

PROGRAM = "/usr/lib/orlop/vmware-guestinfo"
TIMEOUT_S = 5.0
NO_SUCH_KEY, NO_HOST = 1, 2
"""What its exit status means."""


def ask(request: Request) -> Response:
    """The value of a key. Never raises."""
    key = request.url.removeprefix(SCHEME)
    try:
        done = subprocess.run(
            [PROGRAM, key], capture_output=True, timeout=TIMEOUT_S, check=False, env={}
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Response(0, error=str(error))
    if done.returncode == NO_SUCH_KEY:
        return Response(404)
    if done.returncode != 0 or len(done.stdout) > MAX_USER_DATA_BYTES:
        reason = done.stderr.decode("utf-8", "replace").strip()
        return Response(0, error=reason or f"status {done.returncode}")
    return Response(200, done.stdout)
