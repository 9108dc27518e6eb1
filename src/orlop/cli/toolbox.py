"""`orlop toolbox`: a shell in a container that is thrown away when the shell ends.

It is `docker run --rm` with the right flags. By default the container belongs to the user's engine
and sees nothing of the machine; with `--container` it shares another container's namespaces; with
`--host` it belongs to the system's engine and sees the machine itself.
"""

from __future__ import annotations

import os

from orlop.cli import images
from orlop.cli.answers import member, text_of
from orlop.cli.arguments import Option, UsageError
from orlop.lib.errors import Conflict, NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.answers import Object
    from orlop.cli.arguments import Arguments

USAGE = "toolbox [OPTION...] [IMAGE] [-- PROGRAM [ARGUMENT...]]"
OPTIONS = (
    Option("host", help="see the machine: processes, network, devices, files"),
    Option("container", value="NAME", help="share its processes and network"),
    Option("privileged", help="with every capability that the engine can give"),
)
WORDS = (0, 1)

SYSTEM_IMAGE = "console"
PREFERRED_IMAGE = "catalogue.internal/toolbox:latest"
"""With strace, tcpdump and the like; used if somebody has brought it here."""

CAPABILITIES = ("NET_ADMIN", "NET_RAW", "SYS_PTRACE", "SYSLOG")
"""Beyond Docker's usual ones: to trace, capture packets, and read the kernel's messages."""

HOST = (
    *("--network=host", "--pid=host", "--ipc=host", "--uts=host", "--cgroupns=host"),
    *("--cap-add=DAC_READ_SEARCH", "--cap-add=PERFMON"),
    *("--volume=/:/host:ro,rslave", "--volume=/dev:/dev", "--volume=/run/orlop:/run/orlop:ro"),
)
SHELL = "command -v bash >/dev/null 2>&1 && exec bash -l; exec sh -l"


def run(arguments: Arguments) -> int:
    image, name = (arguments.words or [""])[0], arguments.value("container")
    host = arguments.flag("host")
    if host and name:
        raise UsageError("--host and --container exclude each other")
    socket = images.USER_SOCKET
    flags: tuple[str, ...] = ()
    if host:
        socket, flags = images.SYSTEM_SOCKET, HOST
    elif name:
        socket, target = find_container(name)
        flags = joining(target)
    if arguments.flag("privileged"):
        flags = (*flags, "--privileged")
    found = choose_image(socket, image)
    from orlop.cli.docker.main import main as docker

    argv = docker_argv(found, flags, arguments.program, terminal=os.isatty(0) and os.isatty(1))
    return docker(["--host", f"unix://{socket}", *argv])


def find_container(name: str) -> tuple[str, Object]:
    """The engine's socket and the inspection of the running container *name*: the user's first.

    Raises:
        NotFound: neither engine knows it. Conflict: it does not run.
    """
    for socket in (images.USER_SOCKET, images.SYSTEM_SOCKET):
        try:
            found = images.get_object_at(socket, f"/containers/{images.quote(name)}/json")
        except NotFound:
            continue
        except OrlopError:
            if socket == images.SYSTEM_SOCKET:
                raise
            continue  # the user's engine may be what has to be looked into
        if not member(found, "State", "Running"):
            raise Conflict(f"container {name} does not run", hint=f"docker start {name}")
        return socket, found
    raise NotFound(f"no container {name}", hint="docker ps, or orlop ps for the system's")


def joining(target: Object) -> tuple[str, ...]:
    """The flags of `docker run` that share the namespaces of *target*, as `docker inspect` has it.

    What the target itself shares with the machine is shared with the machine.
    """
    container = f"container:{text_of(target, 'Id')}"
    modes = {"pid": container, "network": container, "ipc": ""}
    for flag, key in (("pid", "PidMode"), ("network", "NetworkMode"), ("ipc", "IpcMode")):
        mode = str(member(target, "HostConfig", key) or "")
        if mode == "host" or (flag == "network" and mode == "none"):
            modes[flag] = mode
        elif flag == "ipc" and mode == "shareable":
            modes[flag] = container
    files = "1" if modes["pid"] == container else str(member(target, "State", "Pid") or "")
    return (
        *(f"--{flag}={mode}" for flag, mode in modes.items() if mode),
        f"--env=TARGET=/proc/{files}/root",
    )


def choose_image(socket: str, image: str) -> str:
    """The image to use on the engine at *socket*, which has it then."""
    is_system = socket == images.SYSTEM_SOCKET
    if image and is_system:
        return images.bring_to_system(image)
    if image:
        images.bring_to_user(image)
        return image
    if images.has(socket, PREFERRED_IMAGE):
        return PREFERRED_IMAGE
    return SYSTEM_IMAGE if is_system else images.import_console(SYSTEM_IMAGE)


def docker_argv(
    image: str, flags: tuple[str, ...], program: list[str], *, terminal: bool
) -> list[str]:
    """The words after `docker` that run *program*, or a shell, in a container of *image*."""
    words = program or ["/bin/sh", "-c", SHELL]
    return [
        *("run", "--rm", "--interactive", *(("--tty",) if terminal else ())),
        *("--name", f"toolbox-{os.getpid()}", "--label=org.orlop.toolbox=1", "--log-driver=none"),
        *(f"--cap-add={name}" for name in CAPABILITIES),
        *(f"--env=TERM={os.environ.get('TERM', 'dumb')}", *flags),
        *("--user=0", "--workdir=/", "--pull=never", "--entrypoint", words[0], image, *words[1:]),
    ]
