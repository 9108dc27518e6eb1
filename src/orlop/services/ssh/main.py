"""The program of the `ssh` service: collects the keys, makes the host key once, becomes dropbear.

Keys come from the machine's configuration and from a file on the state partition, one per line as
in OpenSSH. There are no passwords: the server is built without code for them.
"""

import os
from collections.abc import Mapping

from orlop.services.settings import list_setting, read_settings

DROPBEAR = "/usr/sbin/dropbear"
DROPBEARKEY = "/usr/bin/dropbearkey"
STATE_DIRECTORY = "/var/lib/orlop/ssh"
RUN_DIRECTORY = "/run/ssh"
HOST_KEY = f"{STATE_DIRECTORY}/host_key_ed25519"
MAX_KEY_FILE_BYTES = 1 << 20


def authorized_keys(settings: Mapping[str, object], file_content: str) -> str:
    """The lines of both sources, without duplicates, comments and what cannot be one line."""
    lines = [*list_setting(settings, "ssh_authorized_keys"), *file_content.splitlines()]
    kept = [line.strip() for line in lines if line.isprintable()]
    return "".join(f"{line}\n" for line in dict.fromkeys(kept) if line and line[0] != "#")


def read_key_file(path: str) -> str:
    """The file's content; nothing if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(MAX_KEY_FILE_BYTES)
    except FileNotFoundError:
        return ""


def dropbear_arguments() -> list[str]:
    """In the foreground on port 22, IPv4 and IPv6, keys from our directory, three attempts.

    Peers that are gone are noticed after some minutes, by messages every minute.
    """
    return [
        *(DROPBEAR, "-F", "-p", "22", "-r", HOST_KEY, "-D", RUN_DIRECTORY),
        *("-P", f"{RUN_DIRECTORY}/dropbear.pid", "-T", "3", "-K", "60"),
    ]


def ensure_host_key(path: str = HOST_KEY) -> None:
    """Make the host key unless there is one: whole and on disk, or not at all.

    Raises:
        OSError: it cannot be made.
    """
    if os.path.exists(path):
        return
    temporary = f"{path}.new"
    if os.path.exists(temporary):
        os.unlink(temporary)
    arguments = [DROPBEARKEY, "-t", "ed25519", "-f", temporary]
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    child = os.posix_spawn(
        DROPBEARKEY, arguments, {}, file_actions=[(os.POSIX_SPAWN_DUP2, null, 1)]
    )
    os.close(null)
    _, status = os.waitpid(child, 0)
    if status != 0:
        raise OSError(f"{DROPBEARKEY} ended with {os.waitstatus_to_exitcode(status)}")
    _sync(temporary, os.O_RDONLY)
    os.rename(temporary, path)
    _sync(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: str, flags: int) -> None:
    descriptor = os.open(path, flags | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main(argv: list[str]) -> int:
    """Never returns: the process becomes dropbear.

    It is restarted when the configuration changes.
    """
    os.umask(0o077)
    keys = authorized_keys(read_settings(), read_key_file(f"{STATE_DIRECTORY}/authorized_keys"))
    with open(f"{RUN_DIRECTORY}/authorized_keys", "w", encoding="utf-8") as stream:
        stream.write(keys)
    ensure_host_key()
    arguments = dropbear_arguments()
    os.umask(0o022)
    os.execve(arguments[0], arguments, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
