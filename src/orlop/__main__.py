"""The one entry point: decides by its first argument which program of Orlop this process is.

In the image this file is `/usr/lib/orlop/python/__main__.pyc` and Python is started on that
directory; in a checkout it is `python3 -m orlop`. Nothing is imported before the decision, so
that each program pays only for itself. Every program is a module with `main(argv) -> int`.

    init                 orlop.system.main: PID 1
    engine ARG...        orlop.engine.main: an engine by itself, for the user's containers
    cli ARG...           orlop.cli.main: the `orlop` command inside the machine
    service NAME ARG...  orlop.services.NAME.main: the program of a system container
    worker NAME ARG...   a short-lived process without privileges, for input PID 1 may not parse
    host COMMAND ARG...  orlop.cli.host.main: `./orlop COMMAND` inside the tool root
"""

import sys

TYPE_CHECKING = False  # importing typing for it would cost PID 1 a millisecond
if TYPE_CHECKING:
    from typing import Any

PROGRAMS = {
    "init": "orlop.system.main",
    "engine": "orlop.engine.main",
    "cli": "orlop.cli.main",
    "host": "orlop.cli.host.main",
}

WORKERS = {
    "build": "orlop.engine.build.worker",
    "certificates": "orlop.engine.tls.certificates_worker",
    "config": "orlop.system.config.worker",
    "copy": "orlop.engine.archives.copy_worker",
    "gate": "orlop.system.updates.gate_worker",
    "health": "orlop.system.health.worker",
    "image": "orlop.system.updates.image_worker",
    "install": "orlop.system.install.worker",
    "password": "orlop.lib.password_worker",
    "phone-home": "orlop.system.cloud.phone_home_worker",
    "registry": "orlop.engine.registry.worker",
    "seed": "orlop.system.cloud.seed_worker",
    "services": "orlop.system.services.worker",
    "store": "orlop.engine.store.worker",
    "archive": "orlop.engine.archives.archive_worker",
    "tls": "orlop.engine.tls.worker",
    "tpm": "orlop.system.storage.tpm_worker",
    "update": "orlop.system.updates.fetch_worker",
    "userns": "orlop.engine.runtime.userns_worker",
    "unlock": "orlop.system.storage.unlock_worker",
    "tree": "orlop.engine.store.tree_worker",
    "volume-mount": "orlop.engine.volumes.mount_worker",
}

WITHOUT_SSL = ("init", "engine")
"""asyncio imports ssl only to offer what these leave to workers. It costs 4 MB of memory that are
never given back."""

USAGE_STATUS = 2
_IS_COROUTINE_FUNCTION = 0x80
"""inspect.CO_COROUTINE."""


class Later(type(sys)):  # type: ignore[misc]  # ModuleType, without importing types
    """A module that is loaded when something of it is asked for.

    asyncio and dataclasses import `inspect`, and with it `ast`, `dis` and `tokenize`, for what our
    programs never do or only when they fail: a tenth of the start of PID 1, and a megabyte.
    """

    def __getattr__(self, name: str) -> "Any":
        if name.startswith("__"):
            raise AttributeError(name)  # the machinery of imports asks; the real one has them
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        self.__dict__.update(__import__(self.__name__).__dict__)
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(name) from None


def _later_inspect() -> "Later":
    """`inspect` later; with the one function that an event loop asks for in all our programs."""
    module = Later("inspect")

    def iscoroutinefunction(function: object) -> bool:
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        return code is not None and bool(code.co_flags & _IS_COROUTINE_FUNCTION)

    module.iscoroutinefunction = iscoroutinefunction
    return module


def module_of(argv: list[str]) -> tuple[str, list[str]] | None:
    """The module that `argv` (without the program's own name) asks for, and its arguments."""
    match argv:
        case ["service", name, *rest] if name.isidentifier():
            return f"orlop.services.{name}.main", rest
        case ["worker", name, *rest] if name in WORKERS:
            return WORKERS[name], rest
        case [program, *rest] if program in PROGRAMS:
            return PROGRAMS[program], rest
        case _:
            return None


def main(argv: list[str]) -> int:
    """Run the program that `argv` names and return its exit status."""
    found = module_of(argv)
    if found is None:
        print(
            "usage: orlop init | engine [OPTION...] | cli ARG... | service NAME | worker NAME | "
            "host COMMAND",
            file=sys.stderr,
        )
        return USAGE_STATUS
    sys.modules.setdefault("inspect", _later_inspect())
    if argv[0] in WITHOUT_SSL:
        # A module that is None cannot be imported, and asyncio copes with that.
        sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
    # __import__ and not importlib.import_module: importlib's Python half costs PID 1 memory.
    name, arguments = found
    status: int = __import__(name, fromlist=["main"]).main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
