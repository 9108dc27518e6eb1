"""What is painted while steps run."""

import io

from orlop.image.progress import Display, _Running, describe, step_line


def running(**changes: object) -> _Running:
    values: dict[str, object] = {"name": "kernel", "started_s": 100.0, "estimate_s": None}
    return _Running(**(values | changes))  # type: ignore[arg-type]


def test_bar_from_the_step_itself() -> None:
    line = step_line(running(fraction=0.25, text="CC mm/slub.o"), 162.0, spinner="|")

    assert describe(line) == "kernel [#####---------------] 25% 1m02s CC mm/slub.o"


def test_bar_from_the_last_run_never_says_done() -> None:
    line = step_line(running(estimate_s=50.0), 300.0, spinner="|")

    assert describe(line) == "kernel [###################-] 99% 3m20s of about 50s"


def test_spinner_where_nothing_is_known() -> None:
    assert describe(step_line(running(), 103.0, spinner="/")) == "kernel / 3.0s"


def test_terminal_is_repainted_in_place() -> None:
    screen = io.StringIO()
    now_s = [0.0]
    display = Display(screen, terminal=True, clock=lambda: now_s[0])
    display.started("kernel", None)
    display.say("a line")
    now_s[0] = 12.0
    display.finished("kernel")

    written = screen.getvalue()
    assert written.endswith("kernel: done in 12s\n")
    assert "\033[1A\033[J" in written, "painted lines are erased before others are printed"


def test_a_closed_terminal_does_not_fail_the_build() -> None:
    screen = io.StringIO()
    with Display(screen, terminal=True) as display:
        display.started("kernel", None)
        screen.close()
        display.finished("kernel")
