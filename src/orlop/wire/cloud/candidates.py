"""Which data sources are worth asking on this machine: what the firmware and the command line say.

Nothing is asked that is not plausible: a machine of one's own neither waits for a cloud nor lets
somebody on its network be one. PID 1 loads this where something points to a source.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.wire.cloud import firmware
from orlop.wire.cloud.values import dig

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

DISK_SOURCES = ("nocloud", "configdrive")
NETWORK_SOURCES = (
    *("azure", "digitalocean", "ec2", "gce", "hetzner", "nocloud-net", "openstack", "url"),
    *("vmware", "vultr"),
)
LOCAL_SOURCES = ("firmware", "cmdline")
SOURCES = tuple(sorted({*DISK_SOURCES, *NETWORK_SOURCES, *LOCAL_SOURCES} - {"nocloud-net"}))
"""What `orlop.cloud.datasources` may name; `proxmox` is another name of `nocloud`."""

AUTOMATIC, NONE = "auto", "none"
ALIASES = {"proxmox": "nocloud", "*": AUTOMATIC}
UNSUPPORTED = ("aliyun", "cloudstack", "exoscale", "file", "packet", "tftp")
"""Sources of RancherOS that are not here. To name one is no mistake, it just never answers."""

_SEED_KEYS = {"s": "seedfrom", "h": "local-hostname", "i": "instance-id"}


@dataclass(frozen=True, slots=True)
class Candidates:
    """*network* names the sources that the cloud service has to ask; *seed* and *url* where."""

    network: tuple[str, ...] = ()
    seed: Mapping[str, str] = field(default_factory=dict)
    url: str = ""


def parse_names(items: Iterable[str]) -> tuple[tuple[str, ...], str]:
    """The sources that *items* name, and a URL if one is `url:URL`.

    `auto` alone gives `("auto",)`, `none` gives nothing.

    Raises:
        ValueError: one is unknown; the text says which there are.
    """
    found: list[str] = []
    url = ""
    for item in items:
        name = item.strip().strip("'\"")
        if name.startswith("url:"):
            name, url = "url", name.removeprefix("url:")
            if not url.startswith(("http://", "https://")):
                raise ValueError("the URL of a data source must be http:// or https://")
        elif ":" in name:
            name = name.partition(":")[0]  # RancherOS names a place, which we find by the label
        name = ALIASES.get(name, name)
        if name in ("", NONE, *UNSUPPORTED):
            continue
        if name not in SOURCES and name != AUTOMATIC:
            raise ValueError(f"{name!r} is no data source; there are {', '.join(SOURCES)}")
        found.append(name)
    return tuple(dict.fromkeys(found)), url


def wanted_names(config: object) -> tuple[tuple[str, ...], str]:
    """What `orlop.cloud.datasources` in *config* says, as `parse_names`; without it: automatic."""
    value = dig(config, "orlop", "cloud", "datasources")
    return parse_names(map(str, value)) if isinstance(value, list) else ((AUTOMATIC,), "")


def kernel_seed(parameters: Iterable[tuple[str, str | None]], serial: str) -> dict[str, str]:
    """What `ds=nocloud;s=URL;h=NAME;i=ID` says, on the command line or else as the serial."""
    texts = [value or "" for key, value in parameters if key == "ds"]
    if serial.startswith("ds="):
        texts.append(serial.removeprefix("ds="))
    for text in texts:
        # Boot loaders want the semicolon escaped, and not all of them take the escape away.
        kind, *rest = text.replace("\\;", ";").split(";")
        if kind not in ("nocloud", "nocloud-net"):
            continue
        pairs = (item.partition("=") for item in rest)
        return {_SEED_KEYS.get(key, key): value for key, _, value in pairs if value}
    return {}


def choose(
    dmi: Mapping[str, str],
    parameters: Iterable[tuple[str, str | None]],
    wanted: tuple[str, ...] = (AUTOMATIC,),
    url: str = "",
) -> Candidates:
    """The sources to ask over the network; *wanted* names some, or leaves it to the machine."""
    parameters = list(parameters)
    for key, value in parameters:
        if key in ("orlop.config.url", "cloud-config-url") and value:
            url = value
    seed = kernel_seed(parameters, dmi.get("product_serial", ""))
    plausible = set(firmware.plausible(dmi))
    if seed.get("seedfrom"):
        plausible.add("nocloud-net")
    if url:
        plausible.add("url")
    if AUTOMATIC not in wanted:
        named = {"nocloud-net" if name == "nocloud" else name for name in wanted}
        has_place = {"nocloud-net": bool(seed.get("seedfrom")), "url": bool(url)}
        plausible = {name for name in named if has_place.get(name, True)}
    network = tuple(name for name in NETWORK_SOURCES if name in plausible)
    return Candidates(network, seed, url if "url" in network else "")


def allows(wanted: tuple[str, ...], source: str) -> bool:
    """Whether *wanted* lets the answer of *source* count."""
    return AUTOMATIC in wanted or source.removesuffix("-net") in wanted
