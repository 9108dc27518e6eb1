"""`orlop os check` and `stage` for releases: what there is for this machine, and bringing it.

What a release is made of is looked for, verified and fetched by `fetch`; here it becomes a
candidate for a generation.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from orlop.lib.errors import (
    Cancelled,
    Conflict,
    Forbidden,
    NotModified,
    OrlopError,
    ResourceExhausted,
    Unavailable,
)
from orlop.system.storage import extras
from orlop.system.updates import extras_files, fetch, intake, release_services, staging, trials
from orlop.system.updates.fetch import Offer, Running
from orlop.system.updates.generations import Image
from orlop.system.updates.generations import Release as Staged
from orlop.system.updates.settings import settings
from orlop.system.updates.stage import Candidate, is_whole, withdrawal
from orlop.wire.channel import Refused, Why

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from orlop.system.boot import Boot
    from orlop.system.updates.fetch import Fetched, Progress
    from orlop.system.updates.generations import Generation
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json
    from orlop.wire.release import Blob, Release

    type Tell = Callable[[dict[str, Json]], None]

log = logging.getLogger(__name__)

PATIENCE_S = 3.0
"""After so long people want to know what is waited for."""

BASE = "base.efi"
"""In the directory of updates while a delta is applied: a copy of the image that runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked for; what is empty is the configuration's."""

    source: str = ""
    channel: str = ""
    version: str = ""
    allow_downgrade: bool = False


def parse_wish(body: Mapping[str, object]) -> Wish:
    """From the body of a request."""
    return Wish(
        source=str(body.get("source") or ""),
        channel=str(body.get("channel") or ""),
        version=str(body.get("version") or ""),
        allow_downgrade=body.get("allow_downgrade") is True,
    )


async def look(
    boot: Boot, wish: Wish, tell: Tell = lambda _: None
) -> tuple[Offer | Refused, Generation]:
    """What there is for this machine, and the generation that it runs; *tell* is told what is
    waited for, if that takes its time.

    Raises:
        OrlopError: it cannot be found out, or what is there is not to be trusted.
    """
    source = wish.source or str(boot.config.current.get("orlop.update.source") or "")
    waits: dict[str, Json] = {"waits": source}
    later = asyncio.get_running_loop().call_later(PATIENCE_S, tell, waits)
    try:
        async with boot.updates.now.looking:
            return await _look(boot, wish)
    finally:
        later.cancel()


async def ask_again(boot: Boot) -> None:
    """Take back what is staged, or is to be tried again, if it was revoked meanwhile; without an
    answer it is as good as it was.

    Raises:
        Conflict: somebody is at a verb.
    """
    try:
        await look(boot, Wish())
    except Conflict:
        raise
    except (OrlopError, OSError) as error:
        log.info("whether the update is revoked is not known: %s", error)


async def _look(boot: Boot, wish: Wish) -> tuple[Offer | Refused, Generation]:
    ledger = await boot.updates.now.reading()
    good, staged = await asyncio.to_thread(_standing, ledger)
    found = boot.machine.release
    running = Running(
        version=good.release.version or found.get("version", ""),
        build=found.get("build", ""),
        sequence=good.release.sequence,
        image_sha256=good.image.sha256,
    )
    wanted = await settings(
        boot,
        running,
        source=wish.source,
        channel=wish.channel,
        version=wish.version,
        allow_downgrade=wish.allow_downgrade,
        staged=Staged() if staged is None else staged.release,
        directory=boot.updates.now.directory,
    )
    withdrawn: list[str] = []
    answer = await fetch.check(wanted, boot.children, withdrawn.append)
    if staged is not None and withdrawn:
        await _withdraw(boot, staged.number, withdrawn[0])
    return answer, good


def _standing(ledger: Ledger) -> tuple[Generation, Generation | None]:
    """The good generation, and what is staged."""
    standing = ledger.generations.standing()
    staged = ledger.generations.read(standing.staged) if standing.staged else None
    return ledger.generations.read(standing.good), staged


async def _withdraw(boot: Boot, number: int, why: str) -> None:
    """Generation *number* is not staged any more, nor tried with the next boot. A trial that has
    begun goes on."""
    updates = boot.updates.now
    async with updates.at_work("withdraw") as (ledger, place):
        standing = await asyncio.to_thread(ledger.generations.standing)
        if updates.is_trial or standing.staged != number:
            return
        if (armed := trials.armed(ledger)) is not None:
            await asyncio.to_thread(trials.abandon, ledger, place, armed, why)
        data: dict[str, Json] = {"generation": number, "why": why}
        tasks = withdrawal(ledger, place, number)
        await asyncio.to_thread(ledger.journal.run, "withdraw", tasks, data)
    boot.machine.warn(f"generation {number} is not staged any more: {why}")
    if armed is not None:
        await boot.health.gate.became_good()


async def offered(boot: Boot, wish: Wish, tell: Tell = lambda _: None) -> tuple[Offer, Generation]:
    """As `look`, of what can be taken now.

    Raises:
        NotModified: nothing newer is there. Forbidden: it is not for this machine, or not yet.
    """
    found, good = await look(boot, wish, tell)
    if isinstance(found, Refused):
        raise (NotModified if found.why is Why.CURRENT else Forbidden)(found.text)
    return found, good


async def check(boot: Boot, wish: Wish, tell: Tell = lambda _: None) -> dict[str, Json]:
    """The release that this machine may take now.

    Raises:
        OrlopError: as `offered`.
    """
    offer, good = await offered(boot, wish, tell)
    _, staged = await asyncio.to_thread(_standing, await boot.updates.now.reading())
    there = staged.number if staged and staged.release.digest == offer.digest else None
    return {**describe(offer, good, _needed_extras(boot, offer, good)), "staged": there}


def describe(offer: Offer, good: Generation, extras: Blob | None) -> dict[str, Json]:
    """The release, and how many bytes will be fetched for it and for *extras*."""
    release = offer.release
    delta = next((d for d in release.deltas if d.source == good.image.sha256), None)
    image = release.image
    fetched = 0 if image.sha256 == good.image.sha256 else (delta or image).size_bytes
    services = {name: service.digest for name, service in release.services.items()}
    for service in release.services.values():
        fetched += service.archive.size_bytes if service.archive else 0
    fetched += extras.size_bytes if extras else 0
    return {
        "version": release.version,
        "sequence": release.sequence,
        "digest": offer.digest,
        "build": image.build,
        "image_bytes": image.size_bytes,
        "download_bytes": fetched,
        "delta": delta is not None,
        "services": {**services},
        "source": offer.settings.source,
        "channel": offer.settings.channel,
    }


def _needed_extras(boot: Boot, offer: Offer, good: Generation) -> Blob | None:
    """What is to be fetched of the release's storage extras: a machine that has some on its ESP, or
    uses those of elsewhere, is to have those of another image as well.

    Raises:
        Forbidden: it uses them, and the release has none.
    """
    release, there = offer.release, boot.updates.now.extras_there
    in_use = extras.in_use()
    if release.image.sha256 == good.image.sha256 or not (there or in_use):
        return None
    if release.extras is None:
        if in_use:
            raise Forbidden(
                "this machine uses the storage extras (orlop-extras.erofs), and release "
                f"{release.version} has none: it might not find its state"
            )
        log.warning("release %s has no storage extras; this machine uses none now", release.version)
        return None
    return None if release.extras.sha256[: extras_files.ID_DIGITS] in there else release.extras


async def stage(boot: Boot, wish: Wish, tell: Tell) -> dict[str, Json]:
    """Fetch what there is for this machine, and make a generation of it.

    Raises:
        OrlopError: as `offered`, or it cannot be brought or kept.
    """
    offer, good = await offered(boot, wish, tell)
    return await take(boot, offer, good, tell)


async def take(boot: Boot, offer: Offer, good: Generation, tell: Tell) -> dict[str, Json]:
    """Fetch what is offered, and make a generation of it.

    Raises:
        OrlopError: it cannot be brought or kept; nothing has changed then.
    """
    updates = boot.updates.now
    updates.state_device()
    if updates.fetching.locked():
        raise Conflict("busy: a release is being fetched already")
    async with updates.fetching:
        return await _take(boot, offer, good, tell)


async def _take(boot: Boot, offer: Offer, good: Generation, tell: Tell) -> dict[str, Json]:
    release, updates = offer.release, boot.updates.now
    wanted = _needed_extras(boot, offer, good)
    candidate = replace(make_candidate(release, offer.digest), extras=wanted)
    await _refuse_again(boot, candidate, good)
    received = 0
    incoming = updates.directory / fetch.INCOMING
    path = incoming / release.image.sha256
    if release.image.sha256 != good.image.sha256 or release.services:
        received = await _bring(boot, offer, good, tell, with_extras=wanted is not None)
    size = 2 * release.image.size_bytes
    try:
        services = await release_services.bring(boot, release, incoming)
        candidate = replace(candidate, services=services)
        made = await updates.stage(candidate, path, lambda done: tell({"done": done, "of": size}))
    except (Cancelled, Conflict):
        raise  # what was fetched is there for the next attempt
    except BaseException:
        await asyncio.to_thread(_remove, incoming, release)
        raise
    await asyncio.to_thread(_remove, incoming, release)
    return {
        "generation": made.number,
        "version": release.version,
        "received_bytes": received,
    }


async def _refuse_again(boot: Boot, candidate: Candidate, good: Generation) -> None:
    """Before anything is fetched.

    Raises:
        NotModified: that is staged already, and whole. Conflict: another is tried now, or with the
            next boot. ResourceExhausted: the EFI system partition has no room for it.
    """
    extras_bytes = candidate.extras.size_bytes if candidate.extras else 0

    def work(ledger: Ledger, place: Path) -> None:
        if trials.armed(ledger) is not None:
            ledger.journal.refuse_busy()
        staged = ledger.generations.standing().staged
        if staged and ledger.generations.read(staged).release.digest == candidate.release.digest:
            if candidate.image == good.image or is_whole(place, candidate):
                raise NotModified(f"generation {staged} is that, and is staged already")
            log.warning("generation %d is damaged on the disk, and is brought anew", staged)
        if candidate.image != good.image:
            staging.check_fits(place, candidate.image, extras_bytes)

    async with boot.updates.now.at_work("stage", write=False) as (ledger, place):
        await asyncio.to_thread(work, ledger, place)


def _remove(incoming: Path, release: Release) -> None:
    for blob in release.blobs():
        (incoming / blob.sha256).unlink(missing_ok=True)


def make_candidate(release: Release, digest: str) -> Candidate:
    """*release* as what can be staged."""
    image = Image(release.image.sha256, release.image.size_bytes, release.image.build)
    beside = intake.files_beside(
        image,
        release.version,
        release.image.kernel,
        release.image.initrd,
        release.image.command_line,
    )
    return Candidate(
        Staged(release.version, release.sequence, digest, release.health), image, beside, {}
    )


async def _bring(
    boot: Boot, offer: Offer, good: Generation, tell: Tell, *, with_extras: bool
) -> int:
    """Fetch what is offered; the bytes that came over the line."""
    base = offer.settings.directory / BASE
    with_delta = any(delta.source == good.image.sha256 for delta in offer.release.deltas)
    try:
        if with_delta and await _copy_image(boot, good.image, base):
            running = replace(offer.settings.running, image=str(base))
            offer = replace(offer, settings=replace(offer.settings, running=running))

        def told(progress: Progress) -> None:
            tell({"done": progress.done, "of": progress.size_bytes})

        work = fetch.fetch(offer, boot.children, told, extras=with_extras)
        return (await _cancellable(boot, work)).received_bytes
    finally:
        await asyncio.to_thread(base.unlink, missing_ok=True)


async def _cancellable(boot: Boot, work: Coroutine[object, object, Fetched]) -> Fetched:
    """What *work* gives, unless somebody says `orlop os cancel`.

    Raises:
        Cancelled: somebody did; what has come stays for the next attempt.
    """
    fetching, updates = asyncio.ensure_future(work), boot.updates.now
    updates.end_fetch = fetching.cancel
    try:
        await asyncio.wait((fetching,))
        if fetching.cancelled():
            raise Cancelled("the release is not fetched: that was cancelled")
        return fetching.result()
    finally:
        updates.end_fetch = None
        fetching.cancel()


async def _copy_image(boot: Boot, image: Image, target: Path) -> bool:
    """A copy of the running image: the ESP is not kept mounted while something is downloaded."""
    with contextlib.suppress(OSError, Unavailable, ResourceExhausted):
        room = partial(staging.check_space, target.parent, image.size_bytes + intake.MARGIN_BYTES)
        await asyncio.to_thread(room, "the state partition")
        async with boot.updates.now.at_work("stage", write=False) as (_, place):
            await asyncio.to_thread(_copy, staging.path_of(place, image.id), target)
            return True
    log.warning("no delta: the running image cannot be read")
    return False


def _copy(source: Path, target: Path) -> None:
    """In pieces; not by shutil, which loads compressors that PID 1 does not need."""
    with source.open("rb") as reading, target.open("wb") as writing:
        while data := reading.read(staging.PART_BYTES):
            writing.write(data)
