"""Lines of the system's log about who became root, or tried to: facility authpriv."""

import socket
import sys

LOG = "/dev/log"
AUTHPRIV, INFO, WARNING = 10, 6, 4
MAX_BYTES = 1900


def line(text: str, *, refused: bool = False, name: str = "sudo") -> bytes:
    """*text* as a message for the log, on one line."""
    severity = WARNING if refused else INFO
    clean = "".join(c if c.isprintable() else "?" for c in text)
    return f"<{AUTHPRIV * 8 + severity}>{name}: {clean}".encode()[:MAX_BYTES]


def record(text: str, *, refused: bool = False, name: str = "sudo") -> None:
    """Log *text*; on stderr, which the engine keeps, if there is no log."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.settimeout(2.0)
            log.connect(LOG)
            log.send(line(text, refused=refused, name=name))
    except OSError:
        print(line(text, name=name).partition(b">")[2].decode(errors="replace"), file=sys.stderr)
