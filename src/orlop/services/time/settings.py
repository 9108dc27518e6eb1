"""From the machine's time configuration to chronyd's. Pure: settings in, text out.

Configured servers and pools win over what a DHCP server names, and that over the public pool: a
machine in a closed network has only its own servers to ask.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from orlop.services.settings import list_setting

DEFAULT_POOL = "pool.ntp.org"
DIRECTORY = "/run/time"
COMMAND_DIRECTORY = f"{DIRECTORY}/chrony"
"""chronyd insists that this belongs to it alone."""

_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.:-]{0,252}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}")
_SERVER = re.compile(r"(?P<place>\S+)(?: +key +(?P<key>[1-9]\d{0,8}))?")
_PLACE = re.compile(
    r"\[(?P<bracketed>[0-9A-Fa-f:]{2,39})\](?::(?P<port6>\d{1,5}))?"
    r"|(?P<named>[^:]{1,254}):(?P<port4>\d{1,5})|(?P<plain>.+)"
)
_KEY = re.compile(
    r"[1-9]\d{0,8} (MD5|SHA1|SHA256|SHA384|SHA512|AES128|AES256)"
    r" (HEX:[0-9A-Fa-f]{2,256}|ASCII:[!-~]{1,256})"
)

FIXED_LINES = f"""\
# Written at each start of the time service; changes are lost.
# No port is opened, for time or for commands; chronyc uses a socket in this container.
port 0
cmdport 0
bindcmdaddress {COMMAND_DIRECTORY}/chronyd.sock
pidfile {DIRECTORY}/chronyd.pid
driftfile /var/lib/orlop/time/drift
keyfile {DIRECTORY}/keys
# At boot the clock may be anywhere: it is set at once. Later it is only ever slewed.
makestep 1 3
# The kernel copies the time to the hardware clock every eleven minutes.
rtcsync
maxupdateskew 100
"""


class ChronyFiles(NamedTuple):
    """The contents of chronyd's two files."""

    configuration: str
    keys: str


def chrony_files(settings: Mapping[str, object], dhcp_servers: Sequence[str]) -> ChronyFiles:
    """What chronyd is to read, for *settings* (`orlop.time`) and the servers a lease named."""
    lines = [*map(server_line, list_setting(settings, "servers"))]
    lines += [pool_line(host) for host in list_setting(settings, "pools")]
    if not any(lines):
        lines = [server_line(host) for host in dhcp_servers]
    if not any(lines):
        lines = [pool_line(DEFAULT_POOL)]
    keys = [key for key in list_setting(settings, "keys") if _KEY.fullmatch(key)]
    return ChronyFiles(
        FIXED_LINES + "".join(f"{line}\n" for line in lines if line),
        "".join(f"{key}\n" for key in keys),
    )


def has_sources(settings: Mapping[str, object]) -> bool:
    """Whether the configuration names servers, so that no lease needs to be waited for."""
    return bool(list_setting(settings, "servers") or list_setting(settings, "pools"))


def server_line(text: str) -> str:
    """`server` directive for `HOST`, `HOST:PORT` or `[ADDRESS]:PORT`, each perhaps with ` key ID`.

    Nothing if *text* is none of these.
    """
    match = _SERVER.fullmatch(text.strip())
    place = _PLACE.fullmatch(match["place"]) if match is not None else None
    if match is None or place is None:
        return ""
    host = place["bracketed"] or place["named"] or place["plain"]
    port = place["port6"] or place["port4"] or ""
    if _HOST.fullmatch(host) is None or (port and not 0 < int(port) < 65536):
        return ""
    options = (f" port {port}" if port else "") + (f" key {match['key']}" if match["key"] else "")
    return f"server {host} iburst{options}"


def pool_line(host: str) -> str:
    """`pool` directive, or nothing if *host* is not one."""
    return f"pool {host} iburst maxsources 4" if _HOST.fullmatch(host) else ""
