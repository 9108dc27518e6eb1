"""Runs one command as root for somebody who may: the other end of `sudo`.

Started by the program that keeps a console or the SSH server for each connection to its socket
(os/people/elevate.c), as root and in their container, so a command finds the same files. Who asks
is what the kernel says of the peer; what they may is in the rules; nothing that the client sends
is believed. Each request, its refusal or its end are a line in the log.

Exit status: 0.
"""

import contextlib
import fcntl
import os
import pwd
import select
import signal
import socket
import struct
import termios
import time

from orlop.lib.errors import Forbidden, InvalidArgument, OrlopError
from orlop.lib.passwords import verify
from orlop.services.elevate import peer, policy, recording
from orlop.services.elevate.log import record
from orlop.services.settings import read_settings
from orlop.wire import elevation
from orlop.wire.elevation import Request
from orlop.wire.sudo_rule import Rule, find_rule

CONNECTION = 3
REQUEST_TIMEOUT_S, PASSWORD_TIMEOUT_S = 10.0, 120.0
ATTEMPTS, FAILURE_DELAY_S = 3, 2.0
LOCKS = "/run/elevate"
END_S = 5.0
"""Between asking a command whose client is gone to end, and ending it."""


class Client:
    """The connection, and who is at its other end: *user* is their name."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.pid, self.uid, self.gid = struct.unpack("iII", credentials)
        try:
            self.user = pwd.getpwuid(self.uid).pw_name
        except KeyError:
            self.user = ""
        self.who = f"{self.user or self.uid} from {peer.origin(self.pid)}"

    def receive(self) -> tuple[Request, list[int]]:
        """The request, and the three streams that come with it."""
        self.connection.settimeout(REQUEST_TIMEOUT_S)
        data, streams, _, _ = socket.recv_fds(
            self.connection, elevation.MAX_REQUEST_BYTES, 3, socket.MSG_CMSG_CLOEXEC
        )
        while not data.endswith(b"\n"):
            more = self.connection.recv(65536)
            if not more or len(data) > elevation.MAX_REQUEST_BYTES:
                raise InvalidArgument("a request without an end")
            data += more
        if len(streams) != 3:
            raise InvalidArgument("a request without streams")
        return elevation.parse_request(data), streams

    def send(self, **message: object) -> None:
        """Say *message*; one who does not listen any more is not waited for."""
        with contextlib.suppress(OSError):
            self.connection.sendall(elevation.encode(message))

    def ask(self, prompt: str) -> str:
        """What is typed at *prompt*.

        Raises:
            Forbidden: nothing is.
        """
        self.send(ask=prompt)
        self.connection.settimeout(PASSWORD_TIMEOUT_S)
        answer = elevation.decode(self.connection.recv(elevation.MAX_LINE_BYTES)).get("answer")
        if not isinstance(answer, str):
            raise Forbidden("a password is needed, and there is no terminal to type it at")
        return answer


def main(argv: list[str]) -> int:
    """Serve the connection that is there."""
    os.umask(0o022)
    client = Client(socket.socket(fileno=CONNECTION))
    os.set_inheritable(CONNECTION, False)
    try:
        request, streams = client.receive()
    except (OSError, OrlopError) as error:
        record(f"{client.who}: {error}", refused=True)
        return 0
    try:
        status = serve(client, request, streams)
    except OrlopError as error:
        record(f"{client.who}: refused: {error}: {elevation.show(request.command)}", refused=True)
        client.send(text=f"sudo: {error}")
        status = elevation.REFUSED_STATUS
    except OSError as error:
        client.send(text=f"sudo: {error.strerror or error}")
        status = elevation.REFUSED_STATUS
    client.send(exit=status)
    return 0


def serve(client: Client, request: Request, streams: list[int]) -> int:
    """Do what *client* wants, if they may; the exit status.

    Raises:
        Forbidden: they may not.
    """
    if request.records:
        begin_recording(client, request)
        return 0
    rules = [Rule(password=False)] if client.uid == 0 else policy.rules_of(client.user)
    if request.lists:
        text = policy.describe(rules) or "  nothing"
        client.send(text=f"{client.user} may run as root on this machine:\n{text}")
        return 0
    words = request.command or ("/bin/sh",)
    command = policy.resolve(words, request.cwd)
    rule = find_rule(rules, command)
    if rule is None:
        raise Forbidden(f"{client.user or client.uid} may not run this as root")
    if rule.password:
        authenticate(client, request)
    return run(client, request, command, streams)


def begin_recording(client: Client, request: Request) -> None:
    """Give *client* a pipe into a new file.

    Raises:
        Forbidden: sessions are not recorded. OSError: there can be no file.
    """
    if read_settings().get("record") is not True:
        raise Forbidden("sessions are not recorded")
    name = client.user or str(client.uid)
    try:
        path, pipe = recording.begin(name, client.who, request.size, request.term)
    except OSError as error:
        record(f"session of {client.who} is not recorded: {error.strerror}", name="session")
        raise
    record(f"session of {client.who} is recorded in {path}", name="session")
    with contextlib.suppress(OSError):
        socket.send_fds(client.connection, [elevation.encode({"recorded": str(path)})], [pipe])
    os.close(pipe)


def authenticate(client: Client, request: Request) -> None:
    """Have the password of the user typed; one attempt at a time for each user.

    Raises:
        Forbidden: it is wrong, or there is none.
    """
    hashed = policy.hash_of(client.user)
    if not hashed.startswith("$"):
        raise Forbidden(f"{client.user} has no password, and the rule asks for one")
    if not request.may_ask:
        raise Forbidden("a password is needed")
    with open(f"{LOCKS}/{client.uid}.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for _ in range(ATTEMPTS):
            if verify(client.ask(f"[sudo] password for {client.user}: "), hashed):
                return
            time.sleep(FAILURE_DELAY_S)
            record(f"{client.who}: wrong password", refused=True)
            client.send(text="Sorry, try again.")
    raise Forbidden(f"{ATTEMPTS} wrong passwords")


def run(client: Client, request: Request, command: tuple[str, ...], streams: list[int]) -> int:
    """Run *command* and wait for its end; its exit status."""
    text = elevation.show(command)
    record(f"{client.who} in {request.cwd}: runs as root: {text}")
    started_s = time.monotonic()
    try:
        status = _run(client, request, command, streams, text)
    except FileNotFoundError:
        client.send(text=f"sudo: {command[0]}: not found")
        status = elevation.NOT_FOUND_STATUS
    except PermissionError:
        client.send(text=f"sudo: {command[0]}: cannot be run")
        status = elevation.CANNOT_RUN_STATUS
    seconds = time.monotonic() - started_s
    record(f"{client.who}: ended with status {status} after {seconds:.1f} s: {text}")
    return status


def _run(
    client: Client, request: Request, command: tuple[str, ...], streams: list[int], text: str
) -> int:
    if "/" not in command[0]:  # the kernel would take one of the directory, whosever that is
        raise FileNotFoundError(command[0])
    arguments = [f"-{os.path.basename(command[0])}"] if request.login else [command[0]]
    arguments += command[1:]
    environment = policy.environment(client.user, client.uid, client.gid, request.term, text)
    with contextlib.suppress(OSError):
        os.chdir("/")
        os.chdir("/root" if request.login else request.cwd)
    actions: list[tuple[object, ...]] = []
    master = slave = -1
    name = ""
    if any(request.terminals):
        # Its own, and not the user's: whoever has root's terminal can type as root.
        master, slave = os.openpty()
        columns, rows = request.size
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        name = os.ttyname(slave)
    for standard, is_terminal in enumerate(request.terminals):
        if is_terminal:
            actions.append((os.POSIX_SPAWN_OPEN, standard, name, os.O_RDWR, 0))
        else:
            actions.append((os.POSIX_SPAWN_DUP2, streams[standard], standard))
    child = os.posix_spawn(
        command[0], arguments, environment, file_actions=actions, setsid=True,
        setsigmask=[], setsigdef=[signal.SIGPIPE, signal.SIGXFSZ],
    )  # fmt: skip
    for stream in streams:
        os.close(stream)
    if master >= 0:
        with contextlib.suppress(OSError):
            socket.send_fds(client.connection, [elevation.encode({"terminal": True})], [master])
        os.close(master)
        os.close(slave)
    return wait(child, client.connection)


def wait(child: int, connection: socket.socket) -> int:
    """The exit status of *child*, which is not to outlive the client."""
    process = os.pidfd_open(child)
    poll = select.poll()
    poll.register(process, select.POLLIN)
    poll.register(connection, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poll.poll()]
        if process in ready:
            break
        connection.settimeout(0)
        try:
            data = connection.recv(elevation.MAX_LINE_BYTES)
        except OSError:
            data = b""
        if not data:  # else it says something that nobody asked for
            poll.unregister(connection)
            for number in (signal.SIGHUP, signal.SIGTERM, signal.SIGCONT):
                os.killpg(child, number)
            if not poll.poll(END_S * 1000):
                os.killpg(child, signal.SIGKILL)
            break
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
