"""The worker that installs: `worker install`, the request as JSON on descriptor 0.

    {"verb": "disks", "build": BUILD}
    {"verb": "install", "build": BUILD, "disk": [NAME], "config": TEXT, "image": PATH, ...}
    {"verb": "mirror", "build": BUILD, "disk": NAME, "wipe": BOOL, "state": DEVICE, "esp": FOLDER}
    {"verb": "boot-partition", "device": DEVICE, "esp": FOLDER, "busy": true}

It is root, with a mount table of its own, so that nothing stays mounted when it is killed. On
stdout it says what it does, an object a line; the last one has `result`, or is an error.
"""

from __future__ import annotations

import json
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from orlop.engine.worker_process import report
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError
from orlop.lib.medium import read_source
from orlop.lib.mount import MountFlag, mount
from orlop.system.install import array, kept, luks, pairs
from orlop.system.install import disks as install_disks
from orlop.system.install import plan as install_plan
from orlop.system.install import source as install_source
from orlop.system.install.steps import Installation
from orlop.system.install.target import Target

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orlop.lib.fat32 import Content
    from orlop.lib.medium import Source
    from orlop.system.install.disks import Disk
    from orlop.system.install.plan import Step

MAX_REQUEST_BYTES = 8 << 20


def main(argv: list[str]) -> int:
    """Read, look or install, answer."""
    del argv
    with open(0, "rb", closefd=False) as stream:
        request = json.loads(stream.read(MAX_REQUEST_BYTES))
    try:
        if not request.get("busy"):
            luks.close_leftover()
            array.stop_leftover()
        if request["verb"] == "disks":
            medium = install_source.find_medium(request["build"])
            disks = install_disks.read_all(medium)
            report({"disks": [install_disks.to_json(disk) for disk in disks]})
        elif request["verb"] == "mirror":
            from orlop.system.install import repair

            repair.repair(request)
        elif request["verb"] == "boot-partition":
            from orlop.system.install import repair

            repair.remake_boot_partition(request["device"], request["esp"])
        else:
            install(request)
    except OrlopError as error:
        hint = f" ({error.hint})" if error.hint else ""
        report({"error": f"{error}{hint}", "kind": type(error).__name__})
    except OSError as error:
        what = f"{error.filename}: " if error.filename else ""
        report({"error": f"{what}{error.strerror or error}", "kind": "Unavailable"})
    return 0


def install(request: Mapping[str, Any]) -> None:
    """Do what is asked.

    Raises:
        OrlopError, OSError: it cannot be, or has failed.
    """
    medium = install_source.find_medium(request["build"])
    disks = pairs.choose_disks(request, install_disks.read_all(medium))
    disk, keep_state = disks[0], request["keep_state"]
    source = _source(request, medium)
    lock = luks.Lock(request.get("encrypt", ""), luks.keys_of(request))
    if disk.is_locked and keep_state and not (disk.busy or lock.has_keys):
        raise InvalidArgument(
            f"the state on {disk.device} is encrypted: what opens it is needed",
            hint="orlop install --passphrase-file FILE",
        )
    extras = install_source.find_extras(source, request["build"])
    if not extras and (len(disks) > 1 or request.get("encrypt") or (keep_state and disk.is_locked)):
        raise NotFound(
            "to open its state the installed machine needs the orlop-extras.erofs of its build, "
            "which is not here",
            hint="put it beside the ISO file, or on a stick: docs/storage.md",
        )
    report(
        {
            "text": f"installing {source.image.version} ({source.image.id}) "
            f"from {request['image'] or source.path} on {_names(disks)}",
            "disk": install_disks.to_json(disk),
            "image_sha256": source.image.sha256,
            "build": source.build,
        }
    )
    _private_mounts()
    with ExitStack() as opened:
        targets = [_open(one, medium, opened) for one in disks]
        steps = plan(targets, disks, source, request)
        files = {**extras, **_files(request, targets[0], disk, source)}
        works = [
            Installation(target, one, source, request["config"], files, lock, other)
            for target, one, other in zip(
                targets, disks, reversed(targets) if len(targets) > 1 else [None], strict=True
            )
        ]
        works[0].check([step for _, step in steps])
        if request["dry_run"]:
            for number, step in steps:
                report({"text": f"would do: {works[number].describe(step)}"})
            text = "nothing has been changed"
            report({"text": text, "result": _result(disks, source, request)})
            return
        for target in targets:
            if not keep_state:
                target.forget_partitions()
            target.share()
        for number, step in steps:
            works[number].do(step)
        for target in targets:
            target.read_partitions_again()
    report(
        {
            "text": f"installed on {_names(disks)}; what was written has been read "
            "back and is right",
            "result": _result(disks, source, request),
        }
    )


def _open(disk: Disk, medium: str, opened: ExitStack) -> Target:
    target = Target(disk.device, shared=bool(disk.busy))
    opened.callback(target.close)
    if install_disks.has_changed(disk, medium):
        raise Conflict(f"{disk.device} has changed since it was looked at: nothing is written")
    return target


def _names(disks: Sequence[Disk]) -> str:
    return " and ".join(f"{disk.device} ({disk.label})" for disk in disks)


def _files(
    request: Mapping[str, Any], target: Target, disk: Disk, source: Source
) -> Mapping[str, Content]:
    """The files of the boot partition.

    Raises:
        Conflict: it has them already, and nobody would end this happening at each start.
    """
    before, file = "", request.get("key_file", "")
    if request["keep_state"]:
        is_whole = disk.content is install_disks.Content.INSTALLED
        if request["unattended"] and is_whole and kept.has_image(target, source.image.id):
            raise Conflict(f"{source.image.id} is installed there already")
        before = kept.read_parameters(target)
    append = kept.join_parameters(request["append"], file, before)
    if before:
        report({"text": f"kernel parameters: {append}"})
    return source.files(append)


def _result(disks: Sequence[Disk], source: Source, request: Mapping[str, Any]) -> dict[str, object]:
    return {
        "device": disks[0].device,
        "id": disks[0].label,
        "mirror": disks[1].label if len(disks) > 1 else "",
        "image": source.image.id,
        "image_sha256": source.image.sha256,
        "version": source.image.version,
        "build": source.build,
        "kept_state": request["keep_state"],
        "encrypted": request.get("encrypt", ""),
        "dry_run": request["dry_run"],
    }


def _source(request: Mapping[str, Any], medium: str) -> Source:
    path = request["image"] or medium
    if not path:
        raise NotFound(
            "the medium that this machine was started from is not here any more, or it was started "
            "from the network",
            hint="--image, or orlop.install.image, names an ISO: a file or an address",
        )
    return read_source(path, request["image_sha256"])


def plan(
    targets: Sequence[Target], disks: Sequence[Disk], source: Source, request: Mapping[str, Any]
) -> Sequence[tuple[int, Step]]:
    """The steps for *disks*, each with the number of its disk.

    Raises:
        Conflict: one has changed since it was looked at. InvalidArgument: it is too small.
    """
    target, encrypted = targets[0], bool(request.get("encrypt"))
    size, sector = target.size_bytes, target.sector_bytes
    if request["keep_state"]:
        places = install_disks.own_partitions(target.read, sector)
        if places is None:
            raise Conflict(f"{disks[0].device} has no state of Orlop's any more")
        return [(0, step) for step in install_plan.plan_kept(places, sector, source.bios)]
    guids = os.urandom(install_plan.GUID_BYTES)
    if len(targets) > 1:
        sizes = size, targets[1].size_bytes
        both = guids, os.urandom(install_plan.GUID_BYTES)
        return install_plan.plan_mirrored(sizes, sector, source.bios, both, encrypted=encrypted)
    steps = install_plan.plan_new(size, sector, source.bios, guids, encrypted=encrypted)
    return [(0, step) for step in steps]


def _private_mounts() -> None:
    os.unshare(os.CLONE_NEWNS)
    mount(None, "/", None, MountFlag.REC | MountFlag.PRIVATE)
