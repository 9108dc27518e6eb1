"""The table of commands: name, file, and its line in the help.

A command's file holds `COMMANDS`, name to `Command`, and is imported only when one of them is run.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.command import Command

ROWS: dict[str, tuple[str, str]] = {
    "attach": ("attach", "Attach the terminal to a running container"),
    "build": ("build", "Build an image from a Dockerfile"),
    "commit": ("commit", "Create a new image from a container's changes"),
    "cp": ("cp", "Copy files between a container and this machine"),
    "create": ("create", "Create a new container"),
    "diff": ("diff", "Show which files of a container have changed"),
    "events": ("events", "Show what the engine does as it happens"),
    "exec": ("exec_command", "Run a program in a running container"),
    "export": ("export", "Export a container's files as a tar archive"),
    "history": ("history", "Show how an image was made"),
    "images": ("images", "List images"),
    "import": ("import_command", "Create an image from a tar archive of files"),
    "info": ("info", "Show what the engine is and has"),
    "inspect": ("inspect", "Show everything about containers, images, networks or volumes"),
    "kill": ("stop", "Send a signal to running containers"),
    "load": ("load", "Load images from a tar archive"),
    "login": ("login", "Log in to a registry"),
    "logout": ("login", "Log out from a registry"),
    "logs": ("logs", "Show what a container has written"),
    "pause": ("stop", "Pause all processes of containers"),
    "port": ("port", "List a container's published ports"),
    "ps": ("ps", "List containers"),
    "pull": ("pull", "Download an image from a registry"),
    "push": ("push", "Upload an image to a registry"),
    "rename": ("rename", "Rename a container"),
    "restart": ("stop", "Restart containers"),
    "rm": ("rm", "Remove containers"),
    "rmi": ("rmi", "Remove images"),
    "run": ("run", "Create a container from an image and run it"),
    "save": ("save", "Save images as a tar archive"),
    "search": ("search", "Search the registry for images"),
    "start": ("start", "Start stopped containers"),
    "stats": ("stats", "Show what containers use, live"),
    "stop": ("stop", "Stop running containers"),
    "tag": ("tag", "Give an image another name"),
    "top": ("top", "Show the processes of a container"),
    "unpause": ("stop", "Let paused containers go on"),
    "update": ("update", "Change limits and restart policy of containers"),
    "version": ("version", "Show versions of this command and the engine"),
    "wait": ("wait", "Wait until containers stop, then print their exit codes"),
    "container inspect": ("inspect", "Show everything about containers"),
    "container prune": ("prune", "Remove all stopped containers"),
    "image inspect": ("inspect", "Show everything about images"),
    "image prune": ("prune", "Remove unused images"),
    "network connect": ("network", "Connect a container to a network"),
    "network create": ("network", "Create a network"),
    "network disconnect": ("network", "Disconnect a container from a network"),
    "network inspect": ("inspect", "Show everything about networks"),
    "network ls": ("network_ls", "List networks"),
    "network prune": ("prune", "Remove all unused networks"),
    "network rm": ("network", "Remove networks"),
    "system df": ("df", "Show how much room images, containers and volumes take"),
    "system dial-stdio": ("dial_stdio", "Connect stdin and stdout with the engine"),
    "system prune": ("prune", "Remove what is not used"),
    "volume create": ("volume", "Create a volume"),
    "volume inspect": ("inspect", "Show everything about volumes"),
    "volume ls": ("volume_ls", "List volumes"),
    "volume prune": ("prune", "Remove unused volumes"),
    "volume rm": ("volume", "Remove volumes"),
}

_CONTAINER = """
    attach commit cp create diff exec export inspect kill logs ls pause port prune rename restart rm
    run start stats stop top unpause update wait
"""
GROUPS: dict[str, tuple[str, str]] = {
    "builder": ("Manage builds", "build"),
    "container": ("Manage containers", _CONTAINER),
    "image": (
        "Manage images",
        "build history import inspect load ls prune pull push rm save tag",
    ),
    "network": ("Manage networks", "connect create disconnect inspect ls prune rm"),
    "system": ("Manage the engine", "df events info prune"),
    "volume": ("Manage volumes", "create inspect ls prune rm"),
}
"""Management command to its line in the help and the commands below it."""

SAME: dict[str, str] = {
    "container ls": "ps",
    "image ls": "images",
    "image rm": "rmi",
}
"""Commands of a group that have another name at the top; the rest have the same."""

ALIASES: dict[str, str] = {
    "container list": "container ls",
    "container ps": "container ls",
    "container remove": "container rm",
    "image list": "image ls",
    "image remove": "image rm",
    "network list": "network ls",
    "network remove": "network rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
}


def resolve(argv: list[str]) -> tuple[str, list[str]]:
    """The command that *argv* begins with, by its own name, and the words after it.

    The name is a group's if no command of it is named; empty if there is no such command.
    """
    first, rest = argv[0], argv[1:]
    if first in GROUPS:
        if not rest or rest[0].startswith("-"):
            return first, rest
        name = f"{first} {rest[0]}"
        name = ALIASES.get(name, name)
        if row_of(name) is not None:
            return name, rest[1:]
        return first, rest
    return (first, rest) if first in ROWS else ("", argv)


def row_of(name: str) -> tuple[str, str] | None:
    """The file and the summary of command *name*; None if there is none."""
    found = ROWS.get(name)
    if found is not None:
        return found
    group, _, last = name.partition(" ")
    if group not in GROUPS or last not in GROUPS[group][1].split():
        return None
    return ROWS.get(SAME.get(name, last))


def summary(name: str) -> str:
    """What the help says about command *name*."""
    found = row_of(name)
    return found[1] if found else ""


def load(name: str) -> Command:
    """The command *name*, which `row_of` knows; its file is imported."""
    row = row_of(name)
    assert row is not None
    module = __import__(f"orlop.cli.docker.{row[0]}", fromlist=["COMMANDS"])
    commands: dict[str, Command] = module.COMMANDS
    return commands[name] if name in commands else commands[SAME.get(name, name.rpartition(" ")[2])]


def _taken_along() -> None:
    """Never called: the image builder reads imports to know which files to take along."""
    from orlop.cli.docker import (  # noqa: F401
        attach,
        build,
        commit,
        cp,
        create,
        df,
        dial_stdio,
        diff,
        events,
        exec_command,
        export,
        history,
        images,
        import_command,
        info,
        inspect,
        load,
        login,
        logs,
        network,
        network_ls,
        port,
        prune,
        ps,
        pull,
        push,
        rename,
        rm,
        rmi,
        run,
        save,
        search,
        start,
        stats,
        stop,
        tag,
        top,
        update,
        version,
        volume,
        volume_ls,
        wait,
    )
