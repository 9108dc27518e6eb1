"""`./orlop test`: which stages a command line means, and what pytest's output says."""

import pytest

from orlop.cli.host.test import STAGES, parse, side_by_side
from orlop.cli.host.test_stages import Outcome, parse_counts
from orlop.lib.errors import InvalidArgument


def test_no_argument_means_all_stages() -> None:
    assert parse([]).stages == STAGES


def test_stages_keep_their_order() -> None:
    assert parse(["vm", "lint"]).stages == ("lint", "vm")


def test_options_and_what_follows_go_to_pytest() -> None:
    request = parse(["unit", "-k", "lint or x"])

    assert request.stages == ("unit",)
    assert request.arguments == ("-k", "lint or x")


def test_a_path_names_its_stage() -> None:
    request = parse(["tests/unit/lib/test_units.py", "-x"])

    assert request.stages == ("unit",)
    assert request.arguments == ("tests/unit/lib/test_units.py", "-x")


def test_unknown_stage() -> None:
    with pytest.raises(InvalidArgument, match="no test stage 'units'"):
        parse(["units"])


@pytest.mark.parametrize(
    ("line", "outcome"),
    [
        ("5 passed in 0.1s", Outcome(5, 0, 0)),
        ("1 failed, 5 passed, 2 skipped in 0.1s", Outcome(5, 1, 2)),
        ("== 1 passed, 2 errors in 0.1s ==", Outcome(1, 2, 0)),
        ("3 xfailed, 1 xpassed in 0.1s", Outcome(3, 1, 0)),
    ],
)
def test_counts(line: str, outcome: Outcome) -> None:
    assert parse_counts(f"....\n{line}\n") == outcome


FIRST = Outcome(5, 2, 1, ("a.py::x - no", "a.py::y"))


def test_what_passes_the_second_time_is_unsteady() -> None:
    after = FIRST.after_retry(Outcome(1, 1, 0, ("a.py::y - no",)))

    assert after == Outcome(6, 1, 1, ("a.py::y - no",), ("a.py::x - no",))
    assert after.failed_tests() == ["a.py::y"]


def test_what_does_not_run_the_second_time_has_failed() -> None:
    assert FIRST.after_retry(Outcome()) == FIRST
    assert FIRST.after_retry(Outcome(1, 0, 0)) == FIRST


def test_names_of_failures() -> None:
    output = "FAILED tests/unit/test_x.py::test_y - assert 1 == 2\n1 failed in 0.1s\n"

    assert parse_counts(output).problems == ("tests/unit/test_x.py::test_y - assert 1 == 2",)


def test_what_runs_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 16)
    assert side_by_side("unit", whole=False) == ["-n", "16", "--dist", "load"]
    assert side_by_side("engine", whole=True) == ["-n", "16", "--dist", "loadfile"]
    assert side_by_side("engine", whole=False) == side_by_side("vm", whole=True) == []
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert side_by_side("unit", whole=True) == []
