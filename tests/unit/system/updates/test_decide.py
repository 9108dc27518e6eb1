"""Every state that a boot can find an update in, and what follows from it."""

from dataclasses import replace

import pytest

from orlop.system.updates.decide import (
    Action,
    Armed,
    AwaitReboot,
    BeginTrial,
    Cause,
    Condemn,
    Disarm,
    Facts,
    FinishPromotion,
    Pointers,
    Rearm,
    decide,
)

ARMED = Armed(7, 3, 12, "new", "build-new", 1, "boot-1")
TRIED = Pointers(12, "old", "new", 12)
BACK = Facts(ARMED, TRIED, "build-old", "boot-3")
"""The old system again, after a trial that has said nothing."""


@pytest.mark.parametrize(
    ("facts", "action"),
    [
        (replace(BACK, boot_id="boot-1"), AwaitReboot()),
        (replace(BACK, build="build-new"), BeginTrial()),
        (replace(BACK, pointers=None), Disarm("no boot record can be read")),
        (replace(BACK, pointers=Pointers(13, "new", "", 12)), FinishPromotion()),
        (
            replace(BACK, pointers=Pointers(13, "new", "", 12), build="build-new"),
            FinishPromotion(),
        ),
        (
            replace(BACK, pointers=Pointers(11, "old", "", 9)),
            Disarm("the boot record was not written"),
        ),
        (
            replace(BACK, pointers=Pointers(13, "old", "", 12)),
            Disarm("the boot record was not written"),
        ),
        (
            replace(BACK, pointers=Pointers(12, "old", "new", 9)),
            Disarm("the boot loader has not begun the trial"),
        ),
        # The trial has ended, so this is not it, whatever says so.
        (replace(BACK, build="build-new", cause=Cause.HEALTH), Condemn(Cause.HEALTH)),
        (replace(BACK, build="build-new", cause=Cause.USER), Rearm(Cause.USER)),
        (BACK, Rearm(Cause.UNKNOWN)),
        (replace(BACK, cause=Cause.USER), Rearm(Cause.USER)),
        (replace(BACK, armed=replace(ARMED, attempt=2)), Rearm(Cause.UNKNOWN)),
        (replace(BACK, armed=replace(ARMED, attempt=3)), Condemn(Cause.UNKNOWN)),
        (replace(BACK, armed=replace(ARMED, attempt=3), cause=Cause.USER), Condemn(Cause.USER)),
        (replace(BACK, cause=Cause.HEALTH), Condemn(Cause.HEALTH)),
        (replace(BACK, cause=Cause.DEADLINE), Condemn(Cause.DEADLINE)),
        (replace(BACK, panicked=True), Condemn(Cause.PANIC)),
        (replace(BACK, cause=Cause.USER, panicked=True), Condemn(Cause.PANIC)),
        (replace(BACK, condemned=Cause.HEALTH, pointers=None), Condemn(Cause.HEALTH)),
        # A machine whose old image is gone runs something else: no trial, whatever runs.
        (replace(BACK, build="build-recovery"), Rearm(Cause.UNKNOWN)),
    ],
)
def test_what_a_boot_means(facts: Facts, action: Action) -> None:
    assert decide(facts) == action
