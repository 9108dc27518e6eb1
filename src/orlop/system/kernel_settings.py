"""`orlop.sysctl` and `orlop.modules`: settings of the running kernel, and back again.

The value that a setting had before it was configured is kept in /run, so that taking it away has an
effect too, also after a re-execution of PID 1.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib import atomic_file
from orlop.lib.errors import OrlopError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.lib.children import Children

PROC_SYS = "/proc/sys"
BEFORE = "/run/orlop/sysctl.json"
SYS_MODULE = "/sys/module"
MODLOAD = "/usr/sbin/modload"
MODLOAD_TIMEOUT_S = 20.0
MAX_VALUE = 4096


def file_of(name: str) -> str:
    """The path below /proc/sys of a setting: `/` separates if there is one, else `.` does."""
    if "/" in name:
        return name
    return name.replace(".", "/")


def apply_sysctls(
    wanted: Mapping[str, str], proc_sys: str = PROC_SYS, before: str = BEFORE
) -> dict[str, str]:
    """Give each setting its value, and those that are no longer *wanted* their old one.

    Blocks. Returns what could not be set, and why.
    """
    old = _read_before(before)
    problems: dict[str, str] = {}
    kept: dict[str, str] = {}
    for name, value in {**old, **wanted}.items():
        path = f"{proc_sys}/{file_of(name)}"
        try:
            present = _read(path)
            if name in wanted:
                kept[name] = old.get(name, present)
            if present.split() != value.split():
                _write(path, value)
        except OSError as error:
            kept.pop(name, None)
            if name in wanted:
                problems[name] = error.strerror or str(error)
    if kept != old:
        try:
            atomic_file.write_text(Path(before), json.dumps(kept), mode=0o600, durable=False)
        except OSError:
            pass  # then what is set stays set until the next boot
    return problems


def _read_before(path: str) -> dict[str, str]:
    try:
        data = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}


def _read(path: str) -> str:
    """The value; empty of one that can only be written."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read(MAX_VALUE).strip()
    except PermissionError:
        return ""


def _write(path: str, value: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, f"{value}\n".encode())
    finally:
        os.close(descriptor)


async def load_modules(
    children: Children, entries: Sequence[str], modules: str = SYS_MODULE
) -> dict[str, str]:
    """Have each of *entries*, `NAME KEY=VALUE...`, loaded. Returns those that were not, and why."""
    problems: dict[str, str] = {}
    for entry in entries:
        name, *parameters = entry.split()
        words = [f"{name}.{parameter}" for parameter in parameters]
        try:
            argv = [MODLOAD, name, *words]
            status, output = await children.run(argv, timeout_s=MODLOAD_TIMEOUT_S)
            if not status.ok:
                text = output.decode(errors="replace").strip().splitlines()
                problems[entry] = text[-1] if text else "there is no such module in this image"
            elif late := _set_parameters(f"{modules}/{name.replace('-', '_')}", parameters):
                problems[entry] = late
        except (OrlopError, OSError, TimeoutError) as error:
            problems[entry] = str(error)
    return problems


def _set_parameters(directory: str, parameters: Sequence[str]) -> str:
    """Give a module that was loaded before what can be changed now; why something cannot."""
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        path = f"{directory}/parameters/{key}"
        try:
            present = _read(path)
        except OSError:
            continue  # one that the module does not show; it had it when it was loaded
        if present and not _same(present, value):
            try:
                _write(path, value)
            except OSError:
                name = os.path.basename(directory)
                return (
                    f"is loaded already, with {key}={present[:64]}: only the kernel command line "
                    f"comes before that: {name}.{parameter}"
                )
    return ""


def _same(present: str, wanted: str) -> bool:
    """Whether the kernel shows *wanted* as *present*: numbers in any base, Y for true."""

    def normal(text: str) -> object:
        if text.lower() in ("y", "yes", "on", "true", "1"):
            return 1
        if text.lower() in ("n", "no", "off", "false", "0"):
            return 0
        try:
            return int(text, 0)
        except ValueError:
            return text

    return normal(present) == normal(wanted)
