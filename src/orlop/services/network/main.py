"""The program of the `network` service: sets up what is static, then becomes dhcpcd.

Links, static addresses, routes and rules are in the kernel before anybody asks DHCP. dhcpcd's hook
calls `apply` again for interfaces that appear later.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from typing import NoReturn

from orlop.services.network.plan import Plan, plan
from orlop.services.settings import read_settings

DIRECTORY = "/run/dhcpcd"
SHARED = "/run/orlop/network"
DHCPCD = "/usr/sbin/dhcpcd"
CHANGED_STATUS = 3
"""Of `apply`: dhcpcd has another configuration now."""


def write_plan(files: Plan, directory: str) -> bool:
    """Make *directory* hold the plan's files and no others; whether dhcpcd's own changed."""
    shutil.rmtree(f"{directory}/static", ignore_errors=True)
    for name in ("static", "dns", "seen", "ready"):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    for name in ("hostname-configured", "configured-dns", "configured", "unresolved"):
        if os.path.exists(f"{directory}/{name}"):
            os.unlink(f"{directory}/{name}")
    path = f"{directory}/dhcpcd.conf"
    before = ""
    if os.path.exists(path):
        with open(path, encoding="ascii", errors="replace") as stream:
            before = stream.read()
    for name, content in files.files.items():
        with open(f"{directory}/{name}", "w", encoding="ascii", errors="replace") as stream:
            stream.write(content)
    return files.files["dhcpcd.conf"] != before


def apply(settings: Mapping[str, object], own: str, shared: str, *, look_up: bool = False) -> bool:
    """Bring the network about; whether dhcpcd's configuration changed.

    Where nothing is configured, and nothing has been in this boot, that is left to dhcpcd.

    *look_up*: whether names of peers are asked for, which takes a while where nobody answers.

    Raises:
        OSError: the kernel does not answer, or a file cannot be written.
    """
    path = f"{shared}/record.json"
    if not os.path.exists(path) and not any(map(settings.get, ("interfaces", "routes", "rules"))):
        return write_plan(plan(settings), own)
    # Not before it is known to be needed: most machines ask DHCP, and start sooner without.
    from orlop.services.network import act, kinds
    from orlop.services.network.wanted import interpret

    names = kinds.hosts(settings)
    # Before the lock: a card that has just appeared is not to wait for a name server.
    known = {name: found for name in names if look_up and (found := _look_up(name))}
    with act.locked(f"{own}/lock"):
        kernel = act.Kernel()
        try:
            links = kernel.links()
            wanted = interpret(settings, act.hardware(links), known)
            problems, record = act.bring_about(
                kernel, wanted, act.read_record(path), _leases(shared)
            )
            act.write_record(path, record)
            links = kernel.links()
        finally:
            kernel.close()
        for problem in (*wanted.problems, *problems):
            print(problem, file=sys.stderr, flush=True)
        others = [name for name, link in links.items() if link.kind not in act.HARDWARE_KINDS]
        seen = {f"seen/{name}": f"{link.index}\n" for name, link in links.items()}
        missing = {"unresolved": ""} if len(known) < len(names) else {}
        files = plan(settings, wanted, sorted(links), others).files
        return write_plan(Plan({**files, **seen, **missing}), own)


def _leases(shared: str) -> dict[str, str]:
    """What the hook has noted of leases: address and length by interface."""
    found: dict[str, str] = {}
    for entry in os.listdir(shared):
        if entry.startswith("lease-"):
            with open(f"{shared}/{entry}", encoding="ascii", errors="replace") as stream:
                found[entry.removeprefix("lease-")] = stream.read(64).strip()
    return found


def _look_up(name: str) -> str:
    import socket

    try:
        return str(socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)[0][4][0])
    except OSError:
        return ""


def dhcpcd_arguments(directory: str = DIRECTORY) -> list[str]:
    """One process for all interfaces, in the foreground, quiet: what matters goes to syslog."""
    return [DHCPCD, "--nobackground", "--quiet", "--config", f"{directory}/dhcpcd.conf"]


def become_dhcpcd(arguments: list[str]) -> NoReturn:
    os.execve(arguments[0], arguments, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})


def set_up(settings: Mapping[str, object]) -> None:
    """What is static, and the files for dhcpcd. Does not fail."""
    try:
        apply(settings, DIRECTORY, SHARED)
    except Exception:  # noqa: BLE001 - a machine that still asks DHCP can be reached and mended
        import traceback

        traceback.print_exc()
        write_plan(plan(settings), DIRECTORY)


def main(argv: list[str]) -> int:
    """Without arguments never returns: the process becomes dhcpcd. It is started anew when the
    configuration changes. `apply` is what the hook calls, `apply look-up` once there is DNS."""
    settings = read_settings()
    if argv[:1] == ["apply"]:
        changed = apply(settings, DIRECTORY, SHARED, look_up=argv[1:] == ["look-up"])
        return CHANGED_STATUS if changed else 0
    set_up(settings)
    become_dhcpcd(dhcpcd_arguments())
