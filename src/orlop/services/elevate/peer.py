"""From where somebody works: what the kernel says of a process, and of those it comes from."""

import os
import re
import socket
from pathlib import Path

MAX_STEPS = 64
PROC = "/proc"
_TITLE = re.compile(rb"sshd-session: ([0-9A-Fa-f:.]+(?:%[\w.-]+)? port [0-9]+) \[priv\]")
"""What our build of sshd calls the process that stays root: see os/build/openssh.toml."""


def origin(pid: int) -> str:
    """The SSH connection that *pid* belongs to, or its terminal; in words.

    What the user can set, names and environments of processes of his, is not asked.
    """
    terminal = server = ""
    for _ in range(MAX_STEPS):
        name, parent, number = _stat(pid)
        terminal = terminal or terminal_name(number)
        if name == "sshd-session" and _owner(pid) == 0:
            # For root there are two, of which the upper one has it in its title.
            peer = _connection(pid) or _title(pid)
            server = peer or server or f"sshd {pid}"
            if peer:
                break
        if pid <= 1 or not parent:
            break
        pid = parent
    return " on ".join(filter(None, (server, terminal))) or "no terminal"


def _stat(pid: int) -> tuple[str, int, int]:
    """Name, parent and number of the terminal of *pid*."""
    try:
        text = Path(PROC, str(pid), "stat").read_text(errors="replace")
    except OSError:
        return "", 0, 0
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    return head.partition("(")[2], int(fields[1]), int(fields[4])


def _owner(pid: int) -> int:
    """Whose process *pid* is. Its directory is root's also when it only cannot be traced."""
    try:
        text = Path(PROC, str(pid), "status").read_text(errors="replace")
    except OSError:
        return -1
    return next((int(line.split()[1]) for line in text.splitlines() if line[:4] == "Uid:"), -1)


def terminal_name(number: int) -> str:
    """The name of the terminal whose device has *number*; empty for none."""
    major = (number >> 8) & 0xFFF
    minor = (number & 0xFF) | ((number >> 12) & 0xFFF00)
    if 136 <= major < 144:
        return f"pts/{(major - 136) * 256 + minor}"
    if major == 4:
        return f"tty{minor}" if minor < 64 else f"ttyS{minor - 64}"
    if major == 229:
        return f"hvc{minor}"
    return f"terminal {major}:{minor}" if number else ""


def _title(pid: int) -> str:
    """The peer as the process of sshd itself has it in its title."""
    try:
        found = _TITLE.match(Path(PROC, str(pid), "cmdline").read_bytes())
    except OSError:
        return ""
    return found[1].decode().removeprefix("::ffff:") if found else ""


def _connection(pid: int) -> str:
    """The peer of the TCP connection that *pid* has. Once a process has been another user, its
    descriptors are not to be seen any more without CAP_SYS_PTRACE."""
    inodes = set()
    try:
        for name in os.listdir(f"{PROC}/{pid}/fd"):
            target = os.readlink(f"{PROC}/{pid}/fd/{name}")
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    except OSError:
        pass
    for table in ("tcp", "tcp6"):
        try:
            lines = Path(PROC, "net", table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if len(fields) > 9 and fields[9] in inodes and fields[3] == "01":
                return peer_text(fields[2])
    return ""


def peer_text(text: str) -> str:
    """`ADDRESS:PORT` of /proc/net/tcp in words."""
    number, _, port = text.partition(":")
    words = [int(number[start : start + 8], 16) for start in range(0, len(number), 8)]
    data = b"".join(word.to_bytes(4, "little") for word in words)
    address = socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)
    return f"{address.removeprefix('::ffff:')} port {int(port, 16)}"
