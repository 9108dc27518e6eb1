"""The one entry point: decides by its first argument which program of Orlop this process is.

In the image this file is `/usr/lib/orlop/python/__main__.pyc` and Python is started on that
directory; in a checkout it is `python3 -m orlop`. Nothing is imported before the decision, so
that each program pays only for itself. Every program is a module with `main(argv) -> int`.

    init                 orlop.system.main: PID 1
    engine ARG...        orlop.engine.main: an engine by itself, for the user's containers
    cli ARG...           orlop.cli.main: the `orlop` command inside the machine
    service NAME ARG...  orlop.services.NAME.main: the program of a system container
    worker NAME ARG...   a short-lived process without privileges, for input PID 1 may not parse
    host COMMAND ARG...  orlop.cli.host: `./orlop COMMAND` inside the tool root
"""

import sys

PROGRAMS = {
    "init": "orlop.system.main",
    "engine": "orlop.engine.main",
    "cli": "orlop.cli.main",
    "host": "orlop.cli.host",
}

WORKERS = {
    "build": "orlop.engine.build.worker",
    "certificates": "orlop.engine.certificates_worker",
    "config": "orlop.system.config_worker",
    "copy": "orlop.engine.copy_worker",
    "gate": "orlop.system.updates.gate_worker",
    "health": "orlop.system.health.worker",
    "image": "orlop.system.updates.image_worker",
    "install": "orlop.system.install_worker",
    "password": "orlop.lib.password_worker",
    "phone-home": "orlop.system.phone_home_worker",
    "registry": "orlop.engine.registry.worker",
    "seed": "orlop.system.seed_worker",
    "services": "orlop.system.service_worker",
    "store": "orlop.engine.store.worker",
    "archive": "orlop.engine.archive_worker",
    "tls": "orlop.engine.tls_worker",
    "tpm": "orlop.system.tpm_worker",
    "update": "orlop.system.updates.fetch_worker",
    "userns": "orlop.engine.userns_worker",
    "unlock": "orlop.system.unlock_worker",
    "tree": "orlop.engine.store.tree_worker",
    "volume-mount": "orlop.engine.volume_mount_worker",
}

USAGE_STATUS = 2


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
    # __import__ and not importlib.import_module: importlib's Python half costs PID 1 memory.
    name, arguments = found
    status: int = __import__(name, fromlist=["main"]).main(arguments)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
