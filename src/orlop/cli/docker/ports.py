"""`--publish` and `--expose`: `[[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`, ports or ranges of them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    type Bindings = dict[str, list[dict[str, str]]]

PROTOCOLS = ("tcp", "udp", "sctp")
LAST_PORT = 65535


def publish(values: Iterable[str]) -> tuple[dict[str, object], Bindings]:
    """The API's ExposedPorts and PortBindings.

    Raises:
        ValueError: docker's text.
    """
    exposed: dict[str, object] = {}
    bindings: Bindings = {}
    for text in values:
        for port, address, host in _mappings(_short_form(text) if "=" in text else text):
            exposed[port] = {}
            bindings.setdefault(port, []).append({"HostIp": address, "HostPort": host})
    return exposed, bindings


def expose(values: Iterable[str]) -> dict[str, object]:
    """The API's ExposedPorts of `--expose`.

    Raises:
        ValueError: docker's text.
    """
    exposed: dict[str, object] = {}
    for text in values:
        if ":" in text:
            raise ValueError(f"invalid port format for --expose: {text}")
        ports, _, protocol = text.partition("/")
        try:
            first, last = _range(ports)
        except ValueError as error:
            raise ValueError(f"invalid range format for --expose: {text}, error: {error}") from None
        exposed |= {f"{port}/{protocol or 'tcp'}": {} for port in range(first, last + 1)}
    return exposed


def _mappings(text: str) -> list[tuple[str, str, str]]:
    rest, _, protocol = text.partition("/")
    protocol = (protocol or "tcp").lower()
    address, host, container = _split(rest)
    if not container:
        raise ValueError(f"No port specified: {text}<empty>")
    try:
        first, last = _range(container)
    except ValueError:
        raise ValueError(f"Invalid containerPort: {container}") from None
    try:
        host_first, host_last = _range(host) if host else (0, 0)
    except ValueError:
        raise ValueError(f"Invalid hostPort: {host}") from None
    if address and not _is_address(address):
        raise ValueError(f"Invalid ip address: {address}")
    if protocol not in PROTOCOLS:
        raise ValueError(f"Invalid proto: {protocol}")
    if host and last - first != host_last - host_first and last != first:
        raise ValueError(
            f"Invalid ranges specified for container and host Ports: {container} and {host}"
        )
    found = []
    for offset in range(last - first + 1):
        shown = ""
        if host and last == first and host_last != host_first:
            shown = host  # a port out of the range
        elif host:
            shown = str(host_first + offset)
        found.append((f"{first + offset}/{protocol}", address, shown))
    return found


def _is_address(text: str) -> bool:
    import _socket

    try:
        _socket.inet_pton(_socket.AF_INET6 if ":" in text else _socket.AF_INET, text)
    except OSError:
        return False
    return True


def _split(text: str) -> tuple[str, str, str]:
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        host, _, container = rest.removeprefix(":").rpartition(":")
        return address, host, container
    rest, _, container = text.rpartition(":")
    address, _, host = rest.rpartition(":")
    return address, host, container


def _range(text: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    numbers = [first, last if dash else first]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    start, end = int(first), int(last if dash else first)
    if end > LAST_PORT or start > LAST_PORT:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    if end < start:
        raise ValueError(f"invalid range specified for port: {text}")
    return start, end


def _short_form(text: str) -> str:
    """`target=80,published=8080,protocol=tcp` as `8080:80/tcp`."""
    fields = dict(part.partition("=")[::2] for part in text.split(","))
    target = fields.get("target", "")
    if not target:
        raise ValueError(f"invalid field {text}: no target")
    published = fields.get("published", "")
    return f"{published}{':' if published else ''}{target}/{fields.get('protocol', 'tcp')}"
