"""What requests say of networks: of a container's, of a new one, of an endpoint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orlop.engine.container.endpoints import EndpointConfig, Networking, PortBinding
from orlop.engine.network.catalogue import NetworkRequest
from orlop.engine.network.ipam import parse_address
from orlop.engine.network.joining import BRIDGE_MODES, CONTAINER_MODE, is_own
from orlop.engine.network.model import INTERFACE_NAME, PoolConfig
from orlop.engine.network.ports import parse_host_port
from orlop.lib.errors import InvalidArgument, NotImplementedYet
from orlop.wire.docker.fields import quoted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orlop.wire.docker.fields import Object

PROTOCOLS = ("tcp", "udp", "sctp")
MAX_PORTS = 4096
"""Ports of one container: each is two sockets of the engine's."""

MAX_LINK_LOCAL = 64

SYSCTLS = "com.docker.network.endpoint.sysctls"
_INTERFACE = re.compile(r"[a-zA-Z0-9_.-]{1,15}")
_NO_LINKS = "type network can't be used with links. This would result in undefined behavior"
_MAC = re.compile(r"[0-9a-fA-F]{2}([:-][0-9a-fA-F]{2}){5}")


def parse_networking(body: Object, host: Object) -> tuple[str, Networking]:
    """Network mode and the rest of a container create request.

    Raises:
        InvalidArgument, NotImplementedYet: with the field and the reason.
    """
    mode = "none" if body.flag("NetworkDisabled") else host.text("NetworkMode")
    if mode in BRIDGE_MODES:
        mode = "bridge"
    asked = body.section("NetworkingConfig").section("EndpointsConfig")
    names = body.section("NetworkingConfig").keys("EndpointsConfig")
    endpoints = [parse_endpoint(name, asked.section(name)) for name in names]
    if is_own(mode) and mode not in {_plain(endpoint.network) for endpoint in endpoints}:
        endpoints.insert(0, EndpointConfig(network=mode))
    exposed = [_port_key(text) for text in body.keys("ExposedPorts")]
    ports = list(_parse_bindings(host))
    exposed += [(binding.container_port, binding.protocol) for binding in ports]
    networking = Networking(
        endpoints=tuple(endpoints) if is_own(mode) else (),
        ports=tuple(ports),
        exposed=tuple(f"{port}/{protocol}" for port, protocol in dict.fromkeys(exposed)),
        publish_all=host.flag("PublishAllPorts"),
        dns=tuple(_address(text) for text in host.texts("Dns")),
        dns_search=tuple(_word(text) for text in host.texts("DnsSearch")),
        dns_options=tuple(_word(text) for text in host.texts("DnsOptions")),
        links=host.texts("Links"),
        mac=_mac(body.text("MacAddress")),
    )
    _check_mode(mode, body, host, networking)
    return mode, networking


def _plain(name: str) -> str:
    return "bridge" if name in BRIDGE_MODES else name


def _check_mode(mode: str, body: Object, host: Object, networking: Networking) -> None:
    if mode == "host" and networking.links:
        raise InvalidArgument(
            f"conflicting options: host {_NO_LINKS.replace('network', 'networking')}"
        )
    if not f"{mode}:".startswith(CONTAINER_MODE):
        return
    if mode in (CONTAINER_MODE, CONTAINER_MODE.removesuffix(":")):
        raise InvalidArgument("Invalid network mode: invalid container format container:<name|id>")
    conflicts = (
        (bool(body.text("Hostname")), "hostname and the network mode"),
        (
            bool(networking.links),
            f"container {_NO_LINKS}",
        ),
        (bool(networking.dns), "dns and the network mode"),
        (bool(host.texts("ExtraHosts")), "custom host-to-IP mapping and the network mode"),
        (bool(networking.mac), "mac-address and the network mode"),
        (
            bool(networking.ports) or networking.publish_all,
            "port publishing and the container type network mode",
        ),
        (bool(body.keys("ExposedPorts")), "port exposing and the container type network mode"),
    )
    for conflict, text in conflicts:
        if conflict:
            raise InvalidArgument(f"conflicting options: {text}")


def parse_endpoint(name: str, settings: Object) -> EndpointConfig:
    """An `EndpointSettings`.

    Raises:
        InvalidArgument: with the field and the reason.
    """
    ipam = settings.section("IPAMConfig")
    ipv4, ipv6 = ipam.text("IPv4Address"), ipam.text("IPv6Address")
    for version, text in ((4, ipv4), (6, ipv6)):
        if text and not _is_address(text, version):
            raise InvalidArgument(f"invalid IPv{version} address: {text[:60]}")
    options = settings.text_map("DriverOpts")
    for key, value in options:
        if key == SYSCTLS and value:
            raise NotImplementedYet(f"{key} is not supported: use --sysctl")
        if key == INTERFACE_NAME and not _INTERFACE.fullmatch(value):
            raise InvalidArgument(f"invalid interface name: {value[:40]!r}")
    return EndpointConfig(
        network=_plain(name),
        aliases=settings.texts("Aliases"),
        links=settings.texts("Links"),
        ipv4=ipv4,
        ipv6=str(parse_address(ipv6)) if ipv6 else "",
        link_local=tuple(map(_link_local, ipam.texts("LinkLocalIPs")[:MAX_LINK_LOCAL])),
        mac=_mac(settings.text("MacAddress")),
        options=options,
        gateway_priority=settings.integer("GwPriority"),
    )


def _is_address(text: str, version: int) -> bool:
    try:
        return parse_address(text).version == version
    except InvalidArgument:
        return False


def _parse_bindings(host: Object) -> Iterator[PortBinding]:
    section = host.section("PortBindings")
    count = 0
    for key in host.keys("PortBindings"):
        port, protocol = _port_key(key)
        for item in section.sections(key):
            host_ip, host_port = item.text("HostIp"), item.text("HostPort")
            if host_ip:
                host_ip = str(parse_address(host_ip))
            parse_host_port(host_port)
            count += 1
            if count > MAX_PORTS:
                raise InvalidArgument(f"more than {MAX_PORTS} published ports")
            yield PortBinding(protocol, port, host_ip, host_port)


def _port_key(text: str) -> tuple[int, str]:
    """`80/tcp` or `80`."""
    number, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if not number.isdecimal() or not 0 < int(number) < 65536 or protocol not in PROTOCOLS:
        raise InvalidArgument(f"invalid port specification: {quoted(text)}")
    return int(number), protocol


def _mac(text: str) -> str:
    if text and not _MAC.fullmatch(text):
        raise InvalidArgument(f"invalid MAC address: {text[:40]}")
    return text.replace("-", ":").lower()


def _address(text: str) -> str:
    return str(parse_address(text))


def _link_local(text: str) -> str:
    address = parse_address(text)
    if not address.is_link_local:
        raise InvalidArgument(f"invalid link-local IP address: {text[:60]}")
    return str(address)


def _word(text: str) -> str:
    """A word for resolv.conf: nothing that would begin another line or word there."""
    if len(text) > 255 or not text.isprintable() or set(text) & set(" \t#;"):
        raise InvalidArgument(f"invalid DNS setting: {text[:40]!r}")
    return text


def parse_network(body: Object) -> NetworkRequest:
    """A network create request.

    Raises:
        InvalidArgument, NotImplementedYet: with the field and the reason.
    """
    for key in ("Ingress", "ConfigOnly"):
        if body.flag(key):
            raise NotImplementedYet(f"networks with {key} need a swarm or a later version")
    if body.section("ConfigFrom").text("Network"):
        raise NotImplementedYet("networks with ConfigFrom are not supported")
    if body.text("Scope") not in ("", "local"):
        raise InvalidArgument("only networks of scope local can be made on this node")
    ipam = body.section("IPAM")
    return NetworkRequest(
        name=body.text("Name"),
        driver=body.text("Driver") or "bridge",
        ipv4=body.flag("EnableIPv4", default=True),
        ipv6=body.flag("EnableIPv6"),
        internal=body.flag("Internal"),
        attachable=body.flag("Attachable"),
        pools=tuple(_parse_pools(ipam)),
        ipam_driver=ipam.text("Driver"),
        ipam_options=ipam.text_map("Options") if "Options" in ipam else None,
        options=body.text_map("Options"),
        labels=body.text_map("Labels"),
    )


def _parse_pools(ipam: Object) -> Iterator[PoolConfig]:
    for item in ipam.sections("Config"):
        if not item.text("Subnet"):
            if item.text("Gateway") or item.text("IPRange"):
                raise InvalidArgument(f"{item.path('Subnet')} is missing")
            continue
        yield PoolConfig(
            subnet=item.text("Subnet"),
            ip_range=item.text("IPRange"),
            gateway=_address(item.text("Gateway")) if item.text("Gateway") else "",
            auxiliary=tuple(
                (name, _address(text)) for name, text in item.text_map("AuxiliaryAddresses")
            ),
        )
