"""An engine that is killed, or fails, at any point of an operation loses and half does nothing.

`--long` tries all points of all operations; otherwise some of some. What was tried is printed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.engine.crash import campaign
from tests.engine.crash.campaign import Campaign
from tests.engine.crash.operations import OPERATIONS, layer_of
from tests.engine.store.archives import busybox_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.engine.crash.campaign import Attempt
    from tests.engine.crash.crash_engine import Point
    from tests.engine.crash.operations import Operation
    from tests.engine.registry.registry_host import Registry

    type Chooser = Callable[[Sequence[Point]], list[Attempt]]
    type Judge = Callable[[Operation, Chooser], None]

pytestmark = [pytest.mark.root, pytest.mark.engine]

SAMPLE = ("create", "start", "stop", "load-packed", "rmi", "network-create")
ALL = (campaign.kills, campaign.worker_kills, campaign.failures, campaign.power_cuts)
WANTED = os.environ.get("ORLOP_TEST_CRASH_POINT", "")
"""Words in the attempts that `--long` makes: to have one that failed again."""

VERBOSE = "ORLOP_TEST_CRASH_VERBOSE" in os.environ
NAMES = os.environ.get("ORLOP_TEST_CRASH_KINDS", "").split()
KINDS = [kind for kind in ALL if kind.__name__ in NAMES or not NAMES]
STRIDE = int(os.environ.get("ORLOP_TEST_CRASH_STRIDE", "1"))
"""Each how manieth point `--long` tries: for a machine with little time."""


def some(points: Sequence[Point]) -> list[Attempt]:
    """One attempt of each kind, in the middle, and a second kill."""
    chosen = [attempts[len(attempts) // 2] for kind in KINDS if (attempts := kind(points))]
    return [campaign.kills(points)[-1], *chosen]


def every(points: Sequence[Point]) -> list[Attempt]:
    attempts = [attempt for kind in KINDS for attempt in kind(points)[::STRIDE]]
    return [attempt for attempt in attempts if WANTED in attempt[0]]


@pytest.fixture
def judge(images: Path, registry: Registry, capsys: pytest.CaptureFixture[str]) -> Judge:
    layers = [busybox_layer(), layer_of("one"), layer_of("two")]
    registry.put_image("made", "1", layers)

    def report(text: str) -> None:
        if VERBOSE:
            with capsys.disabled():
                print(text, flush=True)

    def run(operation: Operation, choose: Chooser) -> None:
        tried = Campaign(images, registry.host, operation, report)
        tried.run(choose)
        counts = {"inconsistent": 0, **tried.figures.counts}
        with capsys.disabled():
            print(f"\n{operation}: {', '.join(f'{n} {what}' for what, n in counts.items())}")
        assert not tried.problems, "\n\n".join(tried.problems)

    return run


@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o.name in SAMPLE], ids=str)
def test_some_points(judge: Judge, operation: Operation) -> None:
    judge(operation, some)


@pytest.mark.long
@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_every_point(judge: Judge, operation: Operation) -> None:
    judge(operation, every)
