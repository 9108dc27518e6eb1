"""Confinement in a `HostConfig`: namespaces, system call filter, kernel parameters, paths."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose_model import Seccomp
from orlop.wire.docker.fields import Object, quoted

APPARMOR = "/sys/kernel/security/apparmor"
MAX_PROFILE_BYTES = 1 << 20

_IPC_NAMES = "msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced"
_IPC_SYSCTLS = frozenset(f"kernel.{name}" for name in _IPC_NAMES.split())
_BOOLEANS = {"": True, "true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """`SecurityOpt`, decided."""

    no_new_privileges: bool = False
    seccomp: Seccomp = Seccomp.DEFAULT
    seccomp_profile: str = ""
    """A profile of the request's own, as JSON."""
    apparmor: str = ""
    unmasked: bool = False
    cgroup_writable: bool = False


def parse_security(host: Object) -> Security:
    """The options, in any of the spellings that Docker takes.

    Raises:
        InvalidArgument: an option that is unknown, or asks for what this kernel has not.
    """
    result: dict[str, object] = {}
    for option in host.texts("SecurityOpt"):
        key, separator, value = option.partition("=")
        if not separator:
            key, _, value = option.partition(":")
        match key:
            case "no-new-privileges" | "writable-cgroups" if value in _BOOLEANS:
                name = "no_new_privileges" if key[0] == "n" else "cgroup_writable"
                result[name] = _BOOLEANS[value]
            case "seccomp":
                result |= _parse_seccomp(value)
            case "apparmor":
                result["apparmor"] = _check_apparmor(value)
            case "label":
                # SELinux's; dockerd without SELinux takes and ignores them too.
                pass
            case "systempaths" if value == "unconfined":
                result["unmasked"] = True
            case _:
                raise InvalidArgument(f"invalid --security-opt 2: {quoted(option)}")
    return Security(**result)  # type: ignore[arg-type]  # names and types as above


def _parse_seccomp(value: str) -> dict[str, object]:
    if value == "unconfined":
        return {"seccomp": Seccomp.NONE}
    if value in ("builtin", "default"):
        return {"seccomp": Seccomp.DEFAULT}
    if len(value) > MAX_PROFILE_BYTES:
        raise InvalidArgument("Decoding seccomp profile failed: it is too large")
    try:
        profile = json.loads(value)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error}") from error
    rules = profile.get("syscalls") if isinstance(profile, dict) else None
    if rules is None and isinstance(profile, dict) and "defaultAction" in profile:
        rules = []
    if not isinstance(rules, list) or not isinstance(profile.get("defaultAction"), str):
        raise InvalidArgument("Decoding seccomp profile failed: it is no profile")
    if not all(isinstance(rule, dict) for rule in rules):
        raise InvalidArgument("Decoding seccomp profile failed: a rule is no object")
    return {"seccomp_profile": value}


def _check_apparmor(profile: str) -> str:
    if os.path.isdir(APPARMOR):
        return profile
    # Without AppArmor nothing is confined, which is all that this asks for; the runtime, told to
    # choose a profile, would fail.
    if profile in ("", "unconfined"):
        return ""
    raise InvalidArgument(f"apparmor profile {profile[:80]!r}: this kernel has no AppArmor")


def parse_namespace(host: Object, key: str, kind: str) -> str:
    """`PidMode` or `UTSMode`: `private`, `host`, or `container:NAME` for the former.

    Raises:
        InvalidArgument: another word; *kind* is how it is called in the message.
    """
    mode = host.text(key)
    if mode in ("", "private"):
        return "private"
    if mode == "host":
        return mode
    if kind == "PID" and mode.startswith("container:") and mode != "container:":
        return mode
    raise InvalidArgument(f"invalid {kind} mode: {mode[:80]}")


def parse_ipc(host: Object) -> str:
    """`IpcMode`: `private`, `shareable`, `none`, `host` or `container:NAME`."""
    mode = host.text("IpcMode") or "private"
    if mode in ("private", "shareable", "none", "host"):
        return mode
    if mode.startswith("container:") and mode != "container:":
        return mode
    raise InvalidArgument(f"invalid IPC mode: {mode[:80]}")


def parse_cgroupns(host: Object) -> str:
    """`CgroupnsMode`: `private` or `host`."""
    mode = host.text("CgroupnsMode") or "private"
    if mode not in ("private", "host"):
        raise InvalidArgument(f"invalid cgroup namespace mode: {mode[:80]}")
    return mode


def check_sysctls(
    sysctls: tuple[tuple[str, str], ...], *, network: str, ipc: str, uts: str
) -> tuple[tuple[str, str], ...]:
    """Refuse those that would change the machine instead of the container.

    Raises:
        InvalidArgument: the parameter has no namespace, or it is the host's.
    """
    for name, _ in sysctls:
        if name in _IPC_SYSCTLS or name.startswith("fs.mqueue."):
            shared = "ipc" if ipc == "host" else ""
        elif name.startswith("net."):
            shared = "network" if network == "host" else ""
        elif name == "kernel.domainname":
            shared = "UTS" if uts == "host" else ""
        else:
            raise InvalidArgument(f'sysctl "{name[:80]}" is not in a separate kernel namespace')
        if shared:
            raise InvalidArgument(f'sysctl "{name[:80]}" not allowed in host {shared} namespace')
    return sysctls
