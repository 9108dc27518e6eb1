"""The parser of command lines."""

import pytest

from orlop.cli.arguments import Arguments, Option, UsageError, parse_arguments

OPTIONS = (
    Option("follow", "f", help=""),
    Option("tail", "n", value="N", help=""),
    Option("since", value="TIME", help=""),
)


def parse(*argv: str, words: tuple[int, int] = (0, 9), leading: bool = False) -> Arguments:
    return parse_arguments(argv, OPTIONS, words=words, leading=leading)


@pytest.mark.parametrize(
    "argv", [("--tail", "5"), ("--tail=5",), ("-n", "5"), ("-n5",), ("-fn5",), ("-fn", "5")]
)
def test_a_value_may_be_written_in_any_usual_way(argv: tuple[str, ...]) -> None:
    assert parse(*argv).number("tail", 0) == 5


def test_words_and_options_may_be_mixed() -> None:
    arguments = parse("one", "-f", "two", "--", "--tail")
    assert arguments.words == ["one", "two", "--tail"]
    assert arguments.flag("follow")
    assert not arguments.flag("tail")


def test_leading_leaves_the_options_of_a_program_alone() -> None:
    arguments = parse("-f", "name", "ls", "-f", "--what", leading=True)
    assert arguments.words == ["name", "ls", "-f", "--what"]


def test_a_single_dash_is_a_word() -> None:
    assert parse("-").words == ["-"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("--nothing",), "there is no option --nothing"),
        (("-fx",), "there is no option -x"),
        (("--follow=1",), "--follow takes no value"),
        (("--tail",), "--tail wants a value: N"),
        (("a", "b"), "'b' is one word too many"),
    ],
)
def test_the_wrong_word_is_named(argv: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(*argv, words=(0, 1))
    assert caught.value.message == message


@pytest.mark.parametrize("text", ["x", "-1", "", "1.5", "²"])
def test_a_number_is_checked(text: str) -> None:
    with pytest.raises(UsageError):
        parse(f"--tail={text}").number("tail", 0)
