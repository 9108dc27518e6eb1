"""`docker port`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.session import as_object, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Session


def run(session: Session, values: Values) -> int:
    name = values.words[0]
    container = session.get_object(f"/containers/{quote(name)}/json")
    ports = as_object(as_object(container.get("NetworkSettings")).get("Ports") or {})
    if len(values.words) == 1:
        lines = [
            f"{port} -> {address}"
            for port in sorted(ports, key=_order)
            for address in _of(ports[port])
        ]
    else:
        port, slash, protocol = values.words[1].partition("/")
        if not port.isdigit():
            wrong = f'strconv.ParseUint: parsing "{port}": invalid syntax'
            raise Failure(f"Error: invalid port ({port}): {wrong}")
        wanted = f"{port}/{protocol if slash else 'tcp'}"
        if not ports.get(wanted):
            raise Failure(f"Error: No public port '{values.words[1]}' published for {name}")
        lines = _of(ports[wanted])
    print("".join(f"{line}\n" for line in lines), end="")
    return 0


def _order(port: str) -> tuple[int, str]:
    number, _, protocol = port.partition("/")
    return int(number) if number.isdigit() else 0, protocol


def _of(bindings: object) -> list[str]:
    found = []
    for binding in bindings if isinstance(bindings, list) else ():
        address, port = str(binding.get("HostIp", "")), str(binding.get("HostPort", ""))
        found.append(f"[{address}]:{port}" if ":" in address else f"{address}:{port}")
    return found


COMMANDS = {"port": Command(run, "CONTAINER [PRIVATE_PORT[/PROTO]]", words=(1, 2))}
