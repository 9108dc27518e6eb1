"""The machine configuration's keys: the one table that everything about them is made from.

The validator (`document`), JSON Schema (`json_schema`), documents and explanations (`manual`), and
what the `rancher:` tree of RancherOS means (`rancher`). A new key is one row here, and code that
acts on its value.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from orlop.wire.config import files, kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orlop.wire.compose_model import Json
    from orlop.wire.compose_values import Fields
    from orlop.wire.config.kinds import Kind

type Path = tuple[str, ...]

NAME = "NAME"
"""A segment of a key's path where any name may stand that `NAMES` allows there."""


EACH = "[]"
"""A segment that stands for each item of a list of maps."""


class Applies(StrEnum):
    """When a change of a value takes effect."""

    LIVE = "at once"
    SERVICE = "by a restart of its service"
    BOOT = "at the next boot"


@dataclass(frozen=True, slots=True)
class Key:
    """One row. *path* has `NAME` where any name may stand, `[]` after a list of maps."""

    path: str
    kind: Kind
    what: str
    example: str
    default: str = ""
    applies: Applies = Applies.LIVE
    secret: bool = False
    aliases: tuple[str, ...] = ()
    """Keys of RancherOS and cloud-init that mean the same."""

    @property
    def segments(self) -> Path:
        return tuple(self.path.replace(EACH, f".{EACH}").split("."))


_INTERFACE = "orlop.network.interfaces.NAME"
_REGISTRY = "orlop.engine.registries.NAME"
_RANCHER_INTERFACE = "rancher.network.interfaces.NAME"

KEYS: tuple[Key, ...] = (
    Key(
        "hostname",
        kinds.HOSTNAME,
        "Name of the machine.",
        "ship-1.example",
        default="by DHCP, else orlop",
    ),
    Key(
        "ssh_authorized_keys",
        kinds.SSH_KEYS,
        "Who may log in by SSH. Without any, nothing listens.",
        "[ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysrw6Kb0eIn0V0Q3e0XQ5l6yq9u3r0Yb5Zt me]",
        default="none",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].path",
        kinds.FILE_PATH,
        "A file that is written at each boot: below /var and /root on the machine, anywhere else "
        "in the consoles, or in the service that `container` names.",
        "/etc/motd",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].content",
        kinds.FILE_CONTENT,
        "What is in it.",
        "Welcome",
        default="nothing",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].encoding",
        kinds.FILE_ENCODING,
        "What `content` is written in.",
        "text/plain",
        default="text/plain",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].permissions",
        kinds.FILE_MODE,
        "Who may read, write and execute it.",
        '"0644"',
        default="0644",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].owner",
        kinds.FILE_OWNER,
        "Whom it belongs to.",
        "root:root",
        default="root",
        applies=Applies.SERVICE,
    ),
    Key(
        "write_files[].container",
        kinds.SERVICE,
        "The system service that sees it.",
        "syslog",
        default="the consoles",
        applies=Applies.SERVICE,
    ),
    Key(
        "bootcmd",
        kinds.COMMANDS,
        "Commands at each boot, before the user's engine starts.",
        "[sysctl -w kernel.printk=4, [mkdir, -p, /var/lib/app]]",
        default="none",
        applies=Applies.BOOT,
    ),
    Key(
        "runcmd",
        kinds.COMMANDS,
        "Commands after the user's engine has started, when `orlop.runcmd` says.",
        '[docker run --detach --restart=always --name=web httpd, [touch, "/root/done"]]',
        default="none",
        applies=Applies.BOOT,
    ),
    Key(
        "timezone",
        kinds.TIME_ZONE,
        "The time zone of the consoles, and of containers that have /etc/localtime mounted.",
        "Europe/Oslo",
        default="Etc/UTC",
    ),
    Key(
        "ca_certs.trusted",
        kinds.AUTHORITIES,
        "Whom the user's engine believes besides the system's authorities, as PEM.",
        '["-----BEGIN CERTIFICATE-----\\nMIIB…\\n-----END CERTIFICATE-----\\n"]',
        default="none",
        applies=Applies.SERVICE,
        aliases=("ca-certs.trusted",),
    ),
    Key(
        "swap.size",
        kinds.SWAP_SIZE,
        "How large a swap file is kept on the state partition.",
        "512m",
        default="0: none",
    ),
    Key(
        "mounts",
        kinds.MOUNTS,
        "File systems that are mounted below /mnt, in the consoles and for the user's engine: of "
        "a disk, `tmpfs`, or a directory of the machine (type none, option bind).",
        "[[LABEL=data, /mnt/data, ext4, noatime], [tmpfs, /mnt/fast, tmpfs, size=64m]]",
        default="none",
    ),
    Key(
        f"{_INTERFACE}.dhcp",
        kinds.BOOLEAN,
        "Whether the interface asks DHCP.",
        "false",
        default="true, false when it has addresses",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.dhcp",),
    ),
    Key(
        f"{_INTERFACE}.addresses",
        kinds.NETWORKS,
        "Static addresses, IPv4 and IPv6.",
        '[192.0.2.7/24, "2001:db8::7/64"]',
        default="none",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.address", f"{_RANCHER_INTERFACE}.addresses"),
    ),
    Key(
        f"{_INTERFACE}.gateway",
        kinds.IPV4_ADDRESS,
        "Default route, IPv4.",
        "192.0.2.1",
        default="by DHCP",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.gateway",),
    ),
    Key(
        f"{_INTERFACE}.gateway6",
        kinds.IPV6_ADDRESS,
        "Default route, IPv6.",
        '"fe80::1"',
        default="by router advertisements",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.gateway_ipv6",),
    ),
    Key(
        f"{_INTERFACE}.mtu",
        kinds.number(576, 65535),
        "Largest packet, in bytes.",
        "9000",
        default="by DHCP, else the driver's",
        applies=Applies.SERVICE,
        aliases=(f"{_RANCHER_INTERFACE}.mtu",),
    ),
    Key(
        "orlop.network.nameservers",
        kinds.ADDRESSES,
        "DNS servers; they replace those that DHCP names.",
        "[192.0.2.53]",
        default="by DHCP",
        applies=Applies.SERVICE,
        aliases=("rancher.network.dns.nameservers",),
    ),
    Key(
        "orlop.network.search",
        kinds.DOMAINS,
        "Domains searched for short names.",
        "[example]",
        default="by DHCP",
        applies=Applies.SERVICE,
        aliases=("rancher.network.dns.search",),
    ),
    Key(
        "orlop.time.servers",
        kinds.TIME_SERVERS,
        "NTP servers, with the key that authenticates them.",
        '[ntp.example, "192.0.2.1:1123 key 7"]',
        default="by DHCP, else a public pool",
        applies=Applies.SERVICE,
        aliases=("ntp.servers",),
    ),
    Key(
        "orlop.time.keys",
        kinds.TIME_KEYS,
        "Keys of NTP servers.",
        '["7 SHA256 HEX:00ff"]',
        default="none",
        applies=Applies.SERVICE,
        secret=True,
    ),
    Key(
        "orlop.time.pools",
        kinds.HOSTS,
        "Names that stand for several NTP servers.",
        "[pool.example]",
        default="by DHCP, else a public pool",
        applies=Applies.SERVICE,
        aliases=("ntp.pools",),
    ),
    Key(
        "orlop.syslog.remote",
        kinds.REMOTE,
        "Where messages are sent as well, in the form of RFC 5424.",
        "udp://192.0.2.9:514",
        default="nowhere",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.registry_mirrors",
        kinds.MIRRORS,
        "Registries that are asked first for images of Docker's own, in this order.",
        "[https://mirror.example]",
        default="none",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.insecure_registries",
        kinds.INSECURE_REGISTRIES,
        "Registries whose certificates are not checked, or that have none.",
        '["registry.example:5000", 10.0.0.0/8]',
        default="this machine's own addresses",
        applies=Applies.SERVICE,
    ),
    Key(
        "orlop.engine.search_registry",
        kinds.REGISTRY,
        "The registry that docker search asks.",
        "registry.example",
        default="Docker's own",
        applies=Applies.SERVICE,
    ),
    Key(
        f"{_REGISTRY}.authorities",
        kinds.CERTIFICATES,
        "Who signs the registry's certificate, as PEM.",
        '"-----BEGIN CERTIFICATE-----\\nMIIB…\\n-----END CERTIFICATE-----\\n"',
        default="those of the system",
        applies=Applies.SERVICE,
    ),
    Key(
        f"{_REGISTRY}.username",
        kinds.TEXT,
        "Who asks the registry when a client brings no credentials.",
        "reader",
        default="nobody",
        applies=Applies.SERVICE,
    ),
    Key(
        f"{_REGISTRY}.password",
        kinds.TEXT,
        "And the password.",
        "correct-horse",
        default="none",
        applies=Applies.SERVICE,
        secret=True,
    ),
    Key(
        "orlop.engine.http_proxy",
        kinds.PROXY,
        "Proxy for what the engine fetches by plain HTTP.",
        "http://proxy.example:3128",
        default="none",
        applies=Applies.SERVICE,
        aliases=("rancher.network.http_proxy",),
        secret=True,  # it may have a password in it
    ),
    Key(
        "orlop.engine.https_proxy",
        kinds.PROXY,
        "Proxy for what the engine fetches by HTTPS, registries foremost.",
        "http://proxy.example:3128",
        default="none",
        applies=Applies.SERVICE,
        aliases=("rancher.network.https_proxy",),
        secret=True,  # it may have a password in it
    ),
    Key(
        "orlop.engine.no_proxy",
        kinds.NO_PROXY,
        "Hosts and networks that are asked without a proxy.",
        "[.example, 10.0.0.0/8]",
        default="this machine alone",
        applies=Applies.SERVICE,
        aliases=("rancher.network.no_proxy",),
    ),
    Key(
        "orlop.runcmd",
        kinds.choice("instance", "boot", "once"),
        "When `runcmd` is run: once on each instance, at each boot, or once in the life of the "
        "state partition.",
        "boot",
        default="instance; boot in a document with a rancher tree",
        applies=Applies.BOOT,
    ),
    Key(
        "orlop.sysctl",
        kinds.SYSCTLS,
        "Settings of the kernel, below /proc/sys. One that is taken away gets its old value back.",
        "{vm.max_map_count: 262144}",
        default="the tuning table's",
        aliases=("rancher.sysctl",),
    ),
    Key(
        "orlop.modules",
        kinds.MODULES,
        "Modules of the kernel that are loaded.",
        "[nbd]",
        default="those of the hardware",
        aliases=("rancher.modules",),
    ),
    Key(
        "orlop.cloud.datasources",
        kinds.DATA_SOURCES,
        "Which data sources may configure the machine. An empty list: none.",
        "[nocloud, ec2]",
        default="those that the firmware, a disk or the kernel command line points to",
        aliases=("rancher.cloud_init.datasources",),
    ),
    Key(
        "orlop.services.NAME.enabled",
        kinds.BOOLEAN,
        "Whether a system service is started.",
        "false",
        default="true",
    ),
)

NAMES: Mapping[Path, tuple[re.Pattern[str], str]] = {
    ("orlop", "network", "interfaces"): (re.compile(r"[^\s/:%*+]{1,15}"), "an interface name"),
    ("orlop", "engine", "registries"): (
        re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"),
        "a registry, HOST or HOST:PORT",
    ),
    ("orlop", "services"): (kinds.SERVICE_NAME, "a service name"),
}
"""Where names may stand: their form, and what they are."""


RULES: Mapping[Path, Callable[[Fields, dict[str, Json]], dict[str, Json]]] = {
    ("write_files", EACH): files.finish,
}
"""What the rows below a list cannot say alone: the check of a whole item, in normal form."""


def find(path: Path) -> Key | None:
    """The row of the value at *path*, or None."""
    rows = (key for key in KEYS if len(key.segments) == len(path))
    return next((key for key in rows if fits(key.segments, path)), None)


def fits(pattern: Path, path: Path) -> bool:
    """Whether *path* is one of those that *pattern* stands for."""
    return len(pattern) == len(path) and all(
        want in (NAME, have) for want, have in zip(pattern, path, strict=True)
    )


def split_key(text: str) -> Path | None:
    """The path that a dotted key names, if it is that of a row or of a map around rows.

    A name within may have dots in it, as `eth0.100` has: the rows say where it ends.
    """
    words = text.split(".")
    for key in KEYS:
        count = len(key.segments)
        if key.kind.is_map and len(words) > count and fits(key.segments, tuple(words[:count])):
            return (*words[:count], ".".join(words[count:]))
    patterns = {key.segments[:length] for key in KEYS for length in range(1, len(key.segments) + 1)}
    for pattern in sorted(patterns, key=len, reverse=True):
        found = _match(pattern, words)
        if found is not None:
            return found
    return None


def _match(pattern: Path, words: list[str]) -> Path | None:
    """*words* as *pattern* has it, with those that a `NAME` spans in one."""
    if NAME not in pattern or pattern[-1] == NAME:
        return tuple(words) if fits(pattern, tuple(words)) else None
    before = pattern.index(NAME)
    end = len(words) - (len(pattern) - before - 1)
    found = (*words[:before], ".".join(words[before:end]), *words[end:])
    return found if end > before and fits(pattern, found) else None


SECRETS: tuple[Path, ...] = tuple(key.segments for key in KEYS if key.secret)
"""The paths of values that nobody is shown: patterns of `secrets`."""

AT_BOOT: tuple[str, ...] = tuple(key.path for key in KEYS if key.applies is Applies.BOOT)
"""The keys whose change takes effect at the next boot."""
