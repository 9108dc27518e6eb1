"""A machine of two directories, its boot loader and its boots, and a hand on its power switch.

`power` counts every call that changes something; at the chosen one the power goes, and from then on
no call changes anything, whatever handlers there are. A write may have come half way.
"""

from __future__ import annotations

import contextlib
import functools
import os
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from orlop.lib import boot_record
from orlop.lib.boot_record import BootRecord
from orlop.system.config.store import ConfigStore, Texts
from orlop.system.services import overlay
from orlop.system.services.overlay import ServiceVersion
from orlop.system.updates import (
    decide,
    extras_files,
    interrupted,
    service_changes,
    staging,
    trials,
)
from orlop.system.updates.generations import Image, Release
from orlop.system.updates.interrupted import Boot
from orlop.system.updates.journal import Status
from orlop.system.updates.ledger import Ledger, adopt, capture
from orlop.system.updates.stage import Candidate, stage
from orlop.wire.release import Blob
from tests.unit.lib.test_unified_image import image as unified_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orlop.wire.compose_model import Json

CALLS = ("rename", "unlink", "mkdir", "rmdir", "symlink", "truncate", "ftruncate", "fsync")
WRITES = ("write", "pwrite")
CREATING = os.O_CREAT | os.O_TRUNC
SIZE = 5000


class PowerCut(BaseException):
    """Nothing happens any more."""


class _Switch:
    """Counts; `goes` says whether the power goes with this call."""

    def __init__(self, cut_at: int) -> None:
        self.seen: list[str] = []
        self._cut_at = cut_at

    def goes(self, name: str) -> bool:
        if self._cut_at and len(self.seen) >= self._cut_at:
            raise PowerCut
        self.seen.append(name)
        return len(self.seen) == self._cut_at


def _call(switch: _Switch, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(*arguments: Any, **named: Any) -> Any:
        if switch.goes(name):
            raise PowerCut
        return real(*arguments, **named)

    return wrapper


def _write(switch: _Switch, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(descriptor: int, data: bytes, *more: Any) -> Any:
        if switch.goes(name):
            real(descriptor, data[: len(data) // 2] if name == "write" else data[:20], *more)
            raise PowerCut
        return real(descriptor, data, *more)

    return wrapper


def _open(switch: _Switch, real: Callable[..., int]) -> Callable[..., int]:
    def wrapper(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & CREATING and switch.goes("create"):
            raise PowerCut
        return real(path, flags, *more, **named)

    return wrapper


@contextlib.contextmanager
def power(cut_at: int = 0) -> Iterator[list[str]]:
    """The power goes at the call number *cut_at*; 0: never. Gives the calls there were."""
    switch = _Switch(cut_at)
    real = {name: getattr(os, name) for name in (*CALLS, *WRITES, "open")}
    try:
        for name in CALLS:
            setattr(os, name, _call(switch, name, real[name]))
        for name in WRITES:
            setattr(os, name, _write(switch, name, real[name]))
        os.open = _open(switch, real["open"])
        yield switch.seen
    finally:
        for name, function in real.items():
            setattr(os, name, function)


def extras(name: str) -> bytes:
    """The storage extras that image *name* takes."""
    return f"extras of {name}".encode() * 99


def extras_digest(name: str) -> str:
    return sha256(extras(name)).hexdigest()


@functools.cache
def content(name: str) -> bytes:
    """The bytes of image *name*."""
    words = f"ID=orlop\nBUILD_ID=build-{name}\nORLOP_EXTRAS={extras_digest(name)}\n"
    parts = {".osrel": words.encode(), ".cmdline": b"quiet", ".initrd": b"i"}
    return unified_image(((".linux", name.encode() * SIZE), *parts.items()))


def image(name: str) -> Image:
    data = content(name)
    return Image(sha256(data).hexdigest(), len(data), f"build-{name}")


def beside_of(name: str) -> dict[str, bytes]:
    """What lies beside image *name*."""
    identity, env = image(name).id, b"what the boot loader has to know"
    files = {"efi": image(name).sha256, "env": sha256(env).hexdigest()}
    lines = [f"{digest}  /orlop/images/{identity}.{kind}\n" for kind, digest in files.items()]
    return {f"{identity}.env": env, f"{identity}.sum": "".join(lines).encode()}


class Tree:
    """The machine. Image `a` is installed, and runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.esp, self.state = directory / "esp", directory / "state"
        self.incoming = directory / "incoming"
        images = self.esp / "orlop/images"
        for path in (images, self.state, self.incoming):
            path.mkdir(parents=True, exist_ok=True)
        (images / f"{image('a').id}.efi").write_bytes(content("a"))
        (images / f"{image('a').id}.sum").write_bytes(b"a")
        first = BootRecord(1, image("a").id, "", "", image("a").id)
        block = boot_record.format_block(first)
        for name, data in (("boot-0", block), ("boot-1", b""), ("tried", b"")):
            (self.esp / f"orlop/{name}.env").write_bytes(data.ljust(1024, b"#"))
        extras_files.path_of(self.esp, extras_digest("a")).write_bytes(extras("a"))
        self.boots = 0
        self.boot_loader()
        config = ConfigStore(str(self.state))
        config.adopt(Texts("hostname: a\n"))
        adopt(self.ledger(), self.esp, self.running)

    def ledger(self) -> Ledger:
        """What PID 1 reads."""
        return Ledger(self.state / "os", ConfigStore(str(self.state)))

    @property
    def boot_id(self) -> str:
        return f"boot-{self.boots}"

    def boot(self, *, panicked: bool = False) -> Boot:
        return Boot(self.running, self.boot_id, panicked)

    def record(self) -> tuple[BootRecord, int]:
        return boot_record.read(self.esp / "orlop")

    def boot_loader(self) -> None:
        """What GRUB does: the trial once, else the first of three whose digest is right."""
        self.boots += 1
        record, tried = self.record()
        choices = [record.default, record.previous, record.recovery]
        if record.trial and record.sequence != tried:
            text = f"# GRUB Environment Block\ntried={record.sequence}\n"
            (self.esp / "orlop/tried.env").write_text(text.ljust(1024, "#"))
            choices.insert(0, record.trial)
        for number, identity in enumerate(choices):
            path = self.esp / f"orlop/images/{identity}.efi"
            if identity and path.exists():
                data = path.read_bytes()
                assert sha256(data).hexdigest().startswith(identity), "a damaged image"
                assert number == 0, f"{choices[0]} is not there"
                self.running = staging.build_of(path)
                return
        raise AssertionError("nothing to boot")

    def candidate(self, name: str, sequence: int = 2) -> Candidate:
        health: dict[str, Json] = {"required": [{"state": f"new-{name}"}]}
        release = Release(f"{sequence}.0", sequence, f"manifest-{name}", health)
        beside = beside_of(name)
        carried = Blob(extras_digest(name), len(extras(name)))
        return Candidate(release, image(name), beside, {}, extras=carried)

    def stage(self, name: str, sequence: int = 2) -> int:
        return self.stage_candidate(name, self.candidate(name, sequence))

    def stage_candidate(self, name: str, candidate: Candidate) -> int:
        """On a machine that uses storage extras; *name* is the image of *candidate*."""
        source = self.incoming / name
        source.write_bytes(content(name))
        source.with_name(extras_digest(name)).write_bytes(extras(name))
        in_use = extras_digest(self.running.removeprefix("build-"))
        ledger = self.ledger()
        return stage(ledger, self.esp, candidate, source, lambda _: None, in_use).number

    def stage_services(self, sequence: int = 2, image_of: str = "a") -> int:
        """A release of services, with the image that runs or another one."""
        services = {n: ServiceVersion(f"sha256:{sequence}", sequence) for n in ("time", "ssh")}
        candidate = replace(self.candidate(image_of, sequence), services=services)
        return self.stage_candidate(image_of, candidate)

    def replace_services(self, number: int, *, good: bool = True, verb: str = "apply") -> None:
        """What PID 1 writes down while it replaces services."""
        ledger = self.ledger()
        interrupted.bring_to_end(ledger, self.esp)
        before = capture(ledger)
        target = ledger.generations.read(number)
        names = [*{**before.services, **target.services}]
        change = service_changes.begin(ledger, verb, before, target, names, {})
        for name in names:
            for status in (Status.DOING, Status.DONE):
                ledger.journal.set_task(change.number, f"service {name}", status)
        if good:
            service_changes.finish(ledger, change.number)
            return
        for name in reversed(names):
            ledger.journal.set_task(change.number, f"service {name}", Status.UNDOING)
        service_changes.undone(ledger, change.number, "red", is_bad=True)

    def services(self) -> dict[str, ServiceVersion]:
        """Those that a boot starts."""
        return overlay.read(self.ledger().services, self.running)

    def rename_build(self, build: str) -> None:
        """The system that runs says so of itself."""
        ledger = self.ledger()
        first = ledger.generations.read(1)
        texts = ledger.generations.texts(1)
        ledger.generations.remove(1)
        ledger.generations.add(replace(first, image=replace(first.image, build=build)), texts)

    def arm(self, number: int) -> None:
        trials.arm(self.ledger(), self.esp, number, self.boot_id, {})

    def come_up(self, *, good: bool = True) -> decide.Action | None:
        """What PID 1 does in a boot; the action that there was."""
        if not (self.state / "os/pending").exists():
            return None
        ledger = self.ledger()
        found = interrupted.look(ledger, self.esp, self.boot())
        if found is None:
            return None
        armed, action = found
        match action:
            case decide.BeginTrial() if good:
                trials.promote(ledger, self.esp, armed)
            case decide.BeginTrial():
                trials.write_cause(ledger, armed, decide.Cause.HEALTH, "red")
            case decide.Rearm():
                trials.rearm(ledger, self.esp, armed, self.boot_id)
            case _:
                pass
        return action

    def until_quiet(self, *, good: bool = True) -> None:
        """Boot until nothing is under way any more."""
        for _ in range(8):
            self.boot_loader()
            self.come_up(good=good)
            if self.ledger().journal.unfinished() is None:
                return
        raise AssertionError("no end")

    def check(self) -> None:
        """What holds whenever nothing is under way."""
        ledger = self.ledger()
        assert ledger.journal.unfinished() is None
        assert not (self.state / "os/pending").exists()
        assert {c.status for c in ledger.journal.changes.values()} <= {"Done", "Undone"}
        standing, (record, _) = ledger.generations.standing(), self.record()
        good = ledger.generations.read(standing.good)
        assert good.image.id == record.default
        assert good.image.build == self.running
        assert self.services() == good.services
        for number in {standing.good, standing.previous, standing.staged} - {0}:
            generation = ledger.generations.read(number)
            path = self.esp / f"orlop/images/{generation.image.id}.efi"
            assert sha256(path.read_bytes()).hexdigest() == generation.image.sha256
            extras_files.require(self.esp, generation.image, "in use")
        ledger.generations.all()
