"""Keys of the system services, the time and the messages."""

from __future__ import annotations

from orlop.wire.config import environment, kinds, kinds_services
from orlop.wire.config.row import Applies, Key

KEYS: tuple[Key, ...] = (
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
        "orlop.services.NAME.enabled",
        kinds.BOOLEAN,
        "Whether a system service is started. One that is not there is fetched from the catalogue.",
        "false",
        default="true",
        aliases=("rancher.services_include.NAME",),
    ),
    Key(
        "orlop.services.NAME.definition",
        kinds_services.DEFINITION,
        "A service, in the words of a Compose file.",
        "{image: 'registry.example/web:1'}",
        default="none",
    ),
    Key(
        "orlop.services.NAME.rancher",
        kinds_services.RANCHER,
        "A service as RancherOS describes it, with what it had there.",
        "{image: 'registry.example/web:1'}",
        default="none",
        aliases=("rancher.services.NAME",),
    ),
    Key(
        "orlop.catalogue",
        kinds_services.CATALOGUE,
        "Where services, consoles and engines are offered: the directory of an index.json.",
        "https://catalogue.example/orlop",
        default="none",
    ),
    Key(
        "orlop.environment",
        environment.ENVIRONMENT,
        "Values of variables that services name in `environment` without one; for one service as "
        "SERVICE/NAME.",
        "{TOKEN: a1b2}",
        default="none",
        aliases=("rancher.environment",),
        secret=True,  # that is what they are there for
    ),
)
