"""`orlop engine`: a container engine by itself, on any Linux, for its user's containers.

    orlop engine [--data DIR] [--run DIR] [--socket PATH] ...
    orlop engine check [--data DIR] [--repair]

Serves the Docker API until SIGTERM or SIGINT. Containers go on when the engine ends, however it
ends, and the next one with the same directories takes them over. SIGPWR, before the machine goes
down, ends all containers as their restart policies do not mind. SIGUSR1 writes into the log what
every task waits for.
"""

from __future__ import annotations

import asyncio
import fcntl
import grp
import logging
import os
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING

from orlop.engine.options import Options, parse
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.engine.tls.endpoint import TlsEndpoint
    from orlop.engine.tls.listener import TlsListener

log = logging.getLogger(__name__)

FAILED_STATUS = 1
SOCKET_CHECK_S = 10.0
"""How often it is made sure that the socket is still in the file system."""


def main(argv: list[str]) -> int:
    """Run what *argv* asks for; the exit status."""
    options = parse(argv)
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        with_lock = lock_data(options)
        try:
            if options.check:
                from orlop.engine import check

                return check.main(options)
            raise_descriptor_limit()
            asyncio.run(serve(options), debug="ORLOP_ENGINE_DEBUG" in os.environ)
        finally:
            os.close(with_lock)
    except OrlopError as error:
        print(f"orlop engine: {error}", file=sys.stderr)
        if error.hint:
            print(f"  (try: {error.hint})", file=sys.stderr)
        return FAILED_STATUS
    return 0


def raise_descriptor_limit() -> None:
    """To what this process may have: a container takes two to six, and most shells give 1024.

    Containers have limits of their own, whatever the engine's.
    """
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def lock_data(options: Options) -> int:
    """Make sure that nobody else uses the data; a descriptor, which holds the lock.

    Raises:
        OrlopError: somebody does, or the directory cannot be made.
    """
    path = options.data / "lock"
    try:
        options.data.mkdir(parents=True, exist_ok=True, mode=0o711)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise OrlopError(f"cannot use {options.data}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise OrlopError(f"another engine uses {options.data}") from error
    return descriptor


async def serve(options: Options) -> None:
    """Run an engine until a signal ends it.

    Raises:
        OrlopError: it cannot be started.
    """
    from orlop.engine.engine import Engine
    from orlop.engine.tasks import dump_tasks
    from orlop.lib.linux import give_back_free_memory
    from orlop.lib.priority import go_first

    go_first()
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    loop.add_signal_handler(signal.SIGUSR1, dump_tasks)
    engine = Engine(options.settings())
    power_fails = asyncio.Event()
    # Before the start: the signal's default would end this process and leave the containers alone.
    loop.add_signal_handler(signal.SIGPWR, begin_end, engine, power_fails)
    # Who comes while containers are found again and images are brought waits, and is not refused.
    listening = open_early(options)
    await engine.start()
    engine.tasks.start(end_all(engine, power_fails), "end of all containers")
    listener = endpoint = None
    try:
        await bring_images(engine, options, ending)
        await open_socket(engine, options, listening.detach())
        log.info("serving on %s", options.socket)
        listener = await open_tcp(engine, options)
        endpoint = open_endpoint(engine, options)
        give_back_free_memory()
        while not ending.is_set():
            try:
                async with asyncio.timeout(SOCKET_CHECK_S):
                    await ending.wait()
            except TimeoutError:
                await keep_socket(engine, options)
    finally:
        for tls in (listener, endpoint):
            if tls is not None:
                tls.close()
        await engine.close()


async def bring_images(engine: Engine, options: Options, ending: asyncio.Event) -> None:
    """Let there be the images of archives that somebody has put where the options say."""
    if options.preload is not None and engine.layered is not None:
        from orlop.engine.preload import Preload

        label, refused = options.preload_label, options.preload_refused
        await Preload(engine, options.preload, label, refused=refused).begin(ending)


def open_early(options: Options) -> socket.socket:
    """Listen on the Unix socket; nobody answers yet.

    Raises:
        OrlopError: it cannot be made, or the group does not exist.
    """
    from orlop.engine.api.server import listen

    try:
        listening = listen(options.socket, 0o660 if options.group else 0o600)
        if options.group:
            os.chown(options.socket, 0, group_id(options.group))
    except OSError as error:
        raise OrlopError(f"cannot listen on {options.socket}: {error.strerror}") from error
    return listening


async def open_socket(engine: Engine, options: Options, listening_fd: int) -> None:
    """Answer on the Unix socket that *listening_fd* is."""
    await engine.serve(options.socket, listening_fd=listening_fd)


async def open_tcp(engine: Engine, options: Options) -> TlsListener | None:
    """Listen on TCP if that is wanted.

    Raises:
        OrlopError: it cannot be done.
    """
    if options.tls is None:
        return None
    from orlop.engine.tls.listener import TlsListener

    listener = TlsListener(engine, options.tcp, options.tls)
    log.info("serving TLS on port %d", await listener.start())
    return listener


def open_endpoint(engine: Engine, options: Options) -> TlsEndpoint | None:
    """Begin to listen on TCP with the machine's own certificates, if the settings want it.

    A machine whose endpoint does not work still has its engine.
    """
    if not options.endpoint or options.settings_path is None:
        return None
    from orlop.engine.tls.endpoint import TlsEndpoint

    directory = options.data.parent / "tls"
    endpoint = TlsEndpoint(engine, options.endpoint, options.settings_path, directory)
    engine.tasks.start(endpoint.start(), "endpoint over TLS")
    return endpoint


async def keep_socket(engine: Engine, options: Options) -> None:
    """Make the socket again if somebody has removed it."""
    if options.socket.exists():
        return
    log.warning("the socket %s has vanished, making it again", options.socket)
    try:
        await open_socket(engine, options, open_early(options).detach())
    except OrlopError as error:
        log.warning("%s, trying again", error)


def group_id(name: str) -> int:
    """The number of group *name*, which may be one already.

    Raises:
        OrlopError: there is no such group.
    """
    if name.isdecimal():
        return int(name)
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OrlopError(f"there is no group {name}") from None


def begin_end(engine: Engine, power_fails: asyncio.Event) -> None:
    """From now on no container is started."""
    engine.host.ending = True
    power_fails.set()


async def end_all(engine: Engine, power_fails: asyncio.Event) -> None:
    """The machine goes down. The engine stays, to write down how its containers ended."""
    from orlop.engine.ending import end_containers

    await power_fails.wait()
    await end_containers(engine)
