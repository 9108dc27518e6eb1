"""The table of hardening rules: how it is read, and what it makes of a configuration or machine."""

import re
from pathlib import Path

import pytest

from orlop.image import command_line, hardening, tuning_table
from orlop.image.hardening import Kind, Outcome
from orlop.lib.errors import InvalidArgument

CHECKOUT = Path(__file__).parents[3]

TABLE = """
kconfig = [
  { name = "SECCOMP", value = "y", why = "filters" },
  { name = "LSM", value = "lockdown,yama", why = "order" },
  { name = "DEVMEM", value = "n", why = "memory" },
  { name = "MODULES", value = "y", recommended = "n", why = "drivers" },
]
sysctl = [
  { name = "kernel.panic", value = "10", why = "restart" },
  { name = "kernel.printk", value = "4 4 1 7", why = "quiet" },
  { name = "net.x.y", value = "0", optional = true, why = "some cards" },
  { name = "kernel.modules_disabled", value = "0", recommended = "1", why = "hot" },
]
parameter = [
  { name = "lockdown", value = "confidentiality", why = "secrets" },
  { name = "quiet", value = "", why = "flag" },
]
"""


def outcomes(findings: list[hardening.Finding]) -> dict[str, Outcome]:
    return {finding.rule.name: finding.outcome for finding in findings}


def test_configuration_is_held_excepted_or_broken() -> None:
    rules = hardening.parse_table(TABLE)
    config = {"SECCOMP": "m", "LSM": '"lockdown,yama"', "MODULES": "y"}
    findings = hardening.check_config(rules, config)
    assert outcomes(findings) == {
        "SECCOMP": Outcome.BROKEN,
        "LSM": Outcome.HELD,
        "DEVMEM": Outcome.HELD,
        "MODULES": Outcome.EXCEPTED,
    }
    [broken] = hardening.report(findings)[Outcome.BROKEN]
    assert str(broken) == "os/hardening.toml:3: kconfig: wanted SECCOMP=y, found m"


def test_recommended_value_also_breaks_an_exception() -> None:
    rules = hardening.parse_table(TABLE)
    findings = hardening.check_config(rules, {"SECCOMP": "y", "LSM": '"lockdown,yama"'})
    assert outcomes(findings)["MODULES"] is Outcome.BROKEN


def test_live_sysctls_compare_words() -> None:
    rules = hardening.parse_table(TABLE)
    live = {"kernel.panic": "10\n", "kernel.printk": "4\t4\t1\t7\n"}
    assert outcomes(hardening.check_sysctls(rules, live)) == {
        "kernel.panic": Outcome.HELD,
        "kernel.printk": Outcome.HELD,
        "net.x.y": Outcome.HELD,
        "kernel.modules_disabled": Outcome.BROKEN,
    }


def test_command_line_counts_the_last_of_two() -> None:
    rules = hardening.parse_table(TABLE)
    text = "quiet lockdown=confidentiality root=x lockdown=none\n"
    assert outcomes(hardening.check_command_line(rules, text)) == {
        "lockdown": Outcome.BROKEN,
        "quiet": Outcome.HELD,
    }


def test_parameters_are_words_for_the_command_line() -> None:
    rules = hardening.parse_table(TABLE)
    assert hardening.parameters(rules) == ["lockdown=confidentiality", "quiet"]


def test_tuning_table_sets_what_the_rules_ask_for() -> None:
    """Two tables, because one says how the machine is set and the other what must be true of it."""
    table = tuning_table.parse((CHECKOUT / tuning_table.TABLE).read_text())
    settings = {row.path: row.value for row in table.settings}
    left_alone = {"kernel.modules_disabled"}  # 0 is the kernel's own value, and cannot be written
    for rule in hardening.read_table(CHECKOUT / hardening.TABLE):
        if rule.kind is Kind.SYSCTL and rule.name not in left_alone:
            path = tuning_table.sysctl_path(rule.name)
            every_interface = re.sub(r"/(all|default)/", "/*/", path)
            value = settings.get(path, settings.get(every_interface))
            assert value == rule.value, rule.origin


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ('{ name = "A", value = "y" }', ":3: A: a rule has a value and a why"),
        ('{ name = "A", value = true, why = "x" }', ":3: A: value is not a string"),
        ('{ name = "A", value = "y", why = "x", extra = "" }', "unknown key extra"),
        ('{ name = "A", value = "y", why = "x", recommended = "y" }', "an exception that is none"),
        ('{ name = "A", value = "y", why = "x", optional = 1 }', "true or false"),
        ('{ value = "y", why = "x" }', "without a name"),
        ('"A"', "a rule is a table"),
    ],
)
def test_table_is_read_strictly(entry: str, words: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        hardening.parse_table(f"\nkconfig = [\n  {entry},\n]\n")
    assert words in caught.value.message


def test_name_appears_once_in_a_list() -> None:
    entry = '{ name = "A", value = "y", why = "x" }'
    with pytest.raises(InvalidArgument, match="A is in the table twice"):
        hardening.parse_table(f"kconfig = [{entry}, {entry}]")
    assert len(hardening.parse_table(f"kconfig = [{entry}]\nparameter = [{entry}]")) == 2


def test_unknown_list_is_an_error() -> None:
    with pytest.raises(InvalidArgument, match="unknown list sysctls"):
        hardening.parse_table("sysctls = []")


def test_own_table_is_valid_and_every_rule_is_found_in_it() -> None:
    rules = hardening.read_table(CHECKOUT / hardening.TABLE)
    text = (CHECKOUT / hardening.TABLE).read_text().splitlines()
    for rule in rules:
        assert f'"{rule.name}"' in text[int(rule.origin.split(":")[1]) - 1]
    assert {rule.kind for rule in rules} == set(Kind)


def test_default_command_line_has_boot_and_hardening_parameters() -> None:
    words = command_line.default_command_line(CHECKOUT).split()
    assert words[0] == "rootfstype=ramfs"
    assert "lockdown=confidentiality" in words
    assert words.index("console=ttyS0,115200") > words.index("console=tty0")


@pytest.mark.parametrize(
    "entry",
    ['word = "a b"\nwhy = "x"', 'word = ""\nwhy = "x"', 'word = "a"', 'word = "a"\nwhy = ""'],
)
def test_boot_parameters_are_single_words_with_reasons(entry: str) -> None:
    with pytest.raises(InvalidArgument):
        command_line.parse_parameters(f"[[parameter]]\n{entry}\n")
