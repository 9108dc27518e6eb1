"""Has ready what sshd needs: its configuration, the machine's key, the directories it wants.

Started by os/ssh/keeper.c before sshd, and again whenever the machine's configuration has changed.
Ends with status 0 when sshd may read it all.
"""

import os
import sys
from pathlib import Path

from orlop.lib import atomic_file
from orlop.services.settings import read_settings
from orlop.services.ssh import host_key
from orlop.services.ssh.config import HOST_KEY, RUN, STATE, files

DROPBEAR_KEY = f"{STATE}/host_key_ed25519"
"""What machines had before: the same key goes on, or nobody would know them any more."""

CACHE = f"{STATE}/cache"
PRIVILEGE_SEPARATION = "/run/sshd"
KEYS_UID = 105
"""The user that asks for keys; may write to the cache and to nothing else."""


def write(texts: dict[str, str], run: str) -> None:
    """Write *texts*, and take away what is not among them. What users' processes read is theirs to
    read: which principals they have."""
    wanted = {Path(path) for path in texts}
    for path in sorted(wanted):
        path.parent.mkdir(mode=0o755, exist_ok=True)
        mode = 0o644 if path.parent.name == "principals" else 0o600
        atomic_file.write_text(path, texts[str(path)], mode=mode, durable=False)
    for path in (*Path(run).glob("*"), *Path(run).glob("principals/*")):
        if path.is_file() and path not in wanted:
            path.unlink()


def main(argv: list[str]) -> int:
    """Write everything and end."""
    os.umask(0o022)
    settings = read_settings()
    write(files(settings), RUN)
    host_key.ensure(Path(HOST_KEY), Path(DROPBEAR_KEY))
    if settings.get("authorized_keys_url"):
        try:
            make_cache()
        except OSError as error:  # the URL can be asked without it, and other keys count anyway
            print(f"ssh: {CACHE}: {error.strerror}: no answers are kept", file=sys.stderr)
    return 0


def make_cache() -> None:
    """The directory of the user that asks for keys.

    Raises:
        OSError: it cannot be made: the disk is full, or can only be read.
    """
    os.makedirs(CACHE, mode=0o700, exist_ok=True)
    os.chown(CACHE, KEYS_UID, KEYS_UID)
    os.chmod(STATE, 0o711)
