"""Runs a row: its sides in turn, each until it is done, fails, or takes too long."""

import sys
import time
from collections.abc import Iterator

from bench.engine.contestants import Contestant
from bench.engine.measure import FAILED, Options, Row, Sample, Steps, limit

RESTART_LIMIT_S = 90.0


def run(name: str, row: Row, sides: list[Contestant], options: Options) -> Iterator[Sample]:
    """Samples of all sides; for one that dropped out, one whose value is `FAILED`."""
    taking_part = [side for side in sides if row.has_floor or not side.is_floor]
    if row.prepare is not None:
        try:
            row.prepare(sides[0].work.parent, options)
        except Exception as error:  # noqa: BLE001 - whatever it is, other rows do without it
            print(f"{name}: cannot be prepared: {error!r}", file=sys.stderr)
            return
    for group in [taking_part] if row.in_turn else [[side] for side in taking_part]:
        yield from _together(name, row, group, options)


def _together(name: str, row: Row, sides: list[Contestant], options: Options) -> Iterator[Sample]:
    going: dict[str, tuple[Contestant, Steps]] = {
        side.name: (side, row.on(side, options)) for side in sides
    }
    left_s = dict.fromkeys(going, row.limit_s)
    while going:
        for side, steps in tuple(going.values()):
            started_s = time.monotonic()
            try:
                with limit(left_s[side.name]):
                    samples = next(steps, None)
            except Exception as error:  # noqa: BLE001 - it is the side's, the others go on
                del going[side.name]
                yield _drop_out(name, side, error)
                continue
            left_s[side.name] -= time.monotonic() - started_s
            if samples is None:
                del going[side.name]
                continue
            yield from samples


def _drop_out(name: str, side: Contestant, error: Exception) -> Sample:
    print(f"{name}: {side.name}: {str(error) or repr(error)}", file=sys.stderr)
    if not side.is_floor:
        # It may hang, or be full of what was begun: the next row finds a fresh one.
        try:
            with limit(RESTART_LIMIT_S):
                side.restart()
        except Exception as failure:  # noqa: BLE001 - it takes no part in what comes
            print(f"{name}: {side.name} does not come back: {failure}", file=sys.stderr)
    return Sample(side.name, f"{name}: did not finish", FAILED, "1")
