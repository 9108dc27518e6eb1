"""Applies the tuning table: kernel and sysctl settings, one write each.

The table is os/sysctl.toml; the builder turns it into JSON (`image.tuning_table`), because reading
TOML costs PID 1 more time than all the writes. A setting that this kernel lacks is passed over when
its row says that it may be missing, and reported otherwise.
"""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orlop.system.cgroups import memory_total_bytes
from orlop.system.parameters import split_command_line

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TABLE = "/usr/lib/orlop/sysctl.json"

PERFORMANCE = "performance"
"""Rows of this kind are left out with `orlop.tuning=off`; the others protect the machine."""


PARAMETERS = {"panic": "/proc/sys/kernel/panic"}
"""Settings that have a kernel parameter of their own."""

MIN_FREE = "sqrt(16 * RAM)"
"""The kernel's own rule for vm.min_free_kbytes, in kB, from 128 to 262144.

Source: Linux 6.12 mm/page_alloc.c, calculate_min_free_kbytes().
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """*value* into the file *path*, in which a component `*` stands for every entry."""

    path: str
    value: str
    kind: str
    optional: bool = False


def parse_table(text: str) -> list[Setting]:
    """The rows of the builder's JSON.

    Raises:
        ValueError, KeyError, TypeError: not such a table.
    """
    return [
        Setting(row["path"], row["value"], row["kind"], row.get("optional", False))
        for row in json.loads(text)["settings"]
    ]


def apply_file(tuning: bool, command_line: str = "", path: str = TABLE) -> list[str]:
    """Apply the table at *path*; what failed, in words. A missing table is one failure.

    What *command_line* has told the kernel already stays.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            settings = parse_table(stream.read())
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [f"cannot read {path}: {error!r}"]
    told = {name for name, _ in split_command_line(command_line)}
    kept = {path for name, path in PARAMETERS.items() if name in told}
    return apply(
        [row for row in settings if row.path not in kept and (tuning or row.kind != PERFORMANCE)]
    )


def apply(settings: Sequence[Setting]) -> list[str]:
    """Write every setting; what failed, in words."""
    failures: list[str] = []
    for setting in settings:
        paths = expand(setting.path)
        if not paths and not setting.optional and "*" not in setting.path:
            failures.append(f"cannot set {setting.path}: this kernel has no such setting")
        failures += [
            f"cannot set {path} to {setting.value!r}: {problem}"
            for path in paths
            if (problem := _write(path, setting))
        ]
    return failures


def resolve_value(value: str, meminfo: str = "/proc/meminfo") -> str:
    """*value*, or what `MIN_FREE` stands for on this machine."""
    if value != MIN_FREE:
        return value
    with open(meminfo, encoding="ascii") as stream:
        memory_kbytes = memory_total_bytes(stream.read()) >> 10
    return str(min(max(math.isqrt(memory_kbytes * 16), 128), 262144))


def expand(pattern: str) -> list[str]:
    """The existing files that *pattern* means; without the cost of importing glob."""
    found = [""]
    for component in pattern.strip("/").split("/"):
        found = [f"{path}/{name}" for path in found for name in _matching(path, component)]
    return found


def _matching(directory: str, component: str) -> Iterable[str]:
    if component == "*":
        try:
            return sorted(os.listdir(directory or "/"))
        except OSError:
            return ()
    return (component,) if os.path.exists(f"{directory}/{component}") else ()


def _write(path: str, setting: Setting) -> str:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        return "" if setting.optional else error.strerror or str(error)
    try:
        os.write(descriptor, resolve_value(setting.value).encode())
    except OSError as error:
        # A device that knows no such scheduler, a value the kernel has already and locks.
        if setting.optional and error.errno in (errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            return ""
        return error.strerror or str(error)
    finally:
        os.close(descriptor)
    return ""
