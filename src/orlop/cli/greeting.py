"""What a person wants to know who has just logged in, on one screen of 80 by 24.

Pure: from the engine's status to lines of text. ASCII only, because nobody knows what is at the
other end of a serial line.
"""

from __future__ import annotations

from orlop.cli.answers import Object, number_of, text_of
from orlop.cli.text import duration, printable, shorten, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.text import Style

LABEL_WIDTH = 11
WARNINGS_MAX = 2
"""More would push the rest off the screen; `orlop status` has all of them."""

BANNER = r"""
   ___  ____  _     ___  ____
  / _ \|  _ \| |   / _ \|  _ \
 | | | | |_) | |  | | | | |_) |
 | |_| |  _ <| |__| |_| |  __/
  \___/|_| \_\_____\___/|_|
"""
GOOD_STATES = frozenset({"running", "done", "completed"})
WAITING_STATES = frozenset({"created", "starting", "waiting", "stopping", "restarting"})
RESTING_STATES = frozenset({"skipped", "disabled", "inactive"})


def banner(style: Style) -> str:
    """The name in large letters."""
    return "\n".join(style.bold(line) for line in BANNER.strip("\n").splitlines())


def motd(status: Object, style: Style, width: int) -> str:
    """The whole greeting."""
    lines = [banner(style), "", *facts(status, style, width, warnings_max=WARNINGS_MAX), ""]
    lines += _hints(status, style)
    return "\n".join(lines) + "\n"


def facts(
    status: Object, style: Style, width: int, *, warnings_max: int | None = None
) -> list[str]:
    """A line for each fact, and one for each warning."""
    services = _services(status)
    lines = [
        _line("system", _system(status), style),
        _line("host", _host(status), style),
        _line("addresses", ", ".join(addresses(status)) or "none (yet)", style),
        _line("storage", _storage(status), style),
        *_kept(status, style),
        _line("memory", _memory(status), style),
    ]
    first = "services"
    for line in _service_lines(services, style, width - LABEL_WIDTH - 4):
        lines.append(_line(first, line, style, clean=False))
        first = ""
    lines += _health(status, style, width)
    warnings = status.get("warnings")
    texts = [str(text) for text in warnings] if isinstance(warnings, list) else []
    shown = texts if warnings_max is None else texts[:warnings_max]
    lines += [
        "  " + style.warning("! " + shorten(printable(text), max(width - 6, 20))) for text in shown
    ]
    if len(texts) > len(shown):
        lines.append(f"  {style.warning('!')} {len(texts) - len(shown)} more: orlop status")
    return lines


def addresses(status: Object) -> list[str]:
    """The machine's addresses, each with its interface where the engine names it."""
    found = status.get("addresses")
    texts = []
    for entry in found if isinstance(found, list) else []:
        if isinstance(entry, dict):
            interface = text_of(entry, "interface")
            texts.append(text_of(entry, "address") + (f" ({interface})" if interface else ""))
        else:
            texts.append(str(entry))
    return texts


def _line(label: str, text: str, style: Style, *, clean: bool = True) -> str:
    return f"  {style.dim(label.ljust(LABEL_WIDTH))} {printable(text) if clean else text}"


def _system(status: Object) -> str:
    parts = [f"Orlop {text_of(status, 'version') or '(unknown version)'}"]
    if text_of(status, "kernel"):
        parts.append(f"Linux {text_of(status, 'kernel')}")
    if text_of(status, "secure_boot") == "on":
        parts.append("Secure Boot")
    return ", ".join(parts)


def _host(status: Object) -> str:
    text = f"{text_of(status, 'hostname') or 'orlop'}, up {duration(number_of(status, 'uptime_s'))}"
    ready_s = number_of(status, "ready_s")
    phase = text_of(status, "phase")
    if ready_s:
        return f"{text}, ready after {ready_s:.1f} s"
    return f"{text}, {phase}" if phase else text


def _storage(status: Object) -> str:
    storage = status.get("storage")
    if not isinstance(storage, dict) or text_of(storage, "kind") != "disk":
        return "live: nothing is kept without a disk labelled ORLOP_STATE"
    used, whole = number_of(storage, "used_bytes"), number_of(storage, "size_bytes")
    room = f", {size(used)} of {size(whole)} used" if whole else ""
    return f"{text_of(storage, 'device')}{room}"


def _kept(status: Object, style: Style) -> list[str]:
    """What of the files of a console is still there after a reboot, where anything is."""
    storage = status.get("storage")
    if not isinstance(storage, dict) or text_of(storage, "kind") != "disk":
        return []
    kept = storage.get("kept")
    paths = " ".join(str(path) for path in kept) if isinstance(kept, list) else ""
    return [_line("kept", f"{shorten(paths, 40)}; all else is new at boot", style)] if paths else []


def _memory(status: Object) -> str:
    total = number_of(status, "memory", "total_bytes")
    available = number_of(status, "memory", "available_bytes")
    return f"{size(total - available)} of {size(total)} in use" if total else "unknown"


def _health(status: Object, style: Style, width: int) -> list[str]:
    """Whether the machine works, once that is known."""
    health = status.get("health")
    if not isinstance(health, dict):
        return []
    verdict, text = text_of(health, "verdict"), printable(text_of(health, "text"))
    colour = {"green": style.good, "red": style.bad}.get(verdict, style.warning)
    said = f"{colour(printable(verdict))}{': ' if text else ''}"
    text = shorten(text, max(width - LABEL_WIDTH - len(verdict) - 6, 20))
    return [_line("health", f"{said}{text}", style, clean=False)]


def _services(status: Object) -> list[Object]:
    found = status.get("services")
    if isinstance(found, dict):  # name to state, or to an object
        return [
            {"name": name, **(value if isinstance(value, dict) else {"state": value})}
            for name, value in found.items()
        ]
    return [entry for entry in found if isinstance(entry, dict)] if isinstance(found, list) else []


def _service_lines(services: list[Object], style: Style, width: int) -> list[str]:
    """The services side by side, those that run with a +, as many to a line as fit."""
    if not services:
        return ["none (yet)"]
    lines, used = [""], 0
    for service in services:
        text, shown = _service(service, style)
        if used and used + len(text) + 2 > width:
            lines.append("")
            used = 0
        lines[-1] += ("  " if used else "") + shown
        used += len(text) + (2 if used else 0)
    return lines


def _service(service: Object, style: Style) -> tuple[str, str]:
    """A service's text, and the same in colour."""
    name, state = printable(text_of(service, "name")), printable(text_of(service, "state"))
    if state in GOOD_STATES and text_of(service, "health") != "unhealthy":
        return f"+ {name}", f"{style.good('+')} {name}"
    if state in RESTING_STATES:
        return f"- {name}", style.dim(f"- {name}")
    if state in WAITING_STATES:
        return f"~ {name} ({state})", style.warning(f"~ {name} ({state})")
    state = text_of(service, "health") if state in GOOD_STATES else state
    return f"x {name} ({state})", style.bad(f"x {name} ({state})")


def _hints(status: Object, style: Style) -> list[str]:
    """How to go on from here."""
    rows = [
        ("orlop help", "all that this machine can do"),
        ("orlop ps", "the system's containers; orlop logs NAME for what they say"),
    ]
    ssh = {text_of(service, "name"): text_of(service, "state") for service in _services(status)}
    address = next((entry.split("/")[0].split(" ")[0] for entry in addresses(status)), "ADDRESS")
    if ssh.get("ssh") in GOOD_STATES:
        rows.append((f"ssh root@{address}", "from elsewhere; docker -H ssh://root@... works too"))
    else:
        rows.append(("ssh", "closed until the configuration has ssh_authorized_keys"))
    width = max(len(command) for command, _ in rows)
    return [f"  {style.bold(command.ljust(width))}  {text}" for command, text in rows]
