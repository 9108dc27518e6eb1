"""Images that are there before anybody asks for them: archives in a directory, or on a disk.

For machines without a network. An archive is brought in once, known by its digest, even if its
images are removed later; one whose file has not changed is not read again. If `SHA256SUMS` is
beside the archives, only what it lists with the right digest counts; the digests within an
archive are checked in any case. All reading is the store's worker's. What is wrong with one is
said, and the next follows: nothing here stops an engine.

What was brought is in `preload.json` beside the store:
{"files": {"NAME SIZE MTIME_NS": DIGEST}, "brought": {DIGEST: [NAME...]}}.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.engine import image_stores
from orlop.engine.tasks import thread_to_its_end
from orlop.lib import atomic_file, mount
from orlop.lib.errors import InvalidArgument, NotFound, OrlopError
from orlop.lib.mount import MountFlag

if TYPE_CHECKING:
    from pathlib import Path

    from orlop.engine.engine import Engine
    from orlop.engine.store.layered import LayeredImages

log = logging.getLogger(__name__)

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".oci")
SUMS = "SHA256SUMS"
PATIENCE_S = 60.0
"""How long an engine waits for what was there at its start before it answers anybody."""

DISK_CHECK_S = 10.0
MAX_ARCHIVES = 1000
MAX_FILES_KNOWN = 4 * MAX_ARCHIVES
MAX_SUMS_BYTES = 1 << 20
MAX_MEMORY_BYTES = 4 << 20
HASH_TIMEOUT_S = 3600.0
FILE_SYSTEMS = ("ext4", "iso9660", "vfat", "xfs", "btrfs", "erofs")
_MS_SILENT = MountFlag(1 << 15)
_SUM = re.compile(r"([0-9a-fA-F]{64}) [ *](?:\./)?(.+)")


@dataclass(slots=True)
class Memory:
    """What was brought, as in the file."""

    files: dict[str, str] = field(default_factory=dict)
    brought: dict[str, list[str]] = field(default_factory=dict)


def read_memory(path: Path) -> Memory:
    """A file that is not there or is damaged counts as empty: images are brought once more then."""
    try:
        with open(path, "rb") as stream:
            data = json.loads(stream.read(MAX_MEMORY_BYTES))
        files = {str(key): str(value) for key, value in data["files"].items()}
        brought = {str(key): [str(n) for n in names] for key, names in data["brought"].items()}
    except FileNotFoundError:
        return Memory()
    except (OSError, ValueError, RecursionError, LookupError, AttributeError, TypeError) as error:
        log.warning("preload: cannot read %s: %s, ignoring", path, error)
        return Memory()
    return Memory(files, brought)


def find_archives(directory: Path) -> list[Path]:
    """The archives in *directory*, by name; what is below it is somebody else's."""
    try:
        names = sorted(os.listdir(directory))
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [name for name in names if name.endswith(SUFFIXES) and not name.startswith(".")]
    if len(found) > MAX_ARCHIVES:
        log.warning("preload: %s has more than %d archives, ignoring", directory, MAX_ARCHIVES)
    return [directory / name for name in found[:MAX_ARCHIVES]]


def parse_sums(text: str) -> dict[str, str]:
    """What sha256sum wrote: names to digests.

    Raises:
        InvalidArgument: a line is not of that form.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _SUM.fullmatch(line.rstrip())
        if match is None:
            raise InvalidArgument(f"{SUMS}, line {number}: not what sha256sum writes")
        sums[match[2]] = f"sha256:{match[1].lower()}"
    return sums


def read_sums(directory: Path) -> dict[str, str] | None:
    """The digests that *directory* lists; None if it lists none.

    Raises:
        InvalidArgument: the list is no list.
    """
    try:
        with open(directory / SUMS, "rb") as stream:
            data = stream.read(MAX_SUMS_BYTES + 1)
    except FileNotFoundError:
        return None
    if len(data) > MAX_SUMS_BYTES:
        raise InvalidArgument(f"{SUMS} is longer than {MAX_SUMS_BYTES} bytes")
    try:
        return parse_sums(data.decode())
    except UnicodeDecodeError:
        raise InvalidArgument(f"{SUMS} is no text") from None


def check_sum(name: str, digest: str, sums: dict[str, str] | None) -> None:
    """Refuse what the list does not have, or has otherwise.

    Raises:
        InvalidArgument: with both digests.
    """
    if sums is None:
        return
    listed = sums.get(name)
    if listed is None:
        raise InvalidArgument(f"{SUMS} beside it does not list it")
    if listed != digest:
        raise InvalidArgument(f"its digest is {digest}, but {SUMS} says {listed}")


def mount_disk(device: str, place: Path) -> None:
    """Mount what is on *device* at *place*, read-only, whichever file system it is.

    Raises:
        OSError: it is none that is known here.
    """
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount.detach(place)  # of an engine that was killed
    flags = MountFlag.RDONLY | MountFlag.NOSUID | MountFlag.NODEV | MountFlag.NOEXEC | _MS_SILENT
    reason: OSError | None = None
    for name in FILE_SYSTEMS:
        try:
            mount.mount(device, place, name, flags)
        except OSError as error:
            reason = error
        else:
            return
    assert reason is not None
    raise reason


async def _wait_for(event: asyncio.Event) -> None:
    await event.wait()


class Preload:
    """For *engine*: from *directory*, and from the disk labelled *label* whenever it is there; if
    that is *refused* it is left alone, which is said."""

    def __init__(
        self, engine: Engine, directory: Path, label: str = "", *, refused: bool = False
    ) -> None:
        self._engine = engine
        self._refused = refused
        self._directory = directory
        self._label = label
        settings = engine.settings
        store = settings.store_dir or settings.late_store_dir
        assert store is not None
        self._memory_path = store.parent / "preload.json"
        self._device = f"/dev/disk/by-label/{label}"

    async def begin(self, ending: asyncio.Event) -> None:
        """Bring what is there now, and look for the disk from then on.

        Returns when that is done, or it takes longer and goes on by itself, or *ending* is set.
        """
        tasks = self._engine.tasks
        first = tasks.start(self._first(), "preload")
        end = tasks.start(_wait_for(ending), "end of the preload")
        await asyncio.wait([first, end], timeout=PATIENCE_S, return_when="FIRST_COMPLETED")
        end.cancel()
        if not first.done() and not ending.is_set():
            log.warning("preload: it takes longer, and goes on beside everything else")

    async def _first(self) -> None:
        await self.bring_all(self._directory)
        if self._label:
            present = await self._look_at_disk(was_there=False)
            self._engine.tasks.start(self._watch(present=present), "preload disk")

    async def _watch(self, *, present: bool) -> None:
        while True:
            await asyncio.sleep(DISK_CHECK_S)
            present = await self._look_at_disk(was_there=present)

    async def _look_at_disk(self, *, was_there: bool) -> bool:
        """Bring what is on the disk if it has just come; whether it is there."""
        present = os.path.exists(self._device)
        if present and not was_there and self._refused:
            text = "preload: the disk %s is left alone, as anybody may have brought it: "
            log.warning(text + "orlop.engine.preload_disk", self._label)
        elif present and not was_there:
            place = self._engine.settings.run_dir / "preload"
            try:
                await thread_to_its_end(mount_disk, self._device, place)
            except OSError as error:
                log.error("preload: cannot mount the disk %s: %s", self._label, error.strerror)
                return present
            try:
                await self.bring_all(place)
            finally:
                await thread_to_its_end(mount.detach, place)
        return present

    async def bring_all(self, directory: Path) -> None:
        """Bring every archive in *directory* that was not brought before; never raises."""
        archives = await asyncio.to_thread(find_archives, directory)
        if not archives:
            return
        try:
            sums = await asyncio.to_thread(read_sums, directory)
            memory = await asyncio.to_thread(read_memory, self._memory_path)
        except (OrlopError, OSError) as error:
            log.error("preload: %s: %s; nothing there is used", directory, error)
            return
        for path in archives:
            try:
                await self._bring(path, sums, memory)
            except (OrlopError, OSError) as error:
                log.error("preload: %s is left out: %s", path.name, error)

    async def _bring(self, path: Path, sums: dict[str, str] | None, memory: Memory) -> None:
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = await asyncio.to_thread(os.open, path, flags)  # a disk may be slow to answer
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise InvalidArgument("it is no file")
            key = f"{path.name} {status.st_size} {status.st_mtime_ns}"
            digest = memory.files.get(key) or await self._digest(descriptor)
            check_sum(path.name, digest, sums)
            if digest not in memory.brought:
                memory.brought[digest] = names = await self._load(descriptor)
                log.info("preload: %s: %s", path.name, ", ".join(names))
            elif key in memory.files:
                return
        finally:
            os.close(descriptor)
        memory.files[key] = digest
        await self._remember(memory)

    async def _remember(self, memory: Memory) -> None:
        """Write it down; where that fails, images are brought once more."""
        files = dict(list(memory.files.items())[-MAX_FILES_KNOWN:])
        text = json.dumps({"files": files, "brought": memory.brought}, indent=1) + "\n"
        try:
            await thread_to_its_end(atomic_file.write_text, self._memory_path, text)
        except OSError as error:
            log.warning("preload: cannot write %s: %s", self._memory_path, error.strerror)

    def _store(self) -> LayeredImages:
        """The engine's store, made if there is none yet.

        Raises:
            OrlopError: it cannot be made.
        """
        if self._engine.layered is None:
            image_stores.open_late(self._engine, make=True)
        if self._engine.layered is None:
            raise NotFound("this engine has no store of images")
        return self._engine.layered

    async def _digest(self, descriptor: int) -> str:
        from orlop.engine.store.ingest import run_store_worker

        async with self._store().ingest() as session, session.staging() as directory:
            answer = await run_store_worker(
                self._store(),
                directory,
                "digest",
                {},
                source=descriptor,
                timeout_s=HASH_TIMEOUT_S,
            )
        os.lseek(descriptor, 0, os.SEEK_SET)
        return str(answer["digest"])

    async def _load(self, descriptor: int) -> list[str]:
        from orlop.engine.api.image_store import name_loaded

        store = self._store()
        names: list[str] = []
        async with store.ingest() as session:
            for image in await session.load(descriptor):
                await name_loaded(self._engine, store, image, quiet=True)
                names += image.tags or [image.id]
        return names
