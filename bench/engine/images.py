"""The images of the benchmark, made here: busybox, and a large one of six layers."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox")
APPLETS = ("cat", "dd", "echo", "false", "head", "sh", "sleep", "true", "yes")
LAYERS = 6
PROGRAMS = Path("/usr")
"""What the large image is filled with: programs and libraries of the tool root, which is locked."""
LARGEST_BYTES = 32 << 20
DATE = 1_700_000_000


def make_rootfs(folder: Path, applets: Sequence[str] = APPLETS) -> Path:
    """The root of the containers: busybox, and where things are mounted."""
    root = folder / "rootfs"
    for name in ("bin", "dev", "etc", "proc", "sys", "tmp", "run"):
        (root / name).mkdir(parents=True)
    shutil.copy(BUSYBOX, root / "bin/busybox")
    for applet in applets:
        (root / "bin" / applet).symlink_to("busybox")
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    return root


def make_archive(path: Path, tag: str, layers: Sequence[Path]) -> bytes:
    """What `docker save` writes, of uncompressed *layers*; the image's configuration."""
    digests = []
    for layer in layers:
        with layer.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": "2026-01-01T00:00:00Z",
            "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
            "history": [{"created": "2026-01-01T00:00:00Z"} for _ in layers],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    names = [f"{digest}/layer.tar" for digest in digests]
    manifest = [{"Config": f"{name}.json", "RepoTags": [tag], "Layers": names}]
    with tarfile.open(path, "w") as archive:
        for layer_name, layer in zip(names, layers, strict=True):
            archive.add(layer, layer_name, filter=_owned_by_root)
        _add(archive, f"{name}.json", config)
        _add(archive, "manifest.json", json.dumps(manifest).encode())
    return config


def small_layer(work: Path, applets: Sequence[str] = APPLETS) -> Path:
    """Busybox, as a layer."""
    root = make_rootfs(work, applets)
    path = work / "layer.tar"
    with tarfile.open(path, mode="w") as archive:
        archive.add(root, arcname=".", filter=_owned_by_root)
    return path


def large_layers(folder: Path, size_bytes: int, source: Path = PROGRAMS) -> tuple[Path, ...]:
    """About *size_bytes* of the files below *source* in `LAYERS` layers; the first has busybox."""
    files = _files(source)
    paths = []
    for number in range(LAYERS):
        path = folder / f"layer-{number}.tar"
        with tarfile.open(path, "w") as archive:
            if number == 0:
                archive.add(make_rootfs(folder), arcname=".", filter=_owned_by_root)
            left_bytes = size_bytes // LAYERS
            while left_bytes > 0 and (file := next(files, None)) is not None:
                name = f"data/{number}/{file.relative_to(source)}"
                archive.add(file, name, recursive=False, filter=_owned_by_root)
                left_bytes -= file.stat().st_size
        paths.append(path)
    return tuple(paths)


def _files(source: Path) -> Iterator[Path]:
    """Regular files, always in the same order."""
    for directory, names, files in os.walk(source):
        names.sort()
        for name in sorted(files):
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST_BYTES:
                yield path


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = DATE
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o644, DATE
    archive.addfile(member, io.BytesIO(content))
