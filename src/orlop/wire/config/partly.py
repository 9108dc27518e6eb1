"""Keys that are supported in part: entries that mean nothing here are left out, each with a notice.

A document for RancherOS or another system must not cost a machine its keys and network because of a
network file system in it. Whoever applies a document on purpose is refused for such an entry. Pure.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from orlop.wire.config import files
from orlop.wire.config.kinds_people import without_meaning
from orlop.wire.config.mounts import LATER, PLACE, SWAP

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.wire.config.table import Path
    from orlop.wire.located_yaml import LocatedYaml

    type Judge = Callable[[object], str]
    """Why an entry is left out; empty if it stays."""

    type Tell = Callable[[Path, str], None]

_REGISTRY = r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?"
_DOCKER = "docker.io"
_OWNER = r"[A-Za-z_][A-Za-z0-9_.-]*(:[A-Za-z_][A-Za-z0-9_.-]*)?"


def _judge_mount(entry: object) -> str:
    if not isinstance(entry, list) or len(entry) < 2:
        return ""
    device, directory, fstype = (*entry, "")[:3]
    if device == SWAP:
        return "a swap file is swap.size, a disk for it needs its name"
    if fstype == SWAP:
        return ""
    if str(fstype) in LATER:
        return f"{LATER[str(fstype)]} not supported yet"
    if directory is None or directory in ("none", "") or f"{directory}/" == PLACE:
        return "has no directory below /mnt"
    if isinstance(directory, str) and directory[:1] == "/" and not directory.startswith(PLACE):
        return f"{directory} is not below /mnt, and everything else is read-only"
    return ""


def _judge_swap(key: str, value: object) -> str:
    if key == "filename":
        return "the name of the swap file is the machine's own"
    if key == "maxsize" or (key == "size" and value == "auto"):
        return "say how large with swap.size"
    return ""


def _judge_file(entry: object) -> str:
    if not isinstance(entry, dict):
        return ""
    path = entry.get("path")
    if isinstance(path, str) and re.match(r"/+(proc|sys|dev)(/|$)", path):
        return f"{path[:80]} is the kernel's: orlop.sysctl has settings, bootcmd commands"
    if isinstance(path, str) and re.match(r"/+run/+orlop(/|$)", path):
        return f"{path[:80]} is the machine's own"
    if entry.get("append"):
        return "adding to a file is not supported"
    if entry.get("source"):
        return "a content from elsewhere is not supported"
    owner = entry.get("owner")
    if (
        isinstance(owner, str)
        and re.fullmatch(_OWNER, owner)
        and not files.KNOWN.keys() >= {*owner.split(":")}
    ):
        return f"the owner {owner[:64]} is not known here: give a number"
    return ""


UNREAD = {
    "/etc/cron": "x-orlop.schedule of a service",
    "/etc/docker/daemon.json": "orlop.engine",
    "/etc/fstab": "mounts",
    "/etc/modprobe.d/": "orlop.modules",
    "/etc/modules": "orlop.modules",
    "/etc/netplan/": "orlop.network",
    "/etc/network/": "orlop.network",
    "/etc/ssh/sshd_config": "orlop.ssh",
    "/etc/sudoers": "users[].sudo",
    "/etc/sysctl.": "orlop.sysctl",
    "/etc/systemd/": "orlop.services",
}
"""How files begin whose readers are not in this system, and what has their part."""


def tell_unread(document: LocatedYaml, tell: Tell) -> None:
    """Say of files for the consoles that nothing there reads them; they are written anyhow."""
    entries = document.data.get("write_files") if isinstance(document.data, dict) else None
    for index, entry in enumerate(entries if isinstance(entries, list) else []):
        path = entry.get("path") if isinstance(entry, dict) else None
        if not isinstance(path, str) or entry.get("container") not in (None, "console"):
            continue
        instead = next((key for start, key in UNREAD.items() if path.startswith(start)), "")
        if instead:
            tell((f"write_files[{index}]",), f"nothing here reads {path[:80]}: see {instead}")


def registry_account(name: str, entry: object) -> tuple[str, dict[str, str]]:
    """Host and account of an entry of RancherOS's `registry_auths`, which has them as Docker's
    own file does.

    Raises:
        ValueError: it is none, with the reason.
    """
    host = name.removeprefix("https://").removeprefix("http://").partition("/")[0]
    if host.endswith(f".{_DOCKER}"):
        host = _DOCKER
    if re.fullmatch(_REGISTRY, host) is None:
        raise ValueError("is not a registry, HOST or HOST:PORT")
    if not isinstance(entry, dict):
        raise ValueError("must be a map with username and password, or auth")
    if entry.keys() - {"username", "password", "auth", "email"}:
        raise ValueError("only username and password, or auth, are known here")
    username, password = entry.get("username"), entry.get("password")
    if auth := entry.get("auth"):
        try:
            username, _, password = binascii.a2b_base64(str(auth)).decode().partition(":")
        except ValueError:
            raise ValueError("auth is no base64 of USER:PASSWORD") from None
    if not username or not password:
        raise ValueError("needs username and password, or auth")
    return host, {"username": str(username), "password": str(password)}


_JUDGES: dict[str, Judge] = {"mounts": _judge_mount, "write_files": _judge_file}


def _without_meaning(entry: dict[str, object]) -> dict[str, object]:
    """An entry without keys that say nothing here, or nothing when they are false or empty."""
    return {
        key: value
        for key, value in entry.items()
        if key != "defer" and (value or key not in ("append", "source"))
    }


def trim(document: LocatedYaml, tell: Tell) -> LocatedYaml:
    """*document*, whose data is a map, without the entries that mean nothing here."""
    assert isinstance(document.data, dict)
    data = dict(document.data)
    swap = data.get("swap")
    if isinstance(swap, dict):
        kept = {key: value for key, value in swap.items() if not _judge_swap(key, value)}
        for key in swap.keys() - kept.keys():
            tell(("swap", key), _judge_swap(key, swap[key]))
        data["swap"] = kept
    for spelled in ("users", "users+"):
        people = data.get(spelled)
        if isinstance(people, list):
            data[spelled] = [_trim_user(n, user, spelled, tell) for n, user in enumerate(people)]
    power = data.get("power_state")
    if isinstance(power, dict) and not isinstance(power.get("condition", True), bool):
        tell(("power_state",), "a condition that has to be run is not supported; end with runcmd")
        del data["power_state"]
    document = replace(document, data=data)
    for key, judge in _JUDGES.items():
        for spelled in (key, f"{key}+"):
            entries = data.get(spelled)
            if isinstance(entries, list):
                document = _trim_list(document, spelled, entries, judge, tell)
    return document


def _trim_user(index: int, user: object, key: str, tell: Tell) -> object:
    place = f"{key}[{index}]"
    return without_meaning(user, lambda name, reason: tell((place, name), reason))


def _trim_list(
    document: LocatedYaml, key: str, entries: list[object], judge: Judge, tell: Tell
) -> LocatedYaml:
    kept: list[object] = []
    lines = dict(document.lines)
    for index, entry in enumerate(entries):
        path = (key, str(index))
        if reason := judge(entry):
            tell((f"{key}[{index}]",), reason)
            continue
        if index != len(kept):
            copy_lines(document.lines, lines, path, (key, str(len(kept))), entry)
        kept.append(_without_meaning(entry) if isinstance(entry, dict) else entry)
    if len(kept) == len(entries) and kept == entries:
        return document
    assert isinstance(document.data, dict)
    return replace(document, data={**document.data, key: kept}, lines=lines)


def copy_lines(
    old: dict[Path, int], new: dict[Path, int], path: Path, target: Path, value: object
) -> None:
    """Note for *target* and what is in it where *value*, which was at *path*, stands."""
    new[target] = old.get(path, 1)
    if isinstance(value, dict):
        for name, inner in value.items():
            copy_lines(old, new, (*path, name), (*target, name), inner)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            copy_lines(old, new, (*path, str(index)), (*target, str(index)), inner)
