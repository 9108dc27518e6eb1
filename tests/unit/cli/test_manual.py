"""Manual pages and completions: each command, option and verb is in them, and they are right."""

import shutil
import subprocess

import pytest

from orlop.cli import completion, manual
from orlop.cli.commands import COMMANDS, find, verbs_of
from orlop.cli.host.man import DIRECTORY, pages
from orlop.cli.main import main


@pytest.mark.parametrize("name", [*COMMANDS])
def test_a_page_has_all_there_is(name: str) -> None:
    command = find(name)
    assert command is not None
    page = manual.page_of(name, command)
    text, source = manual.plain(page), manual.roff(page).replace("\\", "")
    for option in command.OPTIONS:
        assert f"--{option.name}" in text
        assert f"--{option.name}" in source
        assert option.help.split()[0] in text
    for verb in verbs_of(command):
        assert f"\n       {verb}\n" in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert text.startswith("NAME\n")


def test_the_pages_in_docs_are_those_of_the_table() -> None:
    found = {path.name: path.read_text() for path in DIRECTORY.glob("orlop*.1")}
    assert found == pages(), "write them anew: ./orlop man"


def test_man_shows_a_page_and_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["man", "orlop-ps"]) == 0
    assert "orlop ps [--all]" in capsys.readouterr().out
    assert main(["man"]) == 0
    assert "orlop COMMAND" in capsys.readouterr().out
    assert main(["man", "--roff", "ps"]) == 0
    assert capsys.readouterr().out.startswith(".TH ORLOP-PS 1")
    assert main(["man", "lgos"]) == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_have_all_there_is(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for row in completion.rows():
        line = next(line for line in script.splitlines() if row.name in line)
        assert line
        for option, _ in row.options:
            name = option.lstrip("-") if shell == "fish" else option
            assert name in script
        assert all(word in script for word in row.words)


def test_bash_completes() -> None:
    bash = shutil.which("bash")
    assert bash is not None
    script = completion.bash(completion.rows())

    def complete(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        ask = f"""orlop() {{ echo network; echo time; }}
{script}
COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _orlop; printf '%s\\n' "${{COMPREPLY[@]}}" """
        done = subprocess.run([bash, "-c", ask], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert complete("orlop", "sta") == ["status", "stats"]
    assert complete("orlop", "logs", "--f") == ["--follow"]
    assert complete("orlop", "logs", "n") == ["network"]
    assert complete("orlop", "service", "re") == ["restart"]
    assert complete("orlop", "service", "restart", "ti") == ["time"]
    assert complete("orlop", "config", "ro") == ["rollback"]
    assert complete("orlop", "config", "get", "ti") == ["time"]
    assert complete("orlop", "service", "ti") == []
    assert complete("orlop", "service", "add", "/etc/os-rel") == ["/etc/os-release"]
    assert complete("orlop", "man", "dm") == ["dmesg"]


def test_there_are_none_for_ash(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "ash"]) == 2
    assert "bash, zsh or fish" in capsys.readouterr().err
