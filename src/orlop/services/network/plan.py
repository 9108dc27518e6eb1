"""From the machine's network configuration to what dhcpcd and its hook read.

Pure: settings in, file contents out. What is not configured gets addresses by itself: DHCPv4,
router advertisements, and DHCPv6 where a router says so. What is static is not dhcpcd's business:
it is told to leave it alone.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from orlop.services.settings import list_setting, text_setting

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from orlop.services.network.model import Wanted, WantedLink

HOOK_PATH = "/usr/lib/orlop/network-hook"

IGNORED_INTERFACES = (
    *("lo", "veth*", "br-*", "docker*", "cni*", "virbr*", "vnet*", "tap*", "tun*", "wg*", "ifb*"),
    *("dummy*", "bond*", "team*", "wl*", "ww*", "sit*", "gre*", "ip6tnl*", "vxlan*", "flannel*"),
)
"""Patterns of interfaces that are not a cable: containers' ends, bridges, tunnels, radio."""

_INTERFACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,14}")
_ADDRESS = re.compile(r"[0-9A-Fa-f.:]{2,45}")
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
# Nothing waits: no random delay, and below no probing before an address is used.
nodelay
option rapid_commit
option domain_name_servers, domain_name, domain_search, host_name
option classless_static_routes, interface_mtu, ntp_servers
require dhcp_server_identifier
slaac private
"""


_NO_LINK_LOCAL = ("noarp", "noipv4ll")
"""One needs the other, and what is switched off for all cannot be switched on for one."""


class Plan(NamedTuple):
    """Files below the service's own directory, by relative path."""

    files: Mapping[str, str]


def plan(
    settings: Mapping[str, object],
    wanted: Wanted | None = None,
    present: Collection[str] = (),
    others: Collection[str] = (),
) -> Plan:
    """The files for *settings* (`orlop.network` of the configuration, and `hostname`).

    *wanted* is what they mean on this machine, None where nothing is configured. *present* are the
    interfaces that are there, *others* those of them that are no cards.
    """
    handled = {
        name: link
        for name, link in sorted(wanted.links.items() if wanted is not None else ())
        if link.kind != "wireguard" and name != "lo" and _INTERFACE.fullmatch(name)
    }
    link_local = any(link.automatic.ipv4ll for link in handled.values())
    parts = [GLOBAL_OPTIONS]
    if not link_local:
        parts += [f"{line}\n" for line in _NO_LINK_LOCAL]
    denied = _denied(handled, others)
    parts.append(f"denyinterfaces {' '.join(denied)}\n")
    for number, (name, link) in enumerate(handled.items()):
        lines = [f"interface {name}", *_block(link)]
        if link.master:
            lines.append(f"iaid {number}")  # members of a bond have one hardware address
        if link_local and not link.automatic.ipv4ll:
            lines += _NO_LINK_LOCAL
        parts += [f"{line}\n" for line in lines]
    if link_local:
        parts += [
            f"interface {name}\n" + "".join(f"{line}\n" for line in _NO_LINK_LOCAL)
            for name in present
            if name not in handled and not any(fnmatchcase(name, one) for one in denied)
        ]
    files = {"dhcpcd.conf": "".join(parts), "configured-dns": _dns_lines(settings)}
    files |= {f"static/{name}": "" for name, link in handled.items() if link.addresses}
    files["awaited"] = "".join(f"{name}\n" for name in handled if _is_awaited(handled[name]))
    if settings.get("interfaces"):
        files["configured"] = ""
    if text_setting(settings, "hostname"):
        files["hostname-configured"] = ""
    return Plan(files)


def _denied(handled: Collection[str], others: Collection[str]) -> list[str]:
    """Patterns of what dhcpcd is to leave alone, but for *handled*; *others* by their names."""
    patterns = [
        pattern
        for pattern in IGNORED_INTERFACES
        if not any(fnmatchcase(name, pattern) for name in handled)
    ]
    strangers = [name for name in sorted(others) if name not in handled]
    return patterns + [
        name for name in strangers if not any(fnmatchcase(name, one) for one in patterns)
    ]


def _is_awaited(link: WantedLink) -> bool:
    asks = link.automatic.any or bool(link.addresses)
    return asks and not link.optional and not link.master


def _block(link: WantedLink) -> list[str]:
    asks = link.automatic
    if link.master:
        return ["noipv4", "noipv6"]
    lines = []
    if not asks.dhcp:
        lines.append("nodhcp" if asks.ipv4ll else "noipv4")
    if not asks.ra:
        lines.append("noipv6rs")
    if not asks.dhcp6:
        lines.append("nodhcp6")
    elif not asks.ra:
        lines.append("ia_na")
    if link.metric and asks.any:
        lines.append(f"metric {link.metric}")
    return lines


def _dns_lines(settings: Mapping[str, object]) -> str:
    """Configured servers replace those that the network tells, and so do configured domains."""
    servers = [item for item in list_setting(settings, "nameservers") if _ADDRESS.fullmatch(item)]
    domains = [item for item in list_setting(settings, "search") if _DOMAIN.fullmatch(item)]
    lines = [*(f"nameserver {item}" for item in servers), *(f"search {item}" for item in domains)]
    return "".join(f"{line}\n" for line in lines)
