"""Looks after the certificates of the engine's endpoint: `worker certificates SETTINGS DIR
ADDRESS...`.

SETTINGS is the engine's part of the configuration, whose `tls` may have files of its own; DIR is
the authority's; the ADDRESSes are the machine's. Says on the standard output what went wrong.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from orlop.lib.authority import CA, CA_KEY, SERVER, SERVER_KEY, Authority
from orlop.lib.errors import OrlopError

GIVEN = {"ca_cert": CA, "ca_key": CA_KEY, "server_cert": SERVER, "server_key": SERVER_KEY}
"""Keys of the configuration, and the files that they are written to."""
WHOLE = {"ca_cert", "server_cert", "server_key"}


def main(argv: list[str]) -> int:
    """0 when there is a server's certificate."""
    path, directory, *addresses = argv
    try:
        tls = json.loads(Path(path).read_bytes()).get("tls") or {}
        ensure(Authority(Path(directory)), tls, addresses)
    except (OrlopError, OSError, ValueError) as error:
        print(error)
        return 1
    return 0


def ensure(authority: Authority, tls: dict[str, object], addresses: list[str]) -> None:
    """Have what the configuration gives, and make what it does not.

    Raises:
        OrlopError, OSError: it cannot be done.
    """
    given = {name: str(tls[key]) for key, name in GIVEN.items() if tls.get(key)}
    authority.replace(given)
    if {key for key in GIVEN if tls.get(key)} >= WHOLE:
        return
    hostname = os.uname().nodename
    authority.ensure(hostname)
    hosts = tls.get("hosts")
    wanted = [str(host) for host in hosts] if isinstance(hosts, list) else []
    wanted += [hostname, "localhost", "127.0.0.1", "::1", *addresses]
    authority.keep_server(hostname, list(dict.fromkeys(wanted)))
