"""`docker network create`, `connect`, `disconnect` and `rm`."""

from __future__ import annotations

from orlop.cli.docker.command import Command
from orlop.cli.docker.failure import Failure
from orlop.cli.docker.flags import BOOL, LIST, MANY, MAP, STRING, STRINGS, Flag
from orlop.cli.docker.session import as_object, quote, say_failed
from orlop.lib.errors import NotFound, OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network

    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

    type Network = IPv4Network | IPv6Network

CREATE_FLAGS = (
    Flag("attachable", "", BOOL, "containers may attach by hand"),
    Flag("aux-address", "", MAP, "further addresses of the driver: NAME=ADDRESS"),
    Flag("config-from", "", STRING, "network to take the configuration from"),
    Flag("config-only", "", BOOL, "only a configuration"),
    Flag("driver", "d", STRING, "driver (bridge)", "bridge"),
    Flag("gateway", "", STRINGS, "gateway of the subnet"),
    Flag("ingress"),
    Flag("internal", "", BOOL, "no way out"),
    Flag("ip-range", "", STRINGS, "part of the subnet for containers"),
    Flag("ipam-driver", "", STRING, "driver of addresses (default)", "default"),
    Flag("ipam-opt", "", MAP, "option of that driver: NAME=VALUE"),
    Flag("ipv6", "", BOOL, "with IPv6"),
    Flag("label", "", LIST, "label: NAME=VALUE"),
    Flag("opt", "o", MAP, "option of the driver: NAME=VALUE"),
    Flag("scope", "", STRING),
    Flag("subnet", "", STRINGS, "subnet: 10.1.0.0/16"),
)
CONNECT_FLAGS = (
    Flag("alias", "", STRINGS, "further name on the network"),
    Flag("driver-opt", "", STRINGS, "option of the driver: NAME=VALUE"),
    Flag("ip", "", STRING, "IPv4 address"),
    Flag("ip6", "", STRING, "IPv6 address"),
    Flag("link", "", LIST, "link to another container: NAME[:ALIAS]"),
    Flag("link-local-ip", "", STRINGS, "link-local address"),
)


def _create(session: Session, values: Values) -> int:
    from orlop.cli.docker.run_values import key_values

    try:
        pools = ipam_pools(values)
    except ValueError as error:
        raise Failure(str(error)) from None
    source = values.text("config-from")
    body: Object = {
        "Name": values.words[0],
        "Driver": values.text("driver"),
        "Scope": values.text("scope"),
        "EnableIPv6": values.flag("ipv6"),
        "IPAM": {
            "Driver": values.text("ipam-driver"),
            "Options": key_values(values.many("ipam-opt")),
            "Config": pools,
        },
        "Internal": values.flag("internal"),
        "Attachable": values.flag("attachable"),
        "Ingress": values.flag("ingress"),
        "ConfigOnly": values.flag("config-only"),
        "ConfigFrom": {"Network": source} if source else None,
        "Options": key_values(values.many("opt")),
        "Labels": key_values(values.many("label")),
    }
    answer = as_object(session.post("/networks/create", body))
    print(answer.get("Id", ""))
    return 0


def ipam_pools(values: Values) -> list[Object]:
    """The API's IPAM configuration: each range, gateway and address in the subnet it lies in.

    Raises:
        ValueError: docker's text.
    """
    subnets, ranges, gateways = (values.many(n) for n in ("subnet", "ip-range", "gateway"))
    if len(subnets) < len(ranges) or len(subnets) < len(gateways):
        raise ValueError("every ip-range or gateway must have a corresponding subnet")
    import ipaddress

    networks: dict[str, Network] = {}
    for subnet in subnets if len(subnets) > 1 or ranges or gateways else ():
        try:
            network = ipaddress.ip_network(subnet, strict=False)
        except ValueError:
            raise ValueError(f"invalid CIDR address: {subnet}") from None
        if any(_overlap(network, other) for other in networks.values()):
            raise ValueError("multiple overlapping subnet configuration is not supported")
        networks[subnet] = network
    pools: dict[str, Object] = {subnet: {"Subnet": subnet} for subnet in subnets}
    named = [("IPRange", text, text.partition("/")[0], "range") for text in ranges]
    named += [("Gateway", text, text, "gateway") for text in gateways]
    for key, text, address, what in named:
        subnet = _subnet_of(networks, address)
        if not subnet:
            raise ValueError(f"no matching subnet for {what} {text}")
        if key in pools[subnet]:
            raise ValueError(
                f"cannot configure multiple {what}s ({text}, {pools[subnet][key]})"
                f" on the same subnet ({subnet})"
            )
        pools[subnet][key] = text
    for text in values.many("aux-address"):
        name, _, address = text.partition("=")
        subnet = _subnet_of(networks, address)
        if not subnet:
            raise ValueError(f"no matching subnet for aux-address {address}")
        addresses = pools[subnet].setdefault("AuxiliaryAddresses", {})
        assert isinstance(addresses, dict)
        addresses[name] = address
    return list(pools.values())


def _overlap(one: Network, other: Network) -> bool:
    first, last = (int(one.network_address), int(one.broadcast_address))
    start, end = (int(other.network_address), int(other.broadcast_address))
    return one.version == other.version and first <= end and start <= last


def _subnet_of(networks: Mapping[str, Network], address: str) -> str:
    import ipaddress

    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        raise ValueError(f"invalid ip address: {address}") from None
    return next((text for text, network in networks.items() if found in network), "")


def _connect(session: Session, values: Values) -> int:
    from orlop.cli.docker.run_values import key_values

    network, container = values.words
    ipam: Object = {"IPv4Address": values.text("ip"), "IPv6Address": values.text("ip6")}
    ipam = {name: value for name, value in ipam.items() if value}
    if values.given("link-local-ip"):
        ipam["LinkLocalIPs"] = values.many("link-local-ip")
    body: Object = {
        "Container": container,
        "EndpointConfig": {
            "IPAMConfig": ipam,
            "Links": values.many("link") or None,
            "Aliases": values.many("alias") or None,
            "DriverOpts": key_values(values.many("driver-opt")),
        },
    }
    session.post(f"/networks/{quote(network)}/connect", body)
    return 0


def _disconnect(session: Session, values: Values) -> int:
    network, container = values.words
    body: Object = {"Container": container, "Force": values.flag("force")}
    session.post(f"/networks/{quote(network)}/disconnect", body)
    return 0


def _remove(session: Session, values: Values) -> int:
    failed = []
    for name in values.words:
        try:
            session.delete(f"/networks/{quote(name)}")
        except NotFound as error:
            if not values.flag("force"):
                failed.append(error.message)
        except OrlopError as error:
            failed.append(error.message)
        else:
            print(name)
    if failed:
        say_failed(failed)
        raise Failure("")
    return 0


COMMANDS = {
    "network create": Command(_create, "[OPTIONS] NETWORK", CREATE_FLAGS, words=(1, 1)),
    "network connect": Command(
        _connect, "[OPTIONS] NETWORK CONTAINER", CONNECT_FLAGS, words=(2, 2)
    ),
    "network disconnect": Command(
        _disconnect,
        "[OPTIONS] NETWORK CONTAINER",
        (Flag("force", "f", BOOL, "also if the container is gone"),),
        words=(2, 2),
    ),
    "network rm": Command(
        _remove,
        "NETWORK [NETWORK...]",
        (Flag("force", "f", BOOL, "no error if there is no such network"),),
        words=(1, MANY),
    ),
}
