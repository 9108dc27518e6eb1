"""`orlop os check` and `stage`: a repository, the real worker, a machine of directories; and
what a machine does by itself."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import pytest

from orlop.engine.registry.settings import Registries
from orlop.lib.children import Children
from orlop.lib.errors import Conflict, Forbidden, InvalidArgument, NotModified
from orlop.system.config import configuration
from orlop.system.config.configuration import Configuration
from orlop.system.services import overlay, worker
from orlop.system.services.overlay import ServiceVersion
from orlop.system.storage import extras
from orlop.system.updates import (
    automatic,
    bad,
    extras_files,
    fetch,
    intake,
    offers,
    stage,
    trials,
)
from orlop.system.updates.automatic import Automatic
from orlop.system.updates.bad import Bad
from orlop.system.updates.decide import ATTEMPTS, Armed
from orlop.system.updates.generations import Standing
from orlop.system.updates.offers import Wish
from orlop.wire.compose import parse_service
from orlop.wire.release import Service
from tests.unit.system.updates import machine_tree
from tests.unit.system.updates.machine_tree import Tree, content, extras_digest, image
from tests.unit.system.updates.release_lab import ReleaseLab

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from orlop.system.boot import Boot
    from orlop.system.updates.generations import Generation
    from orlop.system.updates.ledger import Ledger
    from orlop.wire.compose_model import Json, ServiceDefinition


@dataclass
class Updates:
    """What `control.Updates` does, on directories."""

    tree: Tree
    directory: Path
    is_trial: bool = False
    applied: int = 0
    extras_there: set[str] = field(default_factory=set)
    fetching: asyncio.Lock = field(default_factory=asyncio.Lock)
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def reading(self) -> Ledger:
        return self.tree.ledger()

    def state_device(self) -> str:
        return "disk"

    @asynccontextmanager
    async def at_work(self, verb: str, *, write: bool = True) -> AsyncIterator[tuple[Ledger, Path]]:
        yield self.tree.ledger(), self.tree.esp

    async def stage(self, candidate: Any, source: Path, told: Callable[[int], None]) -> Generation:
        ledger, in_use = self.tree.ledger(), extras.in_use()
        return stage.stage(ledger, self.tree.esp, candidate, source, told, in_use)

    async def apply(self, *, now: bool, dry_run: bool) -> None:
        assert not now
        assert not dry_run
        self.applied += bool(self.tree.ledger().generations.standing().staged)


@dataclass
class Gate:
    closed: str = ""
    good: int = 0

    async def why(self, held: Callable[[], str]) -> str:
        return held() or self.closed

    async def became_good(self) -> None:
        self.good += 1


@dataclass
class Health:
    gate: Gate


@dataclass
class Images:
    loaded: dict[str, str] = field(default_factory=dict)

    def registries(self) -> Registries:
        return Registries()

    def is_there(self, image: str) -> bool:
        return image in self.loaded

    async def load(self, archive: Path, image: str, digest: str) -> None:
        assert archive.read_bytes() == ARCHIVE
        self.loaded[image] = digest


@dataclass
class Services:
    known: dict[str, ServiceDefinition] = field(
        default_factory=lambda: {"time": parse_service("time", {})}
    )

    def names(self) -> list[str]:
        return [*self.known]

    def definition(self, name: str) -> ServiceDefinition:
        return self.known[name]


@dataclass
class Config:
    current: Configuration


@dataclass
class Release:
    release: dict[str, str]
    warned: list[str] = field(default_factory=list)

    def warn(self, text: str) -> None:
        self.warned.append(text)


@dataclass
class Later:
    now: Updates


@dataclass
class Machine:
    config: Config
    updates: Later
    machine: Release
    children: Children
    health: Health
    images: Images = field(default_factory=Images)
    services: Services = field(default_factory=Services)


BUILD = "ab" * 8
STAGED = "release 2.0 is staged"
ARCHIVE = b"an archive with an image"
DIGEST = f"sha256:{'ab' * 32}"


class Place:
    """A machine that runs image `a`, and a repository in which there is `b`."""

    def __init__(self, place: Path) -> None:
        self.tree = Tree(place)
        (place / "lab").mkdir()
        self.lab = ReleaseLab(place / "lab")
        self.lab.old.write_bytes(content("a"))
        self.lab.image.write_bytes(content("b"))
        self.updates, self.gate = Updates(self.tree, place / "state/os"), Gate()
        self.config: dict[str, Json] = {
            "source": str(place / "lab/repo"),
            "root": self.lab.root.decode(),
        }

    def run[T](self, work: Callable[[Boot], Awaitable[T]]) -> T:
        async def inner() -> T:
            children = Children()
            children.start()
            found = Machine(
                Config(Configuration(data={"orlop": {"update": self.config}})),
                Later(self.updates),
                Release({"version": "1.0", "build": "build-a"}),
                children,
                Health(self.gate),
            )
            try:
                return await work(cast("Boot", found))
            finally:
                children.close()

        return asyncio.run(inner())

    def stage(self, wish: Wish = Wish()) -> dict[str, Json]:  # noqa: B008 - frozen
        return self.run(lambda boot: offers.stage(boot, wish, lambda _: None))


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("os.fsync", lambda _: None)
    place = Place(tmp_path)
    place.lab.release(with_delta=True)
    return place


def test_check(place: Place) -> None:
    found = place.run(lambda boot: offers.check(boot, Wish()))
    assert (found["version"], found["sequence"], found["delta"]) == ("2.0", 2, True)
    assert isinstance(found["download_bytes"], int)
    assert found["download_bytes"] < 1000


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


def test_a_machine_heals_what_is_damaged_by_itself(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.stage()
    path = place.tree.esp / f"orlop/images/{image('b').id}.efi"
    path.write_bytes(content("b").replace(b"quiet", b"loud!"))
    assert by_itself(place, "stage", monkeypatch) == [STAGED]
    assert path.read_bytes() == content("b")
    assert place.tree.ledger().generations.standing().staged == 3
    assert by_itself(place, "stage", monkeypatch) == []


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


def by_itself(place: Place, mode: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Two looks with the mode; what was told."""
    place.config["automatic"] = mode
    told: list[str] = []
    monkeypatch.setattr(automatic.log, "warning", lambda text, what: told.append(what))

    async def work(boot: Boot) -> None:
        found = Automatic(boot)
        await found.tick(0.0)
        for hour in (1, 2):
            await found.tick(found._next_look_s + hour)

    place.run(work)
    return told


def test_only_looking(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_itself(place, "check", monkeypatch) == ["release 2.0 can be had: orlop os stage"]
    assert place.tree.ledger().generations.standing().staged == 0


def test_staging(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_itself(place, "stage", monkeypatch) == ["release 2.0 is staged"]
    assert place.tree.ledger().generations.standing().staged == 2
    assert place.updates.applied == 0


def test_applying_when_the_gate_lets_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_itself(place, "apply", monkeypatch) == ["release 2.0 is staged"]
    assert place.updates.applied > 0


def test_what_is_never_tried_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    number = place.tree.stage("c", 9)
    for _ in range(ATTEMPTS):
        place.tree.arm(number)
        ledger = place.tree.ledger()
        found = trials.armed(ledger)
        assert found is not None
        trials.abandon(ledger, place.tree.esp, found, "the boot loader has not begun the trial")
    place.config["source"] = str(place.tree.directory / "nowhere")
    told = by_itself(place, "apply", monkeypatch)
    assert told[0] == "generation 2 was never tried, and is left alone: orlop os history"
    assert place.updates.applied == 0


def test_what_was_bad_is_left_alone_also_if_it_is_staged(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tree.stage("c", 9)
    place.tree.ledger().set_bad(bad.add({}, image("c").sha256, Bad(1, 1e12, 9, "health")))
    place.config["source"] = str(place.tree.directory / "nowhere")
    told = by_itself(place, "apply", monkeypatch)
    assert told[0].startswith("the image of generation 2 was bad (health)")
    assert place.updates.applied == 0


def test_only_one_fetches(place: Place) -> None:
    async def work(boot: Boot) -> None:
        offer, good = await offers.offered(boot, Wish())
        async with place.updates.fetching:
            with pytest.raises(Conflict, match="is being fetched already"):
                await offers.take(boot, offer, good, lambda _: None)

    place.updates.fetching = asyncio.Lock()
    place.run(work)


def test_what_was_bad_is_left_alone(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = place.tree.ledger()
    known = bad.add({}, image("b").sha256, Bad(1, 1e12, 2, "health"))
    ledger.set_bad(known)
    told = by_itself(place, "apply", monkeypatch)
    assert told == ["release 2.0 was bad here (health), and is left alone"]
    assert place.tree.ledger().generations.standing().staged == 0


def test_a_clock_of_1970_does_not_end_the_time_it_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.tree.ledger().set_bad({image("b").sha256: Bad(1, 30.0, 2, "health")})
    monkeypatch.setattr(fetch, "built_at", lambda: int(time.time()) - 3600)
    told = by_itself(place, "apply", monkeypatch)
    assert told == ["release 2.0 was bad here (health), and is left alone"]
    [one] = place.tree.ledger().bad().values()
    assert abs(one.at_s - time.time()) < 600


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


def test_without_room_for_the_base_the_whole_image_is_fetched(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MARGIN_BYTES", 1 << 60)
    assert place.stage()["received_bytes"] == len(content("b"))


def test_what_somebody_went_back_from_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = place.tree.ledger()
    ledger.set_bad({image("b").sha256: Bad(1, 0.0, 2, bad.LEFT)})
    told = by_itself(place, "apply", monkeypatch)
    assert told == ["release 2.0 was left here (rolled back), and is left alone"]
    place.lab.release("3.0", 3)
    assert by_itself(place, "apply", monkeypatch) == ["release 3.0 is staged"]


def test_what_is_revoked_after_it_was_staged_is_not_applied(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.gate.closed = "no update window is open"
    assert by_itself(place, "apply", monkeypatch) == ["release 2.0 is staged"]
    assert place.updates.applied == 0
    place.lab.channel("2.0", 5, revoked={"2.0": "loses data"})
    place.gate.closed = ""
    place.config["automatic"] = "apply"

    async def work(boot: Boot) -> list[str]:
        await Automatic(boot).tick(0.0)  # no look is due: it is asked all the same
        return cast("Release", boot.machine).warned

    told = place.run(work)
    assert told == ["generation 2 is not staged any more: release 2.0 is revoked: loses data"]
    assert place.updates.applied == 0
    ledger = place.tree.ledger()
    assert ledger.generations.numbers() == [1]
    assert ledger.generations.standing().staged == 0
    place.tree.check()


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


def test_what_is_staged_without_a_source_to_ask_is_applied(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.stage()
    place.config["source"] = "/nowhere"
    place.config["automatic"] = "apply"
    place.run(lambda boot: Automatic(boot).tick(0.0))
    assert place.updates.applied == 1


def test_off(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert by_itself(place, "off", monkeypatch) == []
    place.config.clear()
    assert by_itself(place, "apply", monkeypatch) == []


def test_what_is_not_to_be_trusted_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place.tree.directory / "lab/repo/metadata/timestamp.json"
    before = path.read_bytes()
    place.lab.release("3.0", 3)
    place.run(lambda boot: offers.look(boot, Wish()))
    path.write_bytes(before)
    [text] = by_itself(place, "apply", monkeypatch)
    assert text.startswith("no update: timestamp.json has version")


def test_what_fails_is_told_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.config["source"] = "/nowhere"
    [text] = by_itself(place, "apply", monkeypatch)
    assert text.startswith("no update: /nowhere")


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
