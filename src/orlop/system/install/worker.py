"""The worker that installs: `worker install`, the request as JSON on descriptor 0.

    {"verb": "disks", "build": BUILD}
    {"verb": "install", "build": BUILD, "disk": [NAME], "config": TEXT, "image": PATH, ...}

It is root, with a mount table of its own, so that nothing stays mounted when it is killed. On
stdout it says what it does, an object a line; the last one has `result`, or is an error.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from orlop.engine.worker_process import report
from orlop.lib.errors import Conflict, InvalidArgument, NotFound, OrlopError
from orlop.lib.medium import read_source
from orlop.lib.mount import MountFlag, mount
from orlop.system.install import disks as install_disks
from orlop.system.install import kept, luks
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
        if request["verb"] == "disks":
            medium = install_source.find_medium(request["build"])
            disks = install_disks.read_all(medium)
            report({"disks": [install_disks.to_json(disk) for disk in disks]})
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
    disk = install_disks.choose_first(request["disk"], install_disks.read_all(medium))
    keep_state = request["keep_state"]
    refused = install_disks.refusal(
        disk, wipe=request["wipe"], keep_state=keep_state, unattended=request["unattended"]
    )
    if refused is not None:
        raise refused
    source = _source(request, medium)
    encrypt = request.get("encrypt", "")
    lock = luks.Lock(encrypt, luks.keys_of(request))
    if disk.is_locked and keep_state and not (disk.busy or lock.has_keys):
        raise InvalidArgument(
            f"the state on {disk.device} is encrypted: what opens it is needed",
            hint="orlop install --passphrase-file FILE",
        )
    extras = install_source.find_extras(source, request["build"])
    if (encrypt or (keep_state and disk.is_locked)) and not extras:
        raise NotFound(
            "to open its state the installed machine needs the orlop-extras.erofs of its build, "
            "which is not here",
            hint="put it beside the ISO file, or on a stick: docs/storage.md",
        )
    report(
        {
            "text": f"installing {source.image.version} ({source.image.id}) "
            f"from {request['image'] or source.path} on {disk.device} ({disk.label})",
            "disk": install_disks.to_json(disk),
            "image_sha256": source.image.sha256,
            "build": source.build,
        }
    )
    _private_mounts()
    target = Target(disk.device, shared=bool(disk.busy))
    try:
        if install_disks.has_changed(disk, medium):
            raise Conflict(f"{disk.device} has changed since it was looked at: nothing is written")
        steps = plan(target, disk, source, keep_state=keep_state, encrypted=bool(encrypt))
        files = {**extras, **_files(request, target, source)}
        work = Installation(target, disk, source, request["config"], files, lock)
        work.check(steps)
        if request["dry_run"]:
            for step in steps:
                report({"text": f"would do: {install_plan.describe(step)}"})
            report({"text": "nothing has been changed", "result": _result(disk, source, request)})
            return
        if not keep_state:
            target.forget_partitions()
        target.share()
        for step in steps:
            work.do(step)
        target.read_partitions_again()
    finally:
        target.close()
    report(
        {
            "text": f"installed on {disk.device} ({disk.label}); what was written has been read "
            "back and is right",
            "result": _result(disk, source, request),
        }
    )


def _files(request: Mapping[str, Any], target: Target, source: Source) -> Mapping[str, Content]:
    """The files of the boot partition.

    Raises:
        Conflict: it has them already, and nobody would end this happening at each start.
    """
    before, file = "", request.get("key_file", "")
    if request["keep_state"]:
        if request["unattended"] and kept.has_image(target, source.image.id):
            raise Conflict(f"{source.image.id} is installed there already")
        before = kept.read_parameters(target)
    append = kept.join_parameters(request["append"], file, before)
    if before:
        report({"text": f"kernel parameters: {append}"})
    return source.files(append)


def _result(disk: Disk, source: Source, request: Mapping[str, Any]) -> dict[str, object]:
    return {
        "device": disk.device,
        "id": disk.label,
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
    target: Target, disk: Disk, source: Source, *, keep_state: bool, encrypted: bool = False
) -> Sequence[Step]:
    """The steps for *disk*.

    Raises:
        Conflict: it has changed since it was looked at. InvalidArgument: it is too small.
    """
    if not keep_state:
        guids = os.urandom(install_plan.GUID_BYTES)
        size, sector = target.size_bytes, target.sector_bytes
        return install_plan.plan_new(size, sector, source.bios, guids, encrypted=encrypted)
    places = install_disks.own_partitions(target.read, target.sector_bytes)
    if places is None:
        raise Conflict(f"{disk.device} has no state of Orlop's any more")
    return install_plan.plan_kept(places, target.sector_bytes, source.bios)


def _private_mounts() -> None:
    os.unshare(os.CLONE_NEWNS)
    mount(None, "/", None, MountFlag.REC | MountFlag.PRIVATE)
