"""The step ``manifest``: what is in the release, from where, under which licence, and how large.

``manifest.json`` is for programs of ours (`./orlop size` prints it) and for whoever wants to know
what they run; ``sbom.spdx.json`` says the part about components in SPDX's words.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from orlop import __version__
from orlop.image import boot_loader, network_boot, sbom, sizes, uki
from orlop.image.blobs import BlobSet, BlobStore, Digest
from orlop.image.kernel_config import CONFIG_FILE
from orlop.image.licences import licence_of
from orlop.image.packages import Package, read_packages
from orlop.image.pymodules import OWN
from orlop.image.root import CONTENTS_FILE, IMAGE_FILE, KERNEL_MODULES
from orlop.image.sizes import Row
from orlop.image.step import StepContext

OWN_LICENCE = "Apache-2.0"
LINKED_TOOLS = {
    "musl": "musl-dev",
    "nettle": "nettle-dev",
    "grub2": "grub-common",
    "systemd": "systemd-boot-efi",
}
"""Source packages of which the tool root's binaries end up in the release: linked statically into
/init and other small programs, into chronyd, the boot loaders, and the stub of the unified kernel
image."""


@dataclass(frozen=True, slots=True)
class Component:
    """A thing with a version and a licence; `files` counts paths, `raw_bytes` contents."""

    name: str
    version: str
    source: str
    source_version: str
    licence: str
    kind: str
    files: int = 0
    raw_bytes: int = 0
    image_bytes: int = 0
    drift: bool = False


def build_manifest(context: StepContext, *, builds: Sequence[str]) -> None:
    """Step: write both files from the results of the steps before."""
    root = context.result("root")
    rows = read_rows(root / CONTENTS_FILE)
    steps = ("packages", "python-libraries", "python", "root")
    blobs = BlobSet(*(BlobStore(context.result(step) / "blobs") for step in steps))
    image_bytes = (root / IMAGE_FILE).stat().st_size
    shares = sizes.estimate_shares(rows, lambda digest: blobs.read(Digest(digest)), image_bytes)
    components = [
        *_packages(context, rows, shares, blobs),
        *_builds(context, rows, shares, builds),
        *_linked(context),
        *_kernel(context, rows, shares),
        _own(rows, shares),
    ]
    outputs = _outputs(context)
    release = json.loads((root / "release.json").read_text())
    groups = [asdict(group) for group in _groups(context, rows, shares)]
    services = [
        {"name": name, "raw_bytes": whole, "own_bytes": own}
        for name, (whole, own) in sizes.service_totals(rows).items()
    ]
    manifest = {
        "format": 1,
        "name": "orlop",
        "version": __version__,
        "build": release["build"],
        "drift": any(component.drift for component in components),
        "outputs": outputs,
        "components": [asdict(component) for component in components],
        "groups": groups,
        "services": services,
    }
    _write_json(context.output / "manifest.json", manifest)
    document = sbom.document(components, outputs, epoch=context.epoch)
    _write_json(context.output / "sbom.spdx.json", document)


def read_rows(path: Path) -> list[Row]:
    """The files of the system image, without its links."""
    return [
        Row(row[0], row[2], row[3], row[4])
        for row in json.loads(path.read_text())
        if row[1] == "file"
    ]


def usage(rows: Iterable[Row], shares: Mapping[str, int], origin: str) -> dict[str, int]:
    """Paths, bytes and share of the image of what came from *origin*."""
    mine = [row for row in rows if row.origin == origin]
    unique = {row.digest: row.size_bytes for row in mine}
    return {
        "files": len(mine),
        "raw_bytes": sum(unique.values()),
        "image_bytes": sum(shares[digest] for digest in unique),
    }


def copyright_text(package: Package, packages: Mapping[str, Package], blobs: BlobSet) -> str:
    """Debian's copyright file for *package*, which may be in a package that it links to."""
    folder = f"/usr/share/doc/{package.name}"
    for entry in package.entries:
        if entry.path == folder + "/copyright" and entry.digest:
            return blobs.read(entry.digest).decode(errors="replace")
        if entry.path in (folder, folder + "/copyright") and entry.kind == "link":
            name = entry.target.removesuffix("/copyright").rpartition("/")[2]
            if name != package.name and name in packages:
                return copyright_text(packages[name], packages, blobs)
    return ""


def _packages(
    context: StepContext, rows: Sequence[Row], shares: Mapping[str, int], blobs: BlobSet
) -> Iterable[Component]:
    packages = read_packages(context.result("packages"))
    records = json.loads((context.result("debs") / "packages.json").read_text())
    drift = {record["name"]: record["drift"] for record in records}
    used = {row.origin for row in rows}
    for name, package in sorted(packages.items()):
        if name in used:
            text = copyright_text(package, packages, blobs)
            yield Component(
                name,
                package.version,
                package.source,
                package.source_version,
                licence_of(package.source, text),
                "debian-binary",
                **usage(rows, shares, name),
                drift=drift[name],
            )


def _builds(
    context: StepContext, rows: Sequence[Row], shares: Mapping[str, int], builds: Sequence[str]
) -> Iterable[Component]:
    index = json.loads((context.result("sources") / "sources.json").read_text())
    for name in builds:
        folder = context.result(f"build-{name}")
        record = json.loads((folder / "build.json").read_text())
        if source := record["source"]:
            text = (folder / "copyright").read_text(errors="replace")
            yield Component(
                source,
                record["version"],
                source,
                record["version"],
                licence_of(source, text),
                "debian-source",
                **usage(rows, shares, source),
                drift=index[source]["drift"],
            )


def _linked(context: StepContext) -> Iterable[Component]:
    for source, package in sorted(LINKED_TOOLS.items()):
        version = context.capture(["dpkg-query", "--show", "--showformat=${Version}", package])
        shown = Path("/usr/share/doc") / package / "copyright"
        text = shown.read_text(errors="replace") if shown.exists() else ""
        licence = licence_of(source, text)
        yield Component(source, version, source, version, licence, "linked")


def _kernel(
    context: StepContext, rows: Sequence[Row], shares: Mapping[str, int]
) -> Iterable[Component]:
    [record] = json.loads((context.result("kernel-source") / "packages.json").read_text())
    size = (context.result("kernel") / "vmlinuz").stat().st_size
    modules = usage(rows, shares, KERNEL_MODULES)
    yield Component(
        "linux",
        record["source_version"],
        record["source"],
        record["source_version"],
        licence_of("linux", ""),
        "debian-source",
        modules["files"] + 1,
        modules["raw_bytes"] + size,
        modules["image_bytes"] + size,
        record["drift"],
    )


def _own(rows: Sequence[Row], shares: Mapping[str, int]) -> Component:
    numbers = usage(rows, shares, OWN)
    return Component(
        *(OWN, __version__, OWN, __version__, OWN_LICENCE, "own"),
        numbers["files"],
        numbers["raw_bytes"],
        numbers["image_bytes"],
    )


def _groups(
    context: StepContext, rows: Sequence[Row], shares: Mapping[str, int]
) -> list[sizes.Group]:
    """The groups of the ISO: those of the system image, and what is around it."""
    image = (context.result("root") / IMAGE_FILE).stat().st_size
    initrd = (context.result("initrd") / "initrd").stat().st_size
    kernel = (context.result("kernel") / "vmlinuz").stat().st_size
    image_around = (context.result("uki") / uki.FILE).stat().st_size - kernel - initrd
    iso = (context.result("iso") / "orlop.iso").stat().st_size
    loaders = iso - image_around - kernel - initrd
    around = [
        sizes.Group("kernel", 1, kernel, kernel),
        sizes.Group("boot loaders and ISO", 0, loaders, loaders),
        sizes.Group("unified kernel image: stub and alignment", 1, image_around, image_around),
        sizes.Group("/init", 1, initrd - image, initrd - image),
    ]
    return sorted(
        [*sizes.group_files(rows, shares), *around],
        key=lambda group: (-group.image_bytes, group.name),
    )


def _outputs(context: StepContext) -> dict[str, dict[str, object]]:
    files = {
        "orlop.iso": context.result("iso") / "orlop.iso",
        uki.FILE: context.result("uki") / uki.FILE,
        boot_loader.BIOS_FILE: context.result("loader") / boot_loader.BIOS_FILE,
        boot_loader.EFI_FILE: context.result("loader") / boot_loader.EFI_FILE,
        "orlop-extras.erofs": context.result("extras") / "orlop-extras.erofs",
        "vmlinuz": context.result("kernel") / "vmlinuz",
        "initrd": context.result("initrd") / "initrd",
        network_boot.FILE: context.result("network-boot") / network_boot.FILE,
        "kernel.config": context.result("kernel-config") / CONFIG_FILE,
    }
    found: dict[str, dict[str, object]] = {}
    for name, path in files.items():
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        found[name] = {"size_bytes": path.stat().st_size, "sha256": digest}
    return found


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
