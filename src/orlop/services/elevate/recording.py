"""Files of recorded sessions: made for whoever begins one, and written by a process of root's.

The user's end is a pipe: what is in the file already cannot be taken out by whom it is about. Each
user has room of the own, and who needs more of it loses the own oldest.
"""

import json
import os
import resource
import signal
import time
from pathlib import Path

DIRECTORY = Path("/var/log/sessions")
MAX_FILE_BYTES = 8 << 20
MAX_USER_BYTES = 64 << 20
MAX_USER_FILES = 500
SUFFIX = ".cast"


def make_room(directory: Path, user: str) -> None:
    """Remove the oldest recordings of *user* that there is no room for beside a new one.

    Raises:
        OSError: they cannot be removed.
    """
    # A name has no dot, and the time comes first: their order is that of their age.
    found = sorted(path for path in directory.glob(f"*{SUFFIX}") if path.name.split(".")[1] == user)
    sizes = {path: path.stat().st_size for path in found}
    while found and (
        len(found) >= MAX_USER_FILES or sum(sizes.values()) > MAX_USER_BYTES - MAX_FILE_BYTES
    ):
        oldest = found.pop(0)
        del sizes[oldest]
        oldest.unlink()


def begin(user: str, title: str, size: tuple[int, int], term: str) -> tuple[Path, int]:
    """A new file, with its first line (asciicast 2), and the end of a pipe that leads into it.

    Raises:
        OSError: there can be none.
    """
    DIRECTORY.mkdir(mode=0o700, parents=True, exist_ok=True)
    DIRECTORY.chmod(0o700)
    make_room(DIRECTORY, user)
    now_s = time.time()
    stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_s))
    path = DIRECTORY / f"{stamp}-{int(now_s * 1000) % 1000:03}-{os.getpid()}.{user}{SUFFIX}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
    file = os.open(path, flags, 0o600)
    header = {
        "version": 2,
        "width": size[0] or 80,
        "height": size[1] or 24,
        "timestamp": int(now_s),
        "title": title,
        "env": {"TERM": term},
    }
    os.write(file, json.dumps(header).encode() + b"\n")
    reading, writing = os.pipe2(os.O_CLOEXEC)
    # A limit of the kernel's: the copying ends with the process that meets it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE_BYTES, MAX_FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.posix_spawnp(
        "cat",
        ["cat"],
        {},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, reading, 0),
            (os.POSIX_SPAWN_DUP2, file, 1),
        ],
        setsid=True,
        setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],  # which Python ignores
    )
    os.close(file)
    os.close(reading)
    return path, writing
