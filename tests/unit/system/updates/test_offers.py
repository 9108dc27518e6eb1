"""`orlop os check` and `stage`: a repository, the real worker, a machine of directories."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from orlop.lib.children import Children
from orlop.lib.errors import (
    Cancelled,
    Conflict,
    Forbidden,
    InvalidArgument,
    NotModified,
    ResourceExhausted,
)
from orlop.system.config import configuration
from orlop.system.services import overlay, worker
from orlop.system.services.overlay import ServiceVersion
from orlop.system.storage import extras
from orlop.system.updates import (
    extras_files,
    fetch,
    intake,
    offers,
    staging,
    trials,
)
from orlop.system.updates.decide import Armed
from orlop.system.updates.generations import Standing
from orlop.system.updates.offers import Wish
from orlop.wire.release import Service
from tests.unit.system.updates import machine_tree
from tests.unit.system.updates.machine_tree import content, extras_digest, image
from tests.unit.system.updates.offer_place import (
    ARCHIVE,
    BUILD,
    DIGEST,
    Place,
)

if TYPE_CHECKING:
    from orlop.system.boot import Boot
    from orlop.system.updates.generations import Generation
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json


def test_who_waits_for_a_source_is_told_so(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offers, "PATIENCE_S", 0.0)

    async def work(boot: Boot) -> dict[str, Json]:
        told = asyncio.Event()
        look, said = offers._look, list[object]()

        async def silent(boot: Boot, wish: Wish) -> object:
            await told.wait()  # as from a server that says nothing
            return await look(boot, wish)

        def tell(progress: dict[str, Json]) -> None:
            said.append(progress)
            told.set()

        monkeypatch.setattr(offers, "_look", silent)
        found = await offers.check(boot, Wish(), tell)
        assert said == [{"waits": place.config["source"]}]
        return found

    assert place.run(work)["version"] == "2.0"


def test_check(place: Place) -> None:
    found = place.run(lambda boot: offers.check(boot, Wish()))
    assert (found["version"], found["sequence"], found["delta"]) == ("2.0", 2, True)
    assert isinstance(found["download_bytes"], int)
    assert found["download_bytes"] < 1000
    assert found["staged"] is None
    place.stage()
    assert place.run(lambda boot: offers.check(boot, Wish()))["staged"] == 2


def test_a_release_is_staged_by_its_delta(place: Place) -> None:
    found = place.stage()
    assert (found["generation"], found["version"]) == (2, "2.0")
    assert isinstance(found["received_bytes"], int)
    assert found["received_bytes"] < 1000
    ledger = place.tree.ledger()
    assert ledger.generations.standing().staged == 2
    made = ledger.generations.read(2)
    assert (made.image.sha256, made.release.sequence) == (image("b").sha256, 2)
    identity = image("b").id
    assert (place.tree.esp / f"orlop/images/{identity}.efi").read_bytes() == content("b")
    assert (place.tree.esp / f"orlop/images/{identity}.sum").exists()
    left = {path.name for path in (place.tree.state / "os").iterdir()}
    assert offers.BASE not in left
    assert {path.name for path in (place.tree.state / "os/incoming").iterdir()} == {"etc"}
    with pytest.raises(NotModified, match="is staged already"):
        place.stage()


def test_storage_extras_go_along_where_they_are_used(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A machine that finds its state with their help alone is given no image without them."""
    place.lab.release(extras=machine_tree.extras("b"))
    size = place.run(lambda boot: offers.check(boot, Wish()))["download_bytes"]
    place.updates.extras_there = {extras_digest("a")[:16]}
    found = place.run(lambda boot: offers.check(boot, Wish()))
    assert found["download_bytes"] == int(str(size)) + len(machine_tree.extras("b"))
    place.lab.release("3.0", 3)
    monkeypatch.setattr(extras, "in_use", lambda: extras_digest("a"))
    with pytest.raises(Forbidden, match=r"release 3\.0 has none: it might not find its state"):
        place.stage()
    place.lab.release("4.0", 4, extras=machine_tree.extras("c"))
    with pytest.raises(Conflict, match="are not there: it might not find its state"):
        place.stage()
    assert place.tree.ledger().generations.numbers() == [1]
    place.lab.release("5.0", 5, extras=machine_tree.extras("b"))
    assert place.stage()["generation"] == 2
    assert extras_files.present(place.tree.esp) == {extras_digest(n)[:16] for n in "ab"}
    assert not (place.updates.directory / f"incoming/{extras_digest('b')}").exists()


def test_nothing_to_do_and_not_yet(place: Place) -> None:
    place.lab.channel("2.0", 5)
    place.lab.channel("2.0", 6, revoked={"2.0": "loses data"})
    with pytest.raises(Forbidden, match="loses data"):
        place.stage()
    with pytest.raises(NotModified, match="is what the channel has"):
        place.run(lambda boot: _as_if_current(boot, place))


async def _as_if_current(boot: Boot, place: Place) -> None:
    place.lab.channel("2.0", 7)
    boot.machine.release.update(version="2.0", build="ab" * 8)
    await offers.stage(boot, Wish(), lambda _: None)


def test_only_one_fetches(place: Place) -> None:
    async def work(boot: Boot) -> None:
        offer, good = await offers.offered(boot, Wish())
        async with place.updates.fetching:
            with pytest.raises(Conflict, match="is being fetched already"):
                await offers.take(boot, offer, good, lambda _: None)

    place.updates.fetching = asyncio.Lock()
    place.run(work)


def test_nothing_is_fetched_while_another_is_on_its_way(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tree.stage("c", 9)
    place.tree.arm(2)
    monkeypatch.setattr(fetch, "fetch", None)
    with pytest.raises(Conflict, match="is not at its end"):
        place.stage(Wish(allow_downgrade=True))


def test_what_was_fetched_outlives_somebody_at_another_verb(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def busy(*_: object) -> Generation:
        raise Conflict("busy: verify")

    with monkeypatch.context() as patch:
        patch.setattr(place.updates, "stage", busy)
        with pytest.raises(Conflict):
            place.stage()
    assert place.stage()["received_bytes"] == 0
    left = {path.name for path in (place.updates.directory / "incoming").iterdir()}
    assert left == {"etc"}


def test_a_full_boot_partition_is_noticed_before_anything_is_fetched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "fetch", None)
    monkeypatch.setattr(staging, "MARGIN_BYTES", 1 << 60)
    with pytest.raises(ResourceExhausted, match="the EFI system partition has"):
        place.stage()


def test_somebody_gives_up_what_is_fetched(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def never(*_: object, **__: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def work(boot: Boot) -> None:
        staging = asyncio.ensure_future(offers.stage(boot, Wish(), lambda _: None))
        await begun.wait()
        assert place.updates.end_fetch is not None
        place.updates.end_fetch()
        with pytest.raises(Cancelled, match="was cancelled"):
            await staging
        assert place.updates.end_fetch is None
        assert not place.updates.fetching.locked()

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "fetch", never)
        place.run(work)
    assert place.stage()["generation"] == 2


def test_without_room_for_the_base_the_whole_image_is_fetched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MARGIN_BYTES", 1 << 60)
    assert place.stage()["received_bytes"] == len(content("b"))


def test_what_is_revoked_is_not_tried_with_the_next_boot(place: Place) -> None:
    place.stage()
    place.tree.arm(2)
    place.lab.channel("2.0", 5, revoked={"2.0": ""})
    place.run(lambda boot: offers.look(boot, Wish()))
    assert trials.armed(place.tree.ledger()) is None
    assert place.tree.record()[0].trial == ""
    assert place.gate.good == 1, "the reboot lock goes back"
    place.tree.check()


def test_a_trial_that_has_begun_goes_on(place: Place) -> None:
    place.stage()
    place.tree.arm(2)
    place.updates.is_trial = True
    place.lab.channel("2.0", 5, revoked={"2.0": ""})
    place.run(lambda boot: offers.look(boot, Wish()))
    assert trials.armed(place.tree.ledger()) is not None


def services_of(place: Place, name: str = "time", definition: str = "") -> dict[str, Service]:
    path = place.lab.place / "archive"
    path.write_bytes(ARCHIVE)
    blob = place.lab.repository.add_blob(path)
    return {name: Service(DIGEST, blob, definition, epoch=3, handover=True)}


def test_services_with_the_image_that_runs(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    async def ask(_: Children, request: dict[str, Json]) -> dict[str, Json]:
        return worker.read(request)

    monkeypatch.setattr(configuration, "ask_services", ask)
    place.tree.rename_build(BUILD)
    place.lab.image.write_bytes(content("a"))
    text = "services: {time: {image: x, command: [run]}}"
    place.lab.release("3.0", 3, services=services_of(place))
    found = place.run(lambda boot: offers.check(boot, Wish()))
    assert found["services"] == {"time": DIGEST}
    assert found["download_bytes"] == len(ARCHIVE)
    made = place.stage()
    generation = place.tree.ledger().generations.read(2)
    assert made == {"generation": 2, "version": "3.0", "received_bytes": len(ARCHIVE)}
    assert generation.services == {"time": ServiceVersion(DIGEST, 3, handover=True)}
    # Staged again as it is: nothing. Described otherwise: another generation.
    with pytest.raises(NotModified):
        place.stage()
    place.lab.release("4.0", 4, services=services_of(place, "new", text))
    with pytest.raises(InvalidArgument, match="service time: the system has"):
        place.stage()
    text = text.replace("time", "new")
    place.lab.release("5.0", 5, services=services_of(place, "new", text))
    place.stage()
    new = place.tree.ledger().generations.read(3).services["new"]
    assert json.loads(new.definition)["command"] == ["run"]
    place.lab.release("6.0", 6, services=services_of(place, "new", "services: {"))
    with pytest.raises(InvalidArgument, match=r"new.yml:1"):
        place.stage()


def test_an_image_and_services(place: Place) -> None:
    place.lab.release("3.0", 3, services=services_of(place))
    assert place.stage()["generation"] == 2
    tree = place.tree
    tree.arm(2)
    assert tree.services() == {}
    ledger = tree.ledger()
    assert overlay.read(ledger.services, BUILD) == ledger.generations.read(2).services
    # The next image has it within, with the data that is there.
    trials.abandon(ledger, tree.esp, _armed(ledger), "for this test")
    ledger.generations.stand(Standing(good=2))
    tree.stage("c", 4)
    assert tree.ledger().generations.read(3).services == {"time": ServiceVersion("", 3)}


def _armed(ledger: Ledger) -> Armed:
    found = trials.armed(ledger)
    assert found is not None
    return found
