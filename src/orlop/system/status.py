"""What `GET /orlop/status` and its kin answer: the machine in plain JSON. Read only.

docs/system-api.md describes every field; a unit test holds the two together.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from orlop.engine.engine import Health
from orlop.system.boot_channel import uptime_s
from orlop.system.cgroups import ROOT
from orlop.system.firmware import secure_boot
from orlop.system.network.addresses import read_addresses
from orlop.system.storage import mirror, persistence
from orlop.wire.kmsg import RECORD_BYTES, parse_record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orlop.system.config.configuration import Configuration
    from orlop.system.machine import Machine
    from orlop.system.services.services import Services, ServiceStatus
    from orlop.wire.compose_model import Json

MAX_LOG_BYTES = 256 << 10

EFI_DIRECTORY = "/sys/firmware/efi"
"""The kernel makes it when UEFI firmware started it."""


def machine_status(machine: Machine, services: Services) -> dict[str, Json]:
    """Everything that `orlop status` shows."""
    kernel = os.uname()
    ready_s = next((stage.uptime_s for stage in machine.stages if stage.name == "ready"), None)
    return {
        "version": machine.release.get("version", ""),
        "build_id": machine.release.get("build_id") or machine.release.get("build", ""),
        "hostname": machine.hostname,
        "kernel": kernel.release,
        "architecture": kernel.machine,
        "firmware": "uefi" if os.path.isdir(EFI_DIRECTORY) else "bios",
        "secure_boot": secure_boot(),
        "uptime_s": uptime_s(),
        "phase": machine.phase.value,
        "ready_s": ready_s,
        "reexecutions": machine.reexecutions,
        "stages": stages(machine),
        "addresses": [
            {"interface": address.interface, "address": address.text}
            for address in read_addresses()
        ],
        "storage": storage(machine),
        "memory": memory(),
        "pressure": pressure(),
        "services": [service_status(status) for status in services.statuses()],
        "health": machine.health,
        "warnings": [*machine.warnings, *mirror_warnings(machine)],
    }


def mirror_warnings(machine: Machine) -> list[str]:
    """What is wrong with the mirror that the state is on, for as long as it is."""
    on = mirror.of_state(machine.state.device) if machine.state else None
    return [on.problem] if on is not None and on.problem else []


def stages(machine: Machine) -> list[Json]:
    """The stages of the boot with their times."""
    return [{"name": stage.name, "uptime_s": stage.uptime_s} for stage in machine.stages]


def service_status(status: ServiceStatus) -> dict[str, Json]:
    """One service."""
    return {
        "name": status.name,
        "state": status.state.value,
        "health": None if status.health is Health.NONE else status.health.value,
        "pid": status.pid,
        "restarts": status.restarts,
        "started_at": status.started_s or None,
        "reason": status.reason,
        "depends_on": list(status.depends_on),
        "source": status.source,
        "next_run_at": status.next_s or None,
    }


def storage(machine: Machine, path: str = "/var") -> dict[str, Json]:
    """What /var is, and how full."""
    state = machine.state
    found: dict[str, Json] = {"kind": "memory" if state is None else state.mode}
    if state is not None:
        found |= {"device": state.device, "filesystem": state.fstype, "label": state.label}
        found["uuid"] = state.uuid
        if (on := mirror.of_state(state.device)) is not None:
            found["mirror"] = mirror.to_json(on)
    try:
        numbers = os.statvfs(path)
    except OSError:
        return found
    found["size_bytes"] = numbers.f_blocks * numbers.f_frsize
    found["used_bytes"] = (numbers.f_blocks - numbers.f_bfree) * numbers.f_frsize
    found["read_only"] = bool(numbers.f_flag & os.ST_RDONLY)
    found["kept"] = [*persistence.ALWAYS, *persistence.in_force()]
    return found


def memory(path: str = "/proc/meminfo") -> dict[str, Json]:
    """Total, available, and what PID 1 itself takes."""
    wanted = {"MemTotal": "total_bytes", "MemAvailable": "available_bytes"}
    found: dict[str, Json] = {}
    for line in _read(path).splitlines():
        key, _, rest = line.partition(":")
        if key in wanted:
            found[wanted[key]] = int(rest.split()[0]) << 10
    fields = _read("/proc/self/statm").split()
    if len(fields) > 1:
        found["init_bytes"] = int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    return found


def pressure(directory: str = "/proc/pressure") -> dict[str, Json]:
    """Share of the last ten seconds in which something waited for cpu, memory or io, in percent."""
    found: dict[str, Json] = {}
    for resource in ("cpu", "memory", "io"):
        for line in _read(f"{directory}/{resource}").splitlines():
            kind, *pairs = line.split()
            values = dict(pair.partition("=")[::2] for pair in pairs)
            if kind == "some" and "avg10" in values:
                found[resource] = float(values["avg10"])
    return found


def shown_configuration(configuration: Configuration, secrets: str = "hide") -> dict[str, Json]:
    """The effective configuration, where each value is from, and what was wrong.

    *secrets*: `hide` that there are some values, `omit` them, or `show` them.
    """
    from orlop.wire.config.secrets import hide

    data = dict(configuration.data)
    if secrets != "show":
        data = hide(data, configuration.secrets, leave_out=secrets == "omit")
    return {
        "config": data,
        "origins": dict(configuration.origins),
        "problems": list(configuration.problems),
        "notices": list(configuration.notices),
    }


def data_sources(configuration: Configuration, asked: Sequence[str]) -> dict[str, Json]:
    """What a data source said about the machine, and which are asked over the network."""
    return {"source": None, **configuration.cloud, "asked": [*asked]}


def system_cgroup(name: str) -> dict[str, Json]:
    """Events of a service's cgroup that explain its end; empty when there is none."""
    text = _read(f"{ROOT}/system/{name}/memory.events")
    pairs = (line.split() for line in text.splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}


def kernel_log(path: str = "/dev/kmsg") -> list[Json]:
    """The kernel's messages, oldest first: what `dmesg` shows."""
    lines: list[Json] = []
    total_bytes = 0
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return lines
    try:
        while total_bytes < MAX_LOG_BYTES and (record := _next_record(descriptor)):
            total_bytes += len(record)
            lines.append(_kernel_record(record.decode("utf-8", "replace")))
    finally:
        os.close(descriptor)
    return lines


def _next_record(descriptor: int) -> bytes:
    """The next record, or nothing at the end."""
    while True:
        try:
            return os.read(descriptor, RECORD_BYTES)
        except BrokenPipeError:
            continue  # overwritten while we read: the next read gives the oldest there is
        except OSError:
            return b""


def _kernel_record(record: str) -> dict[str, Json]:
    level, uptime, text = parse_record(record)
    return {"level": level, "uptime_s": uptime, "text": text}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read()
    except OSError:
        return ""
