"""What documents of cloud-init and RancherOS ask for and get without anybody doing anything.

Such a value is no reason to refuse a document, or to warn that something was ignored. Another value
of the same key is: see `LEFT_OUT` in `rancher`. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENGLISH = ("C", "C.UTF-8", "POSIX", "en_US", "en_US.UTF-8", "en_US.utf8", "en_GB.UTF-8")

SAME: Mapping[str, tuple[object, ...]] = {
    "allow_public_ssh_keys": (True,),
    "apt_pipelining": (False, "none", "os"),
    "byobu_by_default": ("disable", "disable-user", "disable-system"),
    "create_hostname_file": (True,),
    "expire": (False,),
    "locale": _ENGLISH,
    "manage_etc_hosts": (True, "localhost", "template"),
    "manage_resolv_conf": (True,),
    "no_ssh_fingerprints": (True,),
    "package_reboot_if_required": (False,),
    "package_update": (False,),
    "package_upgrade": (False,),
    "packages": ([],),
    "preserve_hostname": (False,),
    "ssh_deletekeys": (True, False),
    "ssh_genkeytypes": (["ed25519"],),
    "ssh_quiet_keygen": (True,),
    "rancher.defaults": ({},),
    "rancher.disable": ([], ["password"]),
    "rancher.force_console_rebuild": (True,),
    "rancher.no_sharedroot": (True,),
    "rancher.docker.live_restore": (True,),
    "rancher.docker.selinux_enabled": (False,),
    "rancher.docker.storage_driver": ("overlay", "overlay2"),
    "rancher.docker.group": ("docker",),
    "rancher.docker.host": (["unix:///var/run/docker.sock"],),
    "rancher.system_docker.storage_driver": ("overlay", "overlay2"),
    "rancher.bootstrap_docker.storage_driver": ("overlay", "overlay2"),
    "rancher.docker.userland_proxy": (False,),
    "rancher.docker.restart": (True,),
    "rancher.hypervisor_service": (False,),
    "rancher.log": (False,),
    "rancher.recovery": (False,),
    "rancher.rm_usr": (False,),
    "rancher.preload_wait": (False,),
}
"""Values that are so on every machine; lists are compared as a whole."""


ELSEWHERE = frozenset(
    form.format(kind)
    for kind in ("ed25519", "ecdsa", "rsa")
    for form in ("ssh_keys.{}_public", "rancher.ssh.keys.{}-pub")
)
"""Keys that say again what another of the document says: a private key has the public one in it."""


def is_so(path: tuple[str, ...], value: object) -> bool:
    """Whether *value* at *path* says what is so in any case."""
    if ".".join(path) in ELSEWHERE:
        return True
    known = SAME.get(".".join(path), ())
    return any(type(value) is type(one) and value == one for one in known)
