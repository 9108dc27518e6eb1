"""`orlop os verify [--repair]`: all that the machine is made of, and bringing anew what is damaged.

What came with a release comes from where releases come from, by the digests in its manifest, which
is verified as ever; the index of a layer is made again from the layer. What nobody can bring stays
as it is. What was repaired is looked at once more.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orlop.engine.store import verify as store_verify
from orlop.engine.store.verify import Damage
from orlop.lib.errors import Conflict, Forbidden, NotFound, OrlopError
from orlop.system.services.overlay import reference
from orlop.system.storage import mirror
from orlop.system.updates import esp, extras_files, fetch, offers, staging, verify
from orlop.system.updates.fetch import Running
from orlop.system.updates.settings import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.system.updates.fetch import Offer, Progress
    from orlop.system.updates.generations import Generation
    from orlop.wire.compose_model import Json

    type Tell = Callable[[dict[str, Json]], None]

IMAGE, EXTRAS, SERVICE = "image ", "extras ", "service "


@dataclass(slots=True)
class Found:
    """*rows* are what people see: `what`, `ok`, `problem`; *services* have a problem in the image
    of that name."""

    rows: list[dict[str, Json]]
    generations: list[Generation]
    damage: Damage
    services: dict[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> dict[str, str]:
        return {str(row["what"]): str(row["problem"]) for row in self.rows if not row["ok"]}


async def run(boot: Boot, tell: Tell, *, repair: bool, source: str) -> list[dict[str, Json]]:
    """What was looked at; with *repair* also `repaired`, and what kept it from that in `problem`.
    *source* is where releases are had from then, empty for the configured one.

    Raises:
        OrlopError: it cannot be looked at.
    """
    found = await _look(boot, tell)
    before = found.problems
    if not repair or not before:
        return found.rows
    failed = await _repair(boot, found, source, tell)
    found = await _look(boot, tell)
    for row in found.rows:
        what = str(row["what"])
        row["repaired"] = what in before and row["ok"] is True
        if not row["ok"] and what in failed:
            row["problem"] = f"{row['problem']}; not repaired: {failed[what]}"
    return found.rows


async def _look(boot: Boot, tell: Tell) -> Found:
    updates = boot.updates.now
    async with updates.at_work("verify", write=False) as (ledger, place):
        rows = await asyncio.to_thread(verify.verify, ledger, place, updates.now())
        if (state := boot.machine.state) and mirror.of_state(state.device):
            remade = await updates.remake_lost(state.device, place)
            mended = await esp.mend_others(state.device)
            for device, text in {**mended, **remade}.items():
                rows.append(verify.row(f"boot partition {device}", text))
        generations = await asyncio.to_thread(ledger.generations.all)
        good = (await asyncio.to_thread(ledger.generations.standing)).good
    store, damage = boot.engine.layered, Damage()
    if store is not None:
        damage = await store_verify.verify(store, lambda at, of: tell({"done": at, "of": of}))
    found = Found(rows, sorted(generations, key=lambda g: g.number != good), damage)
    _add_services(boot, found, good)
    return found


def _add_services(boot: Boot, found: Found, good: int) -> None:
    """A row for the image of each service of each generation, and for every other image."""
    store, seen = boot.engine.layered, set()
    for generation in found.generations:
        of = "" if generation.number == good else f" of generation {generation.number}"
        for name, version in generation.services.items():
            image = reference(name, version.digest)
            if image in seen:
                continue
            problem = ""
            if version.digest:
                seen.add(image)
                if not boot.images.is_there(image):
                    problem = f"its image {version.digest} is not there"
                elif store is not None:
                    problem = found.damage.of(store.find(image))
            if problem:
                found.services[image] = f"{SERVICE}{name}{of}"
            found.rows.append(verify.row(f"{SERVICE}{name}{of}", problem))
    for view in () if store is None else store.all():
        names = [tag for tag in view.tags if tag not in seen]
        if names and store is not None and len(names) == len(view.tags):
            problem = found.damage.of(store.find(view.id))
            found.rows.append(verify.row(f"{SERVICE}image {names[0]}", problem))


async def _repair(boot: Boot, found: Found, source: str, tell: Tell) -> dict[str, str]:
    """Bring anew what can be; why not, by what is in the rows."""
    failed: dict[str, str] = {}
    left = dict(found.problems)
    if (store := boot.engine.layered) is not None:
        await store_verify.mend_indexes(store, found.damage)
        for image, what in found.services.items():
            if boot.images.is_there(image) and not found.damage.of(store.find(image)):
                del left[what]  # it was an index, which needs no source
    for generation in found.generations:
        wanted = _of(generation, found, left)
        if not wanted:
            continue
        try:
            await _bring(boot, generation, found, wanted, source, tell)
        except (OrlopError, OSError) as error:
            failed |= dict.fromkeys(wanted, f"release {_name(generation)}: {error}")
        else:
            left = {what: text for what, text in left.items() if what not in wanted}
    return failed


def _of(generation: Generation, found: Found, left: Mapping[str, str]) -> set[str]:
    """What is damaged and may have come with the release of *generation*."""
    references = {reference(n, v.digest) for n, v in generation.services.items() if v.digest}
    wanted = {row for image, row in found.services.items() if image in references}
    wanted |= {f"{IMAGE}{generation.image.id}"}
    return (wanted | {what for what in left if what.startswith(EXTRAS)}) & {*left}


def _name(generation: Generation) -> str:
    return generation.release.version or "that runs"


async def _bring(
    boot: Boot,
    generation: Generation,
    found: Found,
    wanted: set[str],
    source: str,
    tell: Tell,
) -> None:
    """What is *wanted* of the rows, from the release of *generation*.

    Raises:
        OrlopError: it cannot be had.
    """
    updates = boot.updates.now
    if updates.fetching.locked():
        raise Conflict("busy: a release is being fetched already")
    async with updates.fetching:
        async with updates.looking:
            offer = await _find(boot, generation, source)
        release = offer.release
        archives = {
            reference(name, service.digest): service.archive
            for name, service in release.services.items()
            if service.archive is not None
            and found.services.get(reference(name, service.digest)) in wanted
        }
        blobs = {archive.sha256 for archive in archives.values()}
        if f"{IMAGE}{generation.image.id}" in wanted:
            blobs.add(release.image.sha256)
        extras = release.extras
        if extras and f"{EXTRAS}{extras.sha256[: extras_files.ID_DIGITS]}" in wanted:
            blobs.add(extras.sha256)

        def told(progress: Progress) -> None:
            tell({"done": progress.done, "of": progress.size_bytes})

        fetched = await fetch.fetch(offer, boot.children, told, extras=True, only=blobs)
        try:
            await _put_on_esp(boot, generation, offer, fetched.files)
            for image, archive in archives.items():
                await _load(boot, image, offer, fetched.files[archive.sha256], found.damage)
        finally:
            await asyncio.to_thread(_remove, fetched.files)


async def _find(boot: Boot, generation: Generation, source: str) -> Offer:
    known, release = generation.release, boot.machine.release
    if generation.tainted:
        raise Forbidden("nobody has signed it, so it can be had from no release")
    running = Running(
        version=known.version or release.get("version", ""),
        build=generation.image.build,
        sequence=known.sequence,
    )
    asked = await settings(
        boot,
        running,
        source=source,
        version=running.version,
        directory=boot.updates.now.directory,
    )
    offer = await fetch.find(asked, boot.children)
    # A machine that was installed from a medium does not know which release that was of.
    same = offer.digest == known.digest if known.digest else True
    if not same or offer.release.image.sha256 != generation.image.sha256:
        raise Forbidden(f"the source has another release {running.version}")
    return offer


async def _put_on_esp(
    boot: Boot, generation: Generation, offer: Offer, files: Mapping[str, Path]
) -> None:
    release = offer.release
    image, extras = files.get(release.image.sha256), release.extras
    if image is None and (extras is None or extras.sha256 not in files):
        return

    def work(place: Path) -> None:
        if image is not None:
            beside = offers.make_candidate(release, offer.digest).beside
            if staging.is_well_beside(place, generation.image):
                beside = {}
            staging.write_image(place, image, generation.image, beside, lambda _: None)
        if extras is not None and extras.sha256 in files:
            extras_files.write(place, files[extras.sha256], extras, lambda _: None)

    async with boot.updates.now.at_work("repair") as (_, place):
        try:
            await asyncio.to_thread(work, place)
        except OSError as error:
            raise Conflict(f"the EFI system partition: {error.strerror}") from error


async def _load(boot: Boot, image: str, offer: Offer, archive: Path, damage: Damage) -> None:
    """Take *image* out of the archive, in the place of what is damaged of it."""
    digest = next(
        service.digest
        for name, service in offer.release.services.items()
        if reference(name, service.digest) == image
    )
    async with contextlib.AsyncExitStack() as stack:
        if (store := boot.engine.layered) is not None:
            with contextlib.suppress(NotFound):
                record = store.find(image)
                await stack.enter_async_context(store_verify.replaced(store, record, damage))
        await boot.images.load(archive, image, digest)


def _remove(files: Mapping[str, Path]) -> None:
    for path in files.values():
        path.unlink(missing_ok=True)
