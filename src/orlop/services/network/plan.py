"""From the machine's network configuration to what dhcpcd and its hook read.

Pure: settings in, file contents out. What is not configured gets addresses by itself: DHCPv4,
router advertisements, and DHCPv6 where a router says so. Configured addresses are set by the hook
with `ip`, because dhcpcd knows one static address per interface and our interfaces may have
several, and because the hook runs at the right moments, also for an interface that appears late.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from orlop.services.settings import integer_setting, list_setting, map_setting, text_setting

HOOK_PATH = "/usr/lib/orlop/network-hook"

IGNORED_INTERFACES = (
    *("lo", "veth*", "br-*", "docker*", "cni*", "virbr*", "vnet*", "tap*", "tun*", "wg*", "ifb*"),
    *("dummy*", "bond*", "team*", "wl*", "ww*", "sit*", "gre*", "ip6tnl*", "vxlan*", "flannel*"),
)
"""Patterns of interfaces that are not a cable: containers' ends, bridges, tunnels, radio."""

_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")
_CIDR = re.compile(r"[0-9A-Fa-f.:]{2,45}/\d{1,3}")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")

GLOBAL_OPTIONS = f"""\
# Written at each start of the network service; changes are lost.
script {HOOK_PATH}
# The server is told the machine's name, and knows the machine by its hardware address: a machine
# without a disk must get the same address after each boot.
hostname
clientid
duid ll
vendorclassid
# Addresses stay when this program is restarted: nothing else on the machine notices.
persistent
# Nothing waits: no random delay, no probing before an address is used, no link-local address of
# IPv4.
nodelay
noarp
noipv4ll
option rapid_commit
option domain_name_servers, domain_name, domain_search, host_name
option classless_static_routes, interface_mtu, ntp_servers
require dhcp_server_identifier
slaac private
"""


class Plan(NamedTuple):
    """Files below the service's own directory, by relative path."""

    files: Mapping[str, str]


def plan(settings: Mapping[str, object]) -> Plan:
    """The files for *settings* (`orlop.network` of the configuration, and `hostname`)."""
    interfaces = map_setting(settings, "interfaces")
    parts = [GLOBAL_OPTIONS, f"denyinterfaces {' '.join(IGNORED_INTERFACES)}\n"]
    files: dict[str, str] = {}
    for name in sorted(interfaces):
        if _INTERFACE.fullmatch(name) is None:
            continue
        interface = map_setting(interfaces, name)
        automatic = interface.get("dhcp", not list_setting(interface, "addresses")) is not False
        parts.append(_interface_block(name, automatic))
        static = _static_lines(interface, automatic)
        if static:
            files[f"static/{name}"] = "".join(f"{line}\n" for line in static)
    files["dhcpcd.conf"] = "".join(parts)
    files["configured-dns"] = _dns_lines(settings)
    if text_setting(settings, "hostname"):
        files["hostname-configured"] = ""
    return Plan(files)


def _interface_block(name: str, automatic: bool) -> str:
    if automatic:
        return f"interface {name}\n"
    return f"interface {name}\nnoipv4\nnoipv6rs\nnodhcp6\n"


def _static_lines(interface: Mapping[str, object], automatic: bool) -> list[str]:
    lines = [] if automatic else ["only"]
    mtu = integer_setting(interface, "mtu", 0)
    if mtu:
        lines.append(f"mtu {mtu}")
    lines += [
        f"address {item}" for item in list_setting(interface, "addresses") if _CIDR.fullmatch(item)
    ]
    for key in ("gateway", "gateway6"):
        gateway = text_setting(interface, key)
        if _ADDRESS.fullmatch(gateway):
            lines.append(f"gateway {gateway}")
    return lines


def _dns_lines(settings: Mapping[str, object]) -> str:
    """Configured servers replace those that the network tells, and so do configured domains."""
    servers = [item for item in list_setting(settings, "nameservers") if _ADDRESS.fullmatch(item)]
    domains = [item for item in list_setting(settings, "search") if _DOMAIN.fullmatch(item)]
    lines = [*(f"nameserver {item}" for item in servers), *(f"search {item}" for item in domains)]
    return "".join(f"{line}\n" for line in lines)
