"""What a boot means for an update that is under way: pure, from what is on the disk to one action.

A new image gets one boot: the trial. The boot loader notes the sequence number of the boot record
before it tries, so that the next boot is the old system's again, whatever happens. Which of both
this boot is, and why it came back, follows from the record, that note, the build that runs, and
what the trial has written down before it ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

ATTEMPTS = 3
"""Trials that a power cut or a person may end before the image is taken for one that does that."""


class Cause(StrEnum):
    """Why a trial ended without being good."""

    HEALTH = "health"
    DEADLINE = "deadline"
    PANIC = "panic"
    USER = "user"
    UNKNOWN = "power or unknown"


BAD = frozenset({Cause.HEALTH, Cause.DEADLINE, Cause.PANIC})
"""Those for which the image is to blame."""


@dataclass(frozen=True, slots=True)
class Armed:
    """A trial that was asked for. *sequence* is that of the boot record which names *image*."""

    change: int
    generation: int
    sequence: int
    image: str
    build: str
    attempt: int
    boot_id: str
    """The boot in which it was armed."""

    @property
    def on_trial(self) -> str:
        """What a person is told while the system of this boot is not yet good."""
        return f"generation {self.generation} is on trial"


@dataclass(frozen=True, slots=True)
class Pointers:
    """The boot record that counts, and what the boot loader tried last."""

    sequence: int
    default: str
    trial: str
    tried: int


@dataclass(frozen=True, slots=True)
class Facts:
    """*pointers* is None if no boot record can be read. *cause* is what the trial wrote down."""

    armed: Armed
    pointers: Pointers | None
    build: str
    boot_id: str
    cause: Cause | None = None
    panicked: bool = False
    condemned: Cause | None = None
    """It came back in an earlier boot, and this was not brought to its end."""


@dataclass(frozen=True, slots=True)
class AwaitReboot:
    """The machine is to be rebooted into the trial."""


@dataclass(frozen=True, slots=True)
class BeginTrial:
    """This is the trial."""


@dataclass(frozen=True, slots=True)
class FinishPromotion:
    """It was good, and the boot record says so already."""


@dataclass(frozen=True, slots=True)
class Rearm:
    """It came back, and the image is not to blame."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Condemn:
    """It came back, because the image is bad."""

    cause: Cause


@dataclass(frozen=True, slots=True)
class Disarm:
    """There has been no trial, and there will be none."""

    why: str


type Action = AwaitReboot | BeginTrial | FinishPromotion | Rearm | Condemn | Disarm


def decide(facts: Facts) -> Action:
    """What is to be done in this boot."""
    armed, pointers = facts.armed, facts.pointers
    if facts.condemned is not None:
        return Condemn(facts.condemned)
    if pointers is None:
        return Disarm("no boot record can be read")
    if pointers.default == armed.image and pointers.sequence > armed.sequence:
        return FinishPromotion()
    if (pointers.sequence, pointers.trial) != (armed.sequence, armed.image):
        return Disarm("the boot record was not written")
    if facts.boot_id == armed.boot_id:
        return AwaitReboot()
    if pointers.tried != armed.sequence:
        return Disarm("the boot loader has not begun the trial")
    # A trial that has said how it ended is not this boot, whatever runs.
    if facts.build == armed.build and facts.cause is None:
        return BeginTrial()
    return _came_back(facts)


def _came_back(facts: Facts) -> Rearm | Condemn:
    cause = Cause.PANIC if facts.panicked else facts.cause or Cause.UNKNOWN
    if cause in BAD or facts.armed.attempt >= ATTEMPTS:
        return Condemn(cause)
    return Rearm(cause)
