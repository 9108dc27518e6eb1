"""A login at a console with name and password, from os/console/console.c when somebody has one.

Its standard streams are the terminal. After a right password it becomes the user's shell.

Exit status: 0 after too many wrong answers, or none in time; the console waits for the next key.
"""

import getpass
import os
import pwd
import re
import signal
import sys
import time

from orlop.lib.passwords import verify
from orlop.services.elevate.log import record
from orlop.services.elevate.policy import PATH, hash_of

ATTEMPTS = 3
TIMEOUT_S = 60
FAILURE_DELAY_S = 3.0
NOBODYS_HASH = "$6$saltsaltsaltsalt$" + "." * 86
"""What the password of a name that does not exist is compared with: it takes the same time."""

NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")
KEPT = ("TERM", "TTY")
PATHS = ("/usr/local/bin:/usr/bin:/bin", PATH)


def check(name: str, password: str) -> pwd.struct_passwd | None:
    """The user *name* if that is the password."""
    hashed = hash_of(name)
    has_hash = hashed.startswith("$")
    is_right = verify(password, hashed if has_hash else NOBODYS_HASH)
    try:
        return pwd.getpwnam(name) if is_right and has_hash else None
    except KeyError:
        return None


def ask(name: str) -> pwd.struct_passwd | None:
    """Who is there, *name* if it has been typed already; None if nobody who knows a password."""
    terminal = os.environ.get("TTY", "console").removeprefix("/dev/")
    for _ in range(ATTEMPTS):
        signal.alarm(TIMEOUT_S)
        name = name or input("login: ").strip()[:64]
        if not name:
            continue
        user = check(name, getpass.getpass(f"Password for {ascii(name)[1:-1]}: "))
        record(
            f"{'login of' if user else 'failed login as'} {ascii(name)[1:-1]} at {terminal}",
            refused=user is None,
            name="login",
        )
        if user is not None:
            return user
        time.sleep(FAILURE_DELAY_S)
        print("Login incorrect\n", flush=True)
        name = ""
    return None


def become(user: pwd.struct_passwd) -> None:
    """Be the login shell of *user*; returns only if there is none.

    Raises:
        OSError: the kernel refuses.
    """
    # The terminal stays root's: who has left must not be able to open it again.
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    os.umask(0o022)
    try:
        os.chdir(user.pw_dir)
    except OSError:
        os.chdir("/")
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    environment |= {
        "PATH": PATHS[user.pw_uid == 0],
        "HOME": user.pw_dir,
        "SHELL": user.pw_shell,
        "USER": user.pw_name,
        "LOGNAME": user.pw_name,
    }
    os.execve(user.pw_shell, [f"-{os.path.basename(user.pw_shell)}"], environment)


def main(argv: list[str]) -> int:
    """Ask, and become what was asked for."""
    try:
        user = ask(argv[0] if argv and NAME.fullmatch(argv[0]) else "")
    except (EOFError, KeyboardInterrupt):
        return 0
    signal.alarm(0)
    if user is None:
        return 0
    sys.stdout.flush()
    try:
        become(user)
    except OSError as error:
        print(f"login: {error}", flush=True)
        time.sleep(FAILURE_DELAY_S)
    return 1
