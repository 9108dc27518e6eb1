"""What an engine finds at its start, and what it does with that which belongs to no container.

An engine may be killed at any moment: between two steps of a start there are mounts, cgroups and
processes which no record knows; between two steps of a removal there are directories without a
record. Each is undone here, so that afterwards what is on disk and in the kernel is what the
records say. Nothing here raises: what cannot be mended now is logged, and is tried at the next
start.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING

from orlop.engine.container import exit_notes
from orlop.engine.runtime import rootfs
from orlop.engine.volumes import mounts
from orlop.lib import atomic_file, cgroup, mount

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from orlop.engine.container.record import Record
    from orlop.engine.host import Host
    from orlop.engine.settings import EngineSettings
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

_MAX_COMMAND_LINE_BYTES = 4096


def record_directories(root: Path) -> list[Path]:
    """The directories in *root* that hold a record. One without is what a crash left."""
    return [path for path in sorted(root.iterdir()) if (path / "container.json").exists()]


def set_aside(host: Host, path: Path) -> None:
    """A container that cannot be read: out of the way, but kept; its processes are ended."""
    _end(host, path.name)
    broken = (host.settings.data_dir if host.records.durable else host.settings.run_dir) / "broken"
    with contextlib.suppress(OSError):
        broken.mkdir(exist_ok=True, mode=0o700)
        os.rename(path, broken / path.name)


def remove_strays(host: Host, ids: frozenset[str], cgroups: frozenset[str]) -> None:
    """Delete what belongs to none of the containers *ids*.

    Cgroups, when the engine is durable: then nobody else makes any below its own.
    """
    settings = host.settings
    for path in _entries(settings.data_dir / "containers"):
        with contextlib.suppress(OSError):
            if path.name not in ids:
                host.data_trash.put(path)
            else:
                atomic_file.remove_temporaries(path)
    for path in _entries(settings.run_dir / "containers"):
        if path.name not in ids:
            _end(host, path.name)
            with contextlib.suppress(OSError):
                host.run_trash.put(path)
    for path in _entries(settings.run_dir / "runtime"):
        # It keeps a cache there too.
        if path.name not in ids and not path.name.startswith("."):
            host.runtime.forget(path.name)
    mounts.remove_strays(settings.run_dir, ids)
    rootfs.remove_strays(settings.run_dir, ids)
    if not host.records.durable:
        return
    for path in _entries(settings.cgroup_root):
        if path.name not in cgroups and path.is_dir():
            log.warning("ending processes of a container that is no more, in %s", path.name)
            with contextlib.suppress(OSError):
                cgroup.kill(path)
                cgroup.remove(path)


def forget_exits(settings: EngineSettings, records: Iterable[Record]) -> None:
    """Ask no longer how processes end that are of no container of *records* which is up."""
    up = {(known.pid, known.pid_started_ticks) for known in records if known.state.is_up}
    exit_notes.forget_others(settings.run_dir, up)


def end_interrupted_starts(settings: EngineSettings) -> None:
    """Kill what still runs of the OCI runtime: nobody waits for what it is about to make."""
    wanted = b"\0--root\0" + os.fsencode(settings.run_dir / "runtime") + b"\0"
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == os.getpid():
            continue
        try:
            with open(f"/proc/{name}/cmdline", "rb") as stream:
                found = wanted in stream.read(_MAX_COMMAND_LINE_BYTES)
            if found:
                log.warning("ending an interrupted start, process %s", name)
                os.kill(int(name), signal.SIGKILL)
        except OSError:
            continue  # it has ended meanwhile


def _end(host: Host, container_id: str) -> None:
    for name in ("rootfs", "shm"):
        with contextlib.suppress(OSError):
            mount.detach(host.settings.run_dir / "containers" / container_id / name)
    with contextlib.suppress(OSError):
        cgroup.kill(host.cgroup_path(container_id))
    host.runtime.forget(container_id)


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError as error:
        log.warning("cannot look into %s: %s, ignoring", directory, error)
        return []


def handover_descriptors(
    handover: Mapping[str, Json],
) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Descriptors of containers by id and purpose, and of sockets by path; nothing if malformed."""
    containers, sockets = handover.get("containers"), handover.get("sockets")
    if not isinstance(containers, dict) or not isinstance(sockets, dict):
        return {}, {}
    named = {
        container_id: {name: fd for name, fd in fds.items() if isinstance(fd, int)}
        for container_id, fds in containers.items()
        if isinstance(fds, dict)
    }
    return named, {path: fd for path, fd in sockets.items() if isinstance(fd, int)}


def all_descriptors(handover: Mapping[str, Json]) -> list[int]:
    """The same, without what each is."""
    named, sockets = handover_descriptors(handover)
    return [*sockets.values(), *(fd for fds in named.values() for fd in fds.values())]
