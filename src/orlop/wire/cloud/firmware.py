"""Clouds by what their machines' firmware says. PID 1 has this loaded on every machine: a table.

Source: cloud-init's tools/ds-identify, and the providers' documents.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RULES = {
    "azure": (("chassis_asset_tag", "7783-7084-3265-9085-8269-3286-77"),),
    "digitalocean": (("sys_vendor", "digitalocean"),),
    # Instances on Xen have no vendor of their own, but a serial number like ec2e1916-...
    "ec2": (("sys_vendor", "amazon ec2"), ("bios_vendor", "amazon ec2"), ("product_serial", "ec2")),
    "gce": (("product_name", "google compute engine"), ("product_serial", "googlecloud-")),
    "hetzner": (("sys_vendor", "hetzner"),),
    "openstack": (
        *(("product_name", "openstack nova"), ("product_name", "openstack compute")),
        *(("chassis_asset_tag", "openstack nova"), ("chassis_asset_tag", "openstack compute")),
        *(("chassis_asset_tag", "opentelekomcloud"), ("chassis_asset_tag", "sap ccloud vm")),
        *(("chassis_asset_tag", "huaweicloud"), ("chassis_asset_tag", "samsung cloud platform")),
    ),
    "vmware": (("sys_vendor", "vmware"),),
    "vultr": (("sys_vendor", "vultr"),),
}
"""For each source what one of the keys must begin with, in lower case."""

KEYS = ("sys_vendor", "product_name", "product_serial", "product_uuid", "bios_vendor",
        "chassis_asset_tag")  # fmt: skip
"""The keys that are read, as the kernel calls them below /sys/class/dmi/id."""

NOCLOUD = "ds=nocloud"
"""What the serial number begins with when it says where NoCloud's files are."""


def plausible(dmi: Mapping[str, str]) -> list[str]:
    """The sources that a machine with such firmware may have."""
    return [
        source
        for source, rules in RULES.items()
        if any(dmi.get(key, "").lower().startswith(start) for key, start in rules)
    ]
