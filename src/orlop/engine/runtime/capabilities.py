"""Which capabilities a container's processes have.

Source: capabilities(7); the default set is the one that Docker documents under "Runtime privilege
and Linux capabilities".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orlop.lib.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

_NAMES = """
    chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable
    net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module sys_rawio
    sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time
    sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog
    wake_alarm block_suspend audit_read perfmon bpf checkpoint_restore
"""
ALL = tuple(f"CAP_{name.upper()}" for name in _NAMES.split())
"""Every capability, in the order of its number."""

_DEFAULT_NAMES = """
    chown dac_override fowner fsetid kill setgid setuid setpcap net_bind_service net_raw
    sys_chroot mknod audit_write setfcap
"""
DEFAULT = tuple(f"CAP_{name.upper()}" for name in _DEFAULT_NAMES.split())


def normalise(name: str) -> str:
    """`net_admin`, `NET_ADMIN` and `CAP_NET_ADMIN` are the same; `ALL` stays.

    Raises:
        InvalidArgument: no such capability.
    """
    upper = name.upper()
    full = upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
    if full != "ALL" and full not in ALL:
        raise InvalidArgument(f"unknown capability {name!r}", hint="see capabilities(7)")
    return full


def effective(
    add: Iterable[str],
    drop: Iterable[str],
    *,
    privileged: bool = False,
    available: Collection[str] = ALL,
) -> list[str]:
    """The set after adding and dropping, in order of number, as Docker combines them.

    `ALL` in *add* adds all but those in *drop*; `ALL` in *drop* leaves just *add*. "All" means the
    *available* ones, the engine's own. One that was named and is not available stays: the start
    will fail, and say so.
    """
    added, dropped = {normalise(name) for name in add}, {normalise(name) for name in drop}
    if privileged:
        chosen = set(available)
    elif "ALL" in added:
        chosen = set(available) - dropped
    elif "ALL" in dropped:
        chosen = added
    else:
        chosen = (set(DEFAULT) & set(available) - dropped) | added
    return [name for name in ALL if name in chosen]


def read_available() -> tuple[str, ...]:
    """The capabilities this process could give away: its permitted set."""
    with open("/proc/self/status", "rb") as stream:
        for line in stream:
            if line.startswith(b"CapPrm:"):
                mask = int(line.split()[1], 16)
                return tuple(name for number, name in enumerate(ALL) if mask >> number & 1)
    return ()
