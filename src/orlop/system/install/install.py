"""Installing the system on a disk, as PID 1 sees it: checks, the worker that does it, its progress.

All that touches a disk happens in a worker (`install.worker`), so that a broken disk, or a mistake
there, is nothing that PID 1 suffers from. There is one installation at a time; it goes on when
whoever began it goes away, and anybody may follow it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

from orlop.engine.worker_process import start_worker
from orlop.lib import errors
from orlop.lib.errors import Conflict, InvalidArgument, OrlopError
from orlop.system.power import PowerAction
from orlop.system.storage import mirror

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.wire.compose_model import Json

log = logging.getLogger(__name__)

LOOK_TIMEOUT_S = 60.0
TIMEOUT_S = 2 * 3600.0
REMAKE_TIMEOUT_S = 600.0
MAX_IMAGE_BYTES = 512 << 20
MAX_EVENTS = 1000
MAX_CONFIG_BYTES = 1 << 20
THEN = ("stay", "reboot", "poweroff")
THEN_DELAY_S = 2.0
"""For who follows to hear of the end before the machine's."""

_PARAMETERS = r"[ -~]{0,1000}"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for; the fields are those of `POST /orlop/install`."""

    disk: tuple[str, ...]
    config: str | None = None
    """The document of the installed machine; None: what this machine has been told, or, where the
    state is kept, what is there."""
    config_name: str = "config"
    config_url: str = ""
    image: str = ""
    image_sha256: str = ""
    append: str = ""
    then: str = "stay"
    wipe: bool = False
    keep_state: bool = False
    dry_run: bool = False
    encrypt: str = ""
    """How the state is to be opened, one of `install.encryption.KINDS`; empty: not encrypted."""
    key: str = field(default="", repr=False)
    """What opens the state, in Base64: a passphrase, or of a state that is kept any key."""
    recovery_key: str = field(default="", repr=False)
    """A random text that opens it as well, in Base64."""
    key_file: str = ""
    """Where such a key is at each boot: DISK:/FILE."""
    mirror: tuple[str, ...] = ()
    """A second disk, which is to have everything as well; named as *disk*."""
    unattended: bool = False
    """Nobody has looked at the disk: no field of the API's."""


def parse_request(body: Mapping[str, object]) -> Request:
    """The request that *body* is.

    Raises:
        InvalidArgument: a field is unknown, or not what it should be.
    """
    found = dict(body)
    names = _ids("disk", found.pop("disk", None))
    mirror = _ids("mirror", found.pop("mirror")) if "mirror" in found else ()
    for name, value in found.items():
        if name not in Request.__dataclass_fields__ or name == "unattended":
            raise InvalidArgument(f"{name}: there is no such field")
        kind = bool if name in ("wipe", "keep_state", "dry_run") else str
        if not isinstance(value, kind):
            raise InvalidArgument(f"{name}: {kind.__name__} expected")
    request = Request(names, mirror=mirror, **found)  # type: ignore[arg-type]  # looked at above
    if request.then not in THEN:
        raise InvalidArgument(f"then: {', '.join(THEN)}, not {request.then[:20]!r}")
    digest = request.image_sha256.removeprefix("sha256:")
    if digest and re.fullmatch("[0-9a-f]{64}", digest) is None:
        raise InvalidArgument("image_sha256: 64 hexadecimal digits expected")
    if re.fullmatch(_PARAMETERS, request.append) is None:
        raise InvalidArgument("append: kernel parameters, separated by blanks, expected")
    if request.config is not None and request.config_url:
        raise InvalidArgument("config, config_url: only one of them")
    check(request)
    return request


def _ids(field: str, value: object) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise InvalidArgument(f"{field}: the id of a disk expected")
    return tuple(names)


def check(request: Request) -> None:
    """Whether what *request* says of a mirror or of an encrypted state fits together; pure.

    Raises:
        InvalidArgument: it does not.
    """
    if request.mirror and request.keep_state:
        raise InvalidArgument(
            "mirror, keep_state: an installation on two disks makes both anew",
            hint="a disk that a mirror lacks is added on the machine: orlop disks mirror DISK",
        )
    if request.encrypt or request.key or request.recovery_key or request.key_file:
        from orlop.system.install import encryption

        encryption.check(request)


class Job:
    """An installation: what it has said so far, and whether it has ended."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.ended = False
        self._events: list[tuple[int, dict[str, Json]]] = []
        self._count = 0
        self._changed = asyncio.Event()

    def say(self, event: dict[str, Json]) -> None:
        """Tell whoever follows. How far a step is counts only until the next word about it."""
        self._count += 1
        entry = (self._count, event)
        if self._events and self._events[-1][1].get("step") == event.get("step") is not None:
            self._events[-1] = entry
        else:
            self._events.append(entry)
            del self._events[:-MAX_EVENTS]
        self._wake()

    def end(self) -> None:
        """There is no more to say."""
        self.ended = True
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def follow(self) -> AsyncIterator[dict[str, Json]]:
        """All that was and will be said."""
        seen = 0
        while True:
            changed = self._changed
            for count, event in [*self._events]:
                if count > seen:
                    seen = count
                    yield event
            if changed.is_set():
                continue
            if self.ended:
                return
            await changed.wait()


class Installer:
    """For the machine of *boot*."""

    def __init__(self, boot: Boot) -> None:
        self._boot = boot
        self.job: Job | None = None

    async def disks(self) -> list[Json]:
        """The disks there are: `install.disks.to_json`.

        Raises:
            OrlopError: they cannot be looked at.
        """
        busy = self.job is not None and not self.job.ended
        asked: dict[str, Json] = {"verb": "disks", "build": self._build(), "busy": busy}
        async with _worker(self._boot, asked, LOOK_TIMEOUT_S) as messages:
            async for message in messages:
                found = message.get("disks")
                if isinstance(found, list):
                    return found
        raise errors.Internal("the installation's worker gave no answer")

    async def begin(self, request: Request) -> Job:
        """Check the configuration, then start what *request* asks for; it goes on by itself.

        Raises:
            Conflict: another installation goes on. InvalidArgument: the configuration is wrong.
            OrlopError: it, or what an encrypted state needs, cannot be had.
        """
        boot = self._boot
        boot.power.refuse_while_stopping()
        self._refuse_while_busy()
        # What is kept of it has no keys.
        job = self.job = Job(replace(request, key="", recovery_key=""))
        try:
            config = await self._checked_configuration(request, job)
            if request.encrypt or request.key or request.key_file:
                from orlop.system.install import encryption

                await encryption.prepare(request, boot.children)
            if request.mirror:
                from orlop.system.install import array

                await array.prepare(boot.children, patient=request.unattended)
        except BaseException:
            job.end()
            raise
        boot.tasks.start(self._run(job, request, config), "installation")
        return job

    def _refuse_while_busy(self) -> None:
        if self.job is not None and not self.job.ended:
            disks = ", ".join((*self.job.request.disk, *self.job.request.mirror))
            raise Conflict(f"an installation on {disks} goes on: orlop install --follow shows it")

    async def _checked_configuration(self, request: Request, job: Job) -> str:
        boot, name = self._boot, request.config_name
        if request.config_url:
            fetched = await boot.images.file(request.config_url)
            text, name = fetched.text, request.config_url
        elif request.config is not None:
            text = request.config
        elif request.keep_state:
            return ""
        else:
            text, name = effective(boot.config.current.data), "what this machine has been told"
        if len(text) > MAX_CONFIG_BYTES:
            raise InvalidArgument(f"{name}: longer than {MAX_CONFIG_BYTES} bytes")
        if text.strip():
            answer = await boot.config.examine({"verb": "validate", "text": text, "name": name})
            notices = answer.get("notices")
            for notice in notices if isinstance(notices, list) else []:
                job.say({"notice": str(notice)})
        return text

    async def _run(self, job: Job, request: Request, config: str) -> None:
        with _told(job):
            async with self._image(job) as path:
                asked: dict[str, Json] = {
                    **asdict(request),
                    "disk": [*request.disk],
                    "mirror": [*request.mirror],
                    "verb": "install",
                    "build": self._build(),
                    "config": config,
                    "image": path,
                    "image_sha256": request.image_sha256.removeprefix("sha256:"),
                }
                await self._work(job, asked)
            self._finish(job)

    async def _work(self, job: Job, asked: Mapping[str, Json]) -> None:
        async with _worker(self._boot, asked, TIMEOUT_S) as messages:
            async for message in messages:
                job.say(message)

    def add_half(self, disk: str, *, wipe: bool) -> Job:
        """Begin to make *disk* the other half of the mirror that the state is on.

        Raises:
            Conflict: an installation goes on, or the state is on no mirror that lacks a half.
        """
        boot = self._boot
        boot.power.refuse_while_stopping()
        self._refuse_while_busy()
        device = boot.machine.state.device if boot.machine.state else ""
        found = mirror.of_state(device)
        if found is None:
            raise Conflict(
                "the state of this machine is on one disk, which does not become half of a mirror "
                "where it is",
                hint="keep a copy of what is on it elsewhere, and install anew with --mirror: "
                "docs/install.md",
            )
        if not found.missing:
            raise Conflict(
                "the mirror has both its halves: it lacks none",
                hint="orlop os verify looks at what each of them starts",
            )
        job = self.job = Job(Request((disk,), wipe=wipe))
        asked: dict[str, Json] = {
            "verb": "mirror",
            "build": self._build(),
            "disk": disk,
            "wipe": wipe,
            "state": device,
        }
        boot.tasks.start(self._add_half(job, asked), "other half of the mirror")
        return job

    async def _add_half(self, job: Job, asked: Mapping[str, Json]) -> None:
        with _told(job):
            # No update changes the boot partition meanwhile.
            async with self._boot.updates.now.at_work("mirror") as (_, esp):
                await self._work(job, {**asked, "esp": str(esp)})
            # One that was used alone was no part of the mirror when that began.
            done = self._boot.updates.equalise(str(asked["state"]))
            self._boot.tasks.start(done, "boot partitions")

    async def remake_boot_partition(self, device: str, esp: Path) -> None:
        """Make the boot partition *device* anew, like the one that is mounted at *esp*.

        Raises:
            OrlopError: it cannot be.
        """
        asked: dict[str, Json] = {
            "verb": "boot-partition",
            "device": device,
            "esp": str(esp),
            "busy": True,
        }
        async with _worker(self._boot, asked, REMAKE_TIMEOUT_S) as messages:
            async for message in messages:
                log.debug("%s", message)

    def _finish(self, job: Job) -> None:
        request = job.request
        if request.dry_run:
            return
        log.warning("installed on %s", ", ".join((*request.disk, *request.mirror)))
        if request.then != "stay":
            loop = asyncio.get_running_loop()
            action = PowerAction(request.then)
            why = "the system has been installed"
            loop.call_later(THEN_DELAY_S, lambda: self._boot.power.request(action, why))

    @contextlib.asynccontextmanager
    async def _image(self, job: Job) -> AsyncIterator[str]:
        """The path of the image, while the block runs; empty for the medium of this machine."""
        request = job.request
        if not request.image.startswith(("http://", "https://")):
            yield request.image
            return
        digest = request.image_sha256.removeprefix("sha256:")
        if request.image.startswith("http://") and not digest:
            raise InvalidArgument(
                f"{request.image}: what comes without TLS must have a digest (--image-sha256)"
            )
        job.say({"step": "fetch", "text": f"fetching {request.image}"})
        wanted = f"sha256:{digest}" if digest else ""
        async with self._boot.images.download(request.image, wanted, MAX_IMAGE_BYTES) as (path, _):
            yield str(path)

    def _build(self) -> str:
        return str(self._boot.machine.release.get("build") or "")


@contextlib.contextmanager
def _told(job: Job) -> Iterator[None]:
    """Whoever follows *job* is told when the block has failed, and that it has ended."""
    try:
        yield
    except (OrlopError, OSError) as error:
        hint = getattr(error, "hint", None)
        log.error("installation: %s", error)
        job.say({"error": str(error), "hint": hint, "kind": type(error).__name__})
    finally:
        job.end()


def effective(data: Mapping[str, Json]) -> str:
    """What a machine has been told, as a document for the one that is installed; pure."""
    found = dict(data)
    own = found.pop("orlop", None)
    if isinstance(own, dict):
        rest = {name: value for name, value in own.items() if name != "install"}
        if rest:
            found["orlop"] = rest
    return f"{json.dumps(found, indent=2)}\n" if found else ""


@contextlib.asynccontextmanager
async def _worker(
    boot: Boot, asked: Mapping[str, Json], timeout_s: float
) -> AsyncIterator[AsyncIterator[dict[str, Json]]]:
    descriptor = os.memfd_create("install", os.MFD_CLOEXEC)
    try:
        os.pwrite(descriptor, json.dumps(asked).encode(), 0)
        async with start_worker(
            boot.children, "install", fds={0: descriptor}, timeout_s=timeout_s
        ) as worker:
            yield worker.messages()
    finally:
        os.close(descriptor)
