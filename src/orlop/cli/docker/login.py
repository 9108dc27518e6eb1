"""`docker login` and `logout`."""

from __future__ import annotations

import os
import sys
from binascii import b2a_base64

from orlop.cli.docker.command import Command
from orlop.cli.docker.config_file import FILE_NAME, write_config
from orlop.cli.docker.credentials import DEFAULT_SERVER
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, STRING, Flag
from orlop.cli.docker.session import as_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FLAGS = (
    Flag("password", "p", STRING, "password; others can see it here"),
    Flag("password-stdin", "", BOOL, "read the password from stdin"),
    Flag("username", "u", STRING, "user name"),
)


def server_of(word: str) -> str:
    """The registry as config.json names it."""
    host = word.removeprefix("https://").removeprefix("http://").partition("/")[0]
    return DEFAULT_SERVER if host in ("", "docker.io", "index.docker.io") else host


def _login(session: Session, values: Values) -> int:
    user, password = _user(values)
    server = server_of(values.words[0] if values.words else "")
    if not user or not password:
        user, password = _ask(user, password)
    body: Object = {"username": user, "password": password, "serveraddress": server}
    answer = as_object(session.post("/auth", body))
    token = answer.get("IdentityToken")
    code = b2a_base64(f"{user}:{'' if token else password}".encode(), newline=False).decode()
    entry: Object = {"auth": code}
    if token:
        entry["identitytoken"] = token
    config = dict(session.config)
    auths = dict(as_object(config.get("auths") or {}))
    is_new = server not in auths
    auths[server] = entry
    write_config(session.config_directory, {**config, "auths": auths})
    if is_new:
        path = os.path.join(session.config_directory, FILE_NAME)
        print(f"The password is stored unencrypted in {path}.", file=sys.stderr)
    if answer.get("Status"):
        print(answer["Status"])
    return 0


def _user(values: Values) -> tuple[str, str]:
    user, password = values.text("username"), values.text("password")
    if values.given("password"):
        print(
            "WARNING! Using --password via the CLI is insecure. Use --password-stdin.",
            file=sys.stderr,
        )
        if values.flag("password-stdin"):
            raise Failure("--password and --password-stdin are mutually exclusive")
    if values.flag("password-stdin"):
        if not user:
            raise Failure("Must provide --username with --password-stdin")
        password = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    return user, password


def _ask(user: str, password: str) -> tuple[str, str]:
    if not os.isatty(0):
        raise Failure("Error: Cannot perform an interactive login from a non TTY device")
    if not user:
        sys.stdout.write("Username: ")
        sys.stdout.flush()
        user = sys.stdin.readline().strip()
    if not user:
        raise Failure("Error: Non-null Username Required")
    if not password:
        from getpass import getpass

        password = getpass("Password: ")
    if not password:
        raise Failure("Error: Password Required")
    return user, password


def _logout(session: Session, values: Values) -> int:
    word = values.words[0] if values.words else ""
    server = server_of(word)
    config = dict(session.config)
    auths = dict(as_object(config.get("auths") or {}))
    print(f"Removing login credentials for {word or server}")
    if auths.pop(server, None) is not None:
        write_config(session.config_directory, {**config, "auths": auths})
    return 0


COMMANDS = {
    "login": Command(_login, "[OPTIONS] [SERVER]", FLAGS, words=(0, 1)),
    "logout": Command(_logout, "[SERVER]", words=(0, 1)),
}
