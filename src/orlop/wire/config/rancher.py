"""What RancherOS and cloud-init call things: aliases of our keys, and what is left out and why.

A `rancher:` tree is read as if it said the same with our keys, and each key gets a notice that
names ours. What has no equal here is left out with a notice that says why: a machine that comes
with such a document boots with the rest of it. Pure.

Sources: RancherOS 1.5.8 config/types.go; cloud-init 25 config modules.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_values import Fields, kind_of, nearest
from orlop.wire.config.as_is import is_so
from orlop.wire.config.partly import copy_lines, registry_account, tell_unread, trim
from orlop.wire.config.rancher_forms import FORMS, Moved, rename_containers
from orlop.wire.config.table import KEYS, NAME, NAMES, find, fits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orlop.wire.config.rancher_forms import Parts
    from orlop.wire.config.table import Key, Path
    from orlop.wire.located_yaml import LocatedYaml

ROOT = "rancher"


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a person should know about a document that is in force. *text* begins with its
    place; *ignored* says that what it is about counts for nothing."""

    text: str
    ignored: bool


_PARAMETER = "is a kernel parameter here: "
_SERVICES = "system services are described in files of /var/lib/orlop/services"
_ENGINE = "the engines are part of the image, and run with the image's settings"
_LAYERS = "layers are mounted as they are, with overlayfs"
_RELEASES = "releases come from orlop.update.source; those of RancherOS are none of this system"
_NO_SHELL = "what has to run is a service or a container"
_NO_DSA = "SSH knows no keys of type dsa any more"
_NO_PACKAGES = "there is no package manager; software comes in containers"
_MODULES = "cloud-init is not part of this system"

LEFT_OUT: Mapping[str, str] = {
    "rancher.autologin": "the console asks for a password only when somebody has one",
    "rancher.bootstrap": _SERVICES,
    "rancher.bootstrap_docker.NAME": _ENGINE,
    "rancher.cloud_init_services": _SERVICES,
    "rancher.defaults": "defaults are the image's",
    "rancher.disable": "who has no password needs none disabled",
    "rancher.docker.bridge": "the default bridge is orlop0",
    "rancher.docker.config_file": "settings of daemon.json are keys of orlop.engine",
    "rancher.docker.containerd": _ENGINE,
    "rancher.docker.exec": _ENGINE,
    "rancher.docker.exec_root": _ENGINE,
    "rancher.docker.graph": "images and containers are on the state partition",
    "rancher.docker.group": "the socket belongs to root, and to the group docker",
    "rancher.docker.host": "the API is at /run/docker.sock, and over SSH",
    "rancher.docker.live_restore": "containers go on in any case while the engine is replaced",
    "rancher.docker.pid_file": _ENGINE,
    "rancher.docker.restart": "containers' restart policies hold",
    "rancher.docker.selinux_enabled": "there is no SELinux",
    "rancher.docker.storage_context": "images and containers are on the state partition",
    "rancher.docker.storage_driver": _LAYERS,
    "rancher.docker.userland_proxy": "ports are published by the kernel",
    "rancher.force_console_rebuild": "the console is made anew at each boot",
    "rancher.http_load_retries": "nothing is loaded over HTTP at boot",
    "rancher.hypervisor_service": "guest agents are services of the catalogue",
    "rancher.log": f"{_PARAMETER}orlop.debug",
    "rancher.network.interfaces.NAME.dhcp_args": "dhcpcd has its arguments from the image",
    "rancher.network.interfaces.NAME.wifi_network": "wireless networks are not supported",
    "rancher.network.modem_networks": "mobile networks are not supported",
    "rancher.network.wifi_networks": "wireless networks are not supported",
    "rancher.no_sharedroot": "mounts of the system are not shared with containers",
    "rancher.preload_wait": "the engine answers when what is preloaded is there",
    "rancher.recovery": f"{_PARAMETER}orlop.recovery",
    "rancher.repositories": "catalogues have another form here; see orlop.catalogue",
    "rancher.restart_services": "services are restarted when their configuration changes",
    "rancher.rm_usr": "the system is read-only and never copied",
    "rancher.ssh.keys.dsa": _NO_DSA,
    "rancher.ssh.keys.dsa-pub": _NO_DSA,
    "rancher.state": f"{_PARAMETER}orlop.state, and the label ORLOP_STATE",
    "rancher.bootstrap_docker.storage_driver": _LAYERS,
    "rancher.system_docker.storage_driver": _LAYERS,
    "rancher.system_docker.NAME": _ENGINE,
    "rancher.upgrade.image": _RELEASES,
    "rancher.upgrade.rollback": "it is `orlop os rollback`, and happens by itself",
    "rancher.upgrade.url": _RELEASES,
    "allow_public_ssh_keys": "see ssh_authorized_keys",
    "ansible": _NO_SHELL,
    "apk_repos": _NO_PACKAGES,
    "apt": _NO_PACKAGES,
    "apt_pipelining": _NO_PACKAGES,
    "authkey_hash": "fingerprints are not shown",
    "autoinstall": "is for another installer",
    "byobu_by_default": _NO_PACKAGES,
    "ca-certs.remove-defaults": "the system's authorities stay",
    "ca-certs.remove_defaults": "the system's authorities stay",
    "chef": _NO_SHELL,
    "chpasswd": "see users[].hashed_passwd",
    "cloud_config_modules": _MODULES,
    "cloud_final_modules": _MODULES,
    "cloud_init_modules": _MODULES,
    "create_hostname_file": "/etc/hostname is always the machine's own",
    "datasource": "see orlop.cloud",
    "datasource_list": "see orlop.cloud.datasources",
    "device_aliases": "disks are not partitioned by the configuration",
    "disk_setup": "disks are not partitioned by the configuration",
    "expire": "passwords do not expire",
    "fan": _NO_SHELL,
    "fs_setup": "disks are not formatted by the configuration",
    "growpart.devices": "it is the state partition that grows",
    "growpart.ignore_growroot_disabled": "see orlop.state.grow.partition",
    "grub_dpkg": _NO_PACKAGES,
    "keyboard": "the console has the keyboard of the kernel",
    "landscape": _NO_SHELL,
    "locale": "messages are in English, texts in UTF-8",
    "lxd": _NO_SHELL,
    "manage_etc_hosts": "/etc/hosts is always the machine's own",
    "manage_resolv_conf": "see orlop.network.nameservers",
    "mcollective": _NO_SHELL,
    "merge_how": "maps merge, and KEY+ adds to a list",
    "merge_type": "maps merge, and KEY+ adds to a list",
    "mount_default_fields": "each entry of mounts says all of it",
    "network": "see orlop.network",
    "no_ssh_fingerprints": "fingerprints are not shown",
    "output": "see `orlop logs`",
    "package_reboot_if_required": _NO_PACKAGES,
    "package_update": _NO_PACKAGES,
    "package_upgrade": _NO_PACKAGES,
    "packages": _NO_PACKAGES,
    "preserve_hostname": "the host name is what `hostname` says",
    "puppet": _NO_SHELL,
    "random_seed": "the kernel has its own",
    "resolv_conf.domain": "see orlop.network.search",
    "resolv_conf.options": "programs have the resolver's own defaults",
    "resolv_conf.sortlist": "programs have the resolver's own defaults",
    "rh_subscription": _NO_PACKAGES,
    "rsyslog": "see orlop.syslog.remote",
    "salt_minion": _NO_SHELL,
    "snap": _NO_PACKAGES,
    "spacewalk": _NO_PACKAGES,
    "ssh": "is not supported",
    "ssh_deletekeys": "host keys are made once, by the machine",
    "ssh_fp_console_blacklist": "fingerprints are not shown",
    "ssh_genkeytypes": "the host key is of type ed25519",
    "ssh_import_id": "keys are not fetched at boot; see orlop.ssh.authorized_keys_url",
    "ssh_key_console_blacklist": "host keys are not shown",
    "ssh_keys.dsa_private": _NO_DSA,
    "ssh_keys.dsa_public": _NO_DSA,
    "ssh_publish_hostkeys": "host keys are not sent anywhere",
    "ssh_quiet_keygen": "host keys are made once, by the machine",
    "system_info": "the system is what it is",
    "ubuntu_advantage": _NO_PACKAGES,
    "ubuntu_pro": _NO_PACKAGES,
    "updates": "devices that come later get what is configured",
    "user": "see users",
    "vendor_data": "is not supported",
    "wireguard": "see orlop.network.interfaces.NAME.wireguard",
    "yum_repos": _NO_PACKAGES,
    "zypper": _NO_PACKAGES,
}
"""Keys that others have, with what is below them, and why they are left out."""

_SWITCHES: Mapping[Path, Path] = {
    ("rancher", "ssh", "daemon"): ("orlop", "services", "ssh", "enabled"),
    ("ntp", "enabled"): ("orlop", "services", "time", "enabled"),
}
"""What switches a service on or off elsewhere, and here."""

_REGISTRY_AUTHS = ("rancher", "registry_auths")

_LEFT_OUT = {tuple(key.split(".")): why for key, why in LEFT_OUT.items()}
_ALIASES: dict[Path, Key] = {tuple(alias.split(".")): key for key in KEYS for alias in key.aliases}


KNOWN: frozenset[Path] = frozenset((*_ALIASES, *FORMS, *_SWITCHES, _REGISTRY_AUTHS))
"""What others have that means something here."""

FOREIGN = frozenset(path[0] for path in (*_LEFT_OUT, *_ALIASES))
"""Top-level keys that are not ours."""


def translate(document: LocatedYaml) -> tuple[LocatedYaml, tuple[Notice, ...]]:
    """*document*, whose data is a map, with our keys only, and what was made of the others.

    Raises:
        InvalidArgument: one value is given twice, under both names.
    """
    if not isinstance(document.data, dict):
        return document, ()
    own = {key.segments[0] for key in KEYS}
    foreign = [name for name in document.data if name in FOREIGN - own]
    translation = _Translation(document)
    for name in foreign:
        translation.take((name,), document.data[name])
    if foreign:
        document = translation.result(foreign)
    if ROOT in foreign and isinstance(document.data, dict) and "runcmd" in document.data:
        translation.run_at_each_boot(document)
    document = rename_containers(document, translation.rename)
    tell_unread(document, translation.rename)
    return trim(document, translation.leave_out), tuple(translation.notices)


class _Translation:
    def __init__(self, document: LocatedYaml) -> None:
        self.notices: list[Notice] = []
        self._document = document
        self._moved: list[tuple[Path, Path, object]] = []

    def take(self, path: Path, value: object) -> None:
        """Note what becomes of *value* at *path*, and of what is in it."""
        if is_so(path, value):
            self._tell(path, "is so on this system", ignored=False)
            return
        if path in _SWITCHES:
            self._move(path, _SWITCHES[path], value)
            return
        if path[:-1] == _REGISTRY_AUTHS:
            self._take_registry(path, value)
            return
        form = next((make for pattern, make in FORMS.items() if fits(pattern, path)), None)
        if form is not None:
            self._take_parts(path, form(path, value))
            return
        alias = next((pattern for pattern in _ALIASES if fits(pattern, path)), None)
        if alias is not None:
            self._move_named(path, alias, _ALIASES[alias], value)
            return
        why = next((why for pattern, why in _LEFT_OUT.items() if fits(pattern, path)), "")
        if why:
            self.leave_out(path, why)
        elif _is_branch(path):
            self._take_branch(path, value)
        else:
            guess = nearest(path[-1], sorted({known[len(path) - 1] for known in _siblings(path)}))
            self.leave_out(path, "unknown key" + (f" (did you mean {guess}?)" if guess else ""))

    def _take_branch(self, path: Path, value: object) -> None:
        if isinstance(value, dict):
            for name, inner in value.items():
                self.take((*path, name), inner)
        elif value is not None:
            self.leave_out(path, f"must be a map, not {kind_of(value)}")

    def _take_registry(self, path: Path, entry: object) -> None:
        """The account at one registry, as user name and password or both in base64."""
        try:
            host, account = registry_account(path[-1], entry)
        except ValueError as error:
            self.leave_out(path, str(error))
            return
        for key, value in account.items():
            self._move(path, ("orlop", "engine", "registries", host, key), value)

    def _take_parts(self, path: Path, parts: Parts) -> None:
        for part in parts:
            if isinstance(part, Moved):
                self._move(path, part.target, part.value)
            elif part.ignored:
                self.leave_out(path, part.text)
            else:
                self.rename(path, part.text)

    def _move(self, path: Path, target: Path, value: object) -> None:
        """Under our name, if it is right: a document for another system is not to fail here."""
        key = find(target)
        try:
            if key is not None and value is not None:
                key.kind.check(Fields("", {target[-1]: value}), target[-1])
        except InvalidArgument as error:
            self.leave_out(path, error.message.partition(": ")[2])
            return
        self._moved.append((path, target, value))
        self._tell(path, f"is called {'.'.join(target)} here", ignored=False)

    def _move_named(self, path: Path, pattern: Path, key: Key, value: object) -> None:
        target = list(key.segments)
        for want, have in zip(pattern, path, strict=True):
            if want == NAME:
                target[target.index(NAME)] = have
        for place, (form, what) in NAMES.items():
            name = target[len(place)] if tuple(target[: len(place)]) == place else None
            if name is not None and form.fullmatch(name) is None:
                self.leave_out(path, f"{name!r} is not {what}; others are not supported yet")
                return
        self._move(path, tuple(target), value)

    def leave_out(self, path: Path, why: str) -> None:
        """What is at *path* counts for nothing."""
        self._tell(path, f"{why}, ignoring", ignored=True)

    def rename(self, path: Path, what: str) -> None:
        """What is at *path* is called otherwise."""
        self._tell(path, what, ignored=False)

    def _tell(self, path: Path, what: str, *, ignored: bool) -> None:
        place = self._document.locate(path)
        self.notices.append(Notice(f"{place}configuration: {'.'.join(path)}: {what}", ignored))

    def run_at_each_boot(self, document: LocatedYaml) -> None:
        """RancherOS knew no other `runcmd`, and cloud-init no such one."""
        assert isinstance(document.data, dict)
        own = document.data.get("orlop") or {}
        if isinstance(own, dict) and "runcmd" not in own:
            document.data["orlop"] = {**own, "runcmd": "boot"}
            self._tell(
                ("runcmd",), "is run at each boot, as orlop.runcmd: boot says", ignored=False
            )

    def result(self, foreign: list[str]) -> LocatedYaml:
        """The document with what was moved in its new place, and without the rest."""
        document = self._document
        assert isinstance(document.data, dict)
        data = {name: value for name, value in document.data.items() if name not in foreign}
        lines = dict(document.lines)
        for path, target, value in self._moved:
            self._put(data, path, target, value)
            copy_lines(document.lines, lines, path, target, value)
        return replace(document, data=data, lines=lines)

    def _put(self, data: dict[str, object], path: Path, target: Path, value: object) -> None:
        inner = data
        for name in target[:-1]:
            # A copy: an alias of YAML may have made this one map of two keys.
            below = inner.get(name)
            if below is not None and not isinstance(below, dict):
                return  # the check says what is wrong with it
            inner[name] = inner = dict(below or {})
        present = inner.get(target[-1])
        if present is None:
            inner[target[-1]] = value
        elif _is_list_alias(path) and isinstance(present, str | list):
            items = value if isinstance(value, list) else [value]
            both = [*(present if isinstance(present, list) else [present]), *items]
            inner[target[-1]] = [item for n, item in enumerate(both) if item not in both[:n]]
        elif present == value:
            pass
        else:
            place = self._document.locate(path)
            raise InvalidArgument(
                f"{place}configuration: {'.'.join(path)}: "
                f"is the same as {'.'.join(target)}, which is here too"
            )


def _is_branch(path: Path) -> bool:
    return bool(_siblings((*path, "")))


def _siblings(path: Path) -> list[Path]:
    """The paths known here that go on where *path* does, at least as long as it is."""
    place = path[:-1]
    known = [*_ALIASES, *_LEFT_OUT, *FORMS, *_SWITCHES, (*_REGISTRY_AUTHS, NAME)]
    return [k for k in known if len(k) >= len(path) and fits(k[: len(place)], place)]


def _is_list_alias(path: Path) -> bool:
    """Whether several keys of RancherOS make one list of ours, as `address` and `addresses` do."""
    if any(fits(pattern, path) for pattern in FORMS):
        return True
    key = next((key for pattern, key in _ALIASES.items() if fits(pattern, path)), None)
    if key is None or not key.kind.is_list:
        return False
    return sum(alias.startswith(f"{path[0]}.") for alias in key.aliases) > 1
