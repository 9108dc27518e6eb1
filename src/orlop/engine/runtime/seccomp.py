"""The system call filter, from a profile of rules to what the runtime takes.

The profile is the common format of the container tools: rules with conditions on capabilities,
architectures and kernel versions. `resolve` decides the conditions. Kernel versions are not asked:
a filter is about names, and a kernel without the call refuses it anyway.
"""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING, Any, cast

from orlop.lib.errors import InvalidArgument, Unavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from orlop.wire import oci

    type Profile = Mapping[str, Any]

_ARCHITECTURES = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
}

_I386_SETTING = "/proc/sys/abi/vsyscall32"
"""There if the kernel runs programs of i386. Source: Linux, arch/x86/entry/vdso/vdso32-setup.c."""


@functools.cache
def without_i386() -> bool:
    """Can no process make a call of i386 on this kernel? False if that cannot be seen."""
    return os.path.exists("/proc/sys/kernel") and not os.path.exists(_I386_SETTING)


def read_profile(path: Path) -> Profile:
    """Read and check the outline of a profile.

    Raises:
        Unavailable: there is none, or it is not one. A container must not run unfiltered instead.
    """
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise Unavailable(f"cannot read the seccomp profile {path}: {error}") from error
    if not isinstance(data, dict) or not isinstance(data.get("syscalls"), list):
        raise Unavailable(f"{path} is not a seccomp profile")
    return data


def resolve_text(text: str, machine: str, capabilities: Collection[str]) -> oci.Seccomp:
    """The filter of a profile that came with a request, see `resolve`.

    Raises:
        InvalidArgument: it is no profile.
    """
    try:
        profile = json.loads(text)
        return resolve({"syscalls": [], **profile}, machine, capabilities)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidArgument(f"Decoding seccomp profile failed: {error!r}") from error


def resolve(profile: Profile, machine: str, capabilities: Collection[str]) -> oci.Seccomp:
    """The filter for a process with *capabilities* on *machine* (as `uname -m` has it).

    Rules for i386 are left out where nothing can make its calls: a third of the runtime's work for
    a filter, and of the kernel's more than half, which goes with the square of the filter's length.
    """
    debian_name, own = _ARCHITECTURES[machine]
    architectures = [own]
    for entry in profile.get("archMap") or ():
        if entry["architecture"] == own:
            architectures += entry.get("subArchitectures") or ()
    if without_i386():
        architectures = [name for name in architectures if name != "SCMP_ARCH_X86"]
    syscalls = []
    for rule in profile["syscalls"]:
        includes, excludes = rule.get("includes") or {}, rule.get("excludes") or {}
        if not _includes_hold(includes, debian_name, capabilities):
            continue
        if _excludes_hold(excludes, debian_name, capabilities):
            continue
        names = rule["names"] if "names" in rule else [rule["name"]]
        kept = {"names": names, "action": rule["action"]}
        if rule.get("errnoRet") is not None:
            kept["errnoRet"] = rule["errnoRet"]
        if rule.get("args"):
            kept["args"] = rule["args"]
        syscalls.append(cast("oci.Syscall", kept))
    result: oci.Seccomp = {
        "defaultAction": profile["defaultAction"],
        "architectures": architectures,
        "syscalls": syscalls,
    }
    if profile.get("defaultErrnoRet") is not None:
        result["defaultErrnoRet"] = profile["defaultErrnoRet"]
    return result


def _includes_hold(includes: Profile, machine: str, capabilities: Collection[str]) -> bool:
    wanted, machines = includes.get("caps") or (), includes.get("arches") or ()
    return all(name in capabilities for name in wanted) and (not machines or machine in machines)


def _excludes_hold(excludes: Profile, machine: str, capabilities: Collection[str]) -> bool:
    unwanted, machines = excludes.get("caps") or (), excludes.get("arches") or ()
    return any(name in capabilities for name in unwanted) or machine in machines
