"""Servers of files and disks on this host's loopback: Debian's nfs-ganesha and tgt.

Each is a process that may be stopped in its tracks (`hang`): it then keeps its connections and
answers nothing, which is how servers fail worst.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

START_TIMEOUT_S = 60.0

_GANESHA = """\
NFS_CORE_PARAM {{
    Protocols = 4; NFS_Port = {port}; Bind_addr = 127.0.0.1;
    Enable_NLM = false; Enable_RQUOTA = false; mount_path_pseudo = true;
    allow_set_io_flusher_fail = true; Plugins_Dir = /usr/lib/x86_64-linux-gnu/ganesha;
}}
NFSV4 {{
    RecoveryRoot = {directory}; Graceless = true;
    Only_Numeric_Owners = true; Allow_Numeric_Owners = true;
}}
EXPORT {{
    Export_Id = 1; Path = {share}; Pseudo = /share; Access_Type = RW; Squash = No_Root_Squash;
    SecType = sys; Protocols = 4; Transports = TCP; FSAL {{ Name = VFS; }}
}}
"""
TARGET = "iqn.2026-01.example:ship"


def free_port() -> int:
    """A port of loopback that nobody listens at just now."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return int(chosen.getsockname()[1])


def hang(server: subprocess.Popen[bytes]) -> None:
    """From now on *server* takes what comes and answers nothing."""
    server.send_signal(signal.SIGSTOP)


@contextmanager
def nfs_server(share: Path, port: int, scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server of NFS 4 that has *share* as `/share`, at *port* of loopback."""
    directory = scratch / "ganesha"
    directory.mkdir(exist_ok=True)
    text = _GANESHA.format(port=port, directory=directory, share=share)
    (directory / "conf").write_text(text)
    words = ["ganesha.nfsd", "-F", "-f", "conf", "-L", "STDOUT", "-p", str(directory / "pid")]
    with _server(words, directory, port) as server:
        yield server


@contextmanager
def iscsi_target(disk: Path, port: int, scratch: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A server of iSCSI that has *disk* as the first of `TARGET`, at *port* of loopback."""
    directory = scratch / "tgt"
    directory.mkdir(exist_ok=True)
    os.environ["TGT_IPC_SOCKET"] = str(directory / "socket")
    words = ["tgtd", "-f", "--iscsi", f"portal=127.0.0.1:{port}"]
    with _server(words, directory, port) as server:
        for command in (
            ["--op", "new", "--mode", "target", "--tid", "1", "-T", TARGET],
            ["--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", str(disk)],
            ["--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL"],
        ):
            subprocess.run(["tgtadm", "--lld", "iscsi", *command], check=True, timeout=60)
        yield server


@contextmanager
def _server(words: list[str], directory: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with (directory / "log").open("ab") as log:
        server = subprocess.Popen(words, cwd=directory, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _listens(port):
            said = (directory / "log").read_text(errors="replace")
            assert server.poll() is None, f"{words[0]} ended: {said}"
            assert time.monotonic() < deadline, f"{words[0]} does not listen: {said}"
            time.sleep(0.05)
        yield server
    finally:
        server.kill()
        server.wait()


def _listens(port: int) -> bool:
    """Whether somebody does; asking by a connection would be one more client."""
    tables = (Path("/proc/net", name).read_text() for name in ("tcp", "tcp6"))
    rows = (line.split() for table in tables for line in table.splitlines()[1:])
    return any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows)
