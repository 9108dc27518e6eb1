"""The program of the `network` service: writes dhcpcd's configuration, then becomes dhcpcd."""

import os
import shutil

from orlop.services.network.plan import Plan, plan
from orlop.services.settings import read_settings

DIRECTORY = "/run/dhcpcd"
DHCPCD = "/usr/sbin/dhcpcd"


def write_plan(files: Plan, directory: str) -> None:
    """Make *directory* hold the plan's files, and no static addresses of a former one."""
    shutil.rmtree(f"{directory}/static", ignore_errors=True)
    for name in ("static", "dns"):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    for name in ("hostname-configured", "configured-dns"):
        if os.path.exists(f"{directory}/{name}"):
            os.unlink(f"{directory}/{name}")
    for name, content in files.files.items():
        with open(f"{directory}/{name}", "w", encoding="ascii", errors="replace") as stream:
            stream.write(content)


def dhcpcd_arguments(directory: str = DIRECTORY) -> list[str]:
    """One process for all interfaces, in the foreground, quiet: what matters goes to syslog."""
    return [DHCPCD, "--nobackground", "--quiet", "--config", f"{directory}/dhcpcd.conf"]


def main(argv: list[str]) -> int:
    """Never returns: the process becomes dhcpcd. It is restarted when the configuration changes."""
    write_plan(plan(read_settings()), DIRECTORY)
    arguments = dhcpcd_arguments()
    os.execve(arguments[0], arguments, {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"})
