"""The images of the benchmark, made here: busybox, and a large one of six layers."""

import hashlib
import io
import json
import os
import random
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox")
APPLETS = ("cat", "dd", "echo", "false", "head", "sh", "sleep", "true", "yes")
LAYERS = 6
FILE_BYTES = 64 << 10
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


def make_archive(path: Path, tag: str, layers: list[bytes]) -> None:
    """What `docker save` writes, of uncompressed *layers*."""
    digests = [hashlib.sha256(layer).hexdigest() for layer in layers]
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
            _add(archive, layer_name, layer)
        _add(archive, f"{name}.json", config)
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def small_layer(work: Path, applets: Sequence[str] = APPLETS) -> bytes:
    """Busybox, as a layer."""
    root = make_rootfs(work, applets)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        archive.add(root, arcname=".", filter=_owned_by_root)
    return stream.getvalue()


def large_layers(size_bytes: int) -> list[bytes]:
    """*size_bytes* in `LAYERS` layers of many files that compress about as programs do."""
    source = random.Random(1)
    words = [source.randbytes(24) for _ in range(4096)]
    layers = []
    for number in range(LAYERS):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as archive:
            for index in range(size_bytes // LAYERS // FILE_BYTES):
                content = b"".join(source.choices(words, k=FILE_BYTES // 24))
                _add(archive, f"data/{number}/{index % 97}/{index}", content)
        layers.append(stream.getvalue())
    return layers


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mtime = DATE
    return member


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o644, DATE
    archive.addfile(member, io.BytesIO(content))


def archive_hash_s(path: Path) -> float:
    """How long reading and hashing *path* takes: the least that loading it can."""
    import time

    started = time.perf_counter()
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return time.perf_counter() - started
