"""The table of hardening rules against the kernel that runs, its sysctls and its command line."""

import pytest

from orlop.image import hardening
from orlop.image.hardening import Kind, Outcome
from orlop.image.kernel_config import parse_config
from orlop.vm.machine import Machine
from tests.vm import guest
from tests.vm.lab import Lab

TAINT_RANDSTRUCT = 1 << 17
"""include/linux/panic.h"""


@pytest.fixture(scope="module")
def rules(lab: Lab) -> list[hardening.Rule]:
    return hardening.read_table(lab.checkout / hardening.TABLE)


def verdict(findings: list[hardening.Finding]) -> None:
    """Fail with every broken rule; print the counts."""
    outcomes = hardening.report(findings)
    print(", ".join(f"{len(outcomes[outcome])} {outcome}" for outcome in Outcome))
    assert findings
    assert [str(finding) for finding in outcomes[Outcome.BROKEN]] == []


def test_configuration(lab: Lab, rules: list[hardening.Rule]) -> None:
    text = (lab.out / "kernel.config").read_text()
    verdict(hardening.check_config(rules, parse_config(text)))


def test_command_line(machine: Machine, rules: list[hardening.Rule]) -> None:
    verdict(hardening.check_command_line(rules, machine.succeed("cat /proc/cmdline")))


def test_sysctls(machine: Machine, rules: list[hardening.Rule]) -> None:
    names = [rule.name for rule in rules if rule.kind is Kind.SYSCTL]
    paths = " ".join(f"/proc/sys/{name.replace('.', '/')}" for name in names)
    script = f"for f in {paths}; do [ -e $f ] && printf '%s=' $f && cat $f; done; true"
    live: dict[str, str] = {}
    # Some may be read by root with every capability only.
    words = ["orlop", "exec", "--privileged", guest.AGENT, "sh", "-c", script]
    for line in machine.succeed(words).splitlines():
        path, _, value = line.partition("=")
        live[path.removeprefix("/proc/sys/").replace("/", ".")] = value
    verdict(hardening.check_sysctls(rules, live))


def test_no_known_vulnerability_is_open(machine: Machine) -> None:
    folder = "/sys/devices/system/cpu/vulnerabilities"
    lines = machine.succeed(f"cd {folder} && for f in *; do echo $f: $(cat $f); done").splitlines()
    print("\n".join(lines))
    # An emulated processor has neither the holes nor the microcode and the switch (SSBD) that
    # would be their cure.
    emulated = set() if "ssbd" in machine.succeed("cat /proc/cpuinfo") else {"spec_store_bypass"}
    open_ = [
        line
        for line in lines
        if ": Vulnerable" in line and "microcode" not in line and line.split(":")[0] not in emulated
    ]
    assert open_ == []


def test_kernel_is_not_tainted(machine: Machine) -> None:
    """By nothing but a protection of its own: structures are laid out at random."""
    taint = int(machine.succeed("cat /proc/sys/kernel/tainted"))
    assert taint & ~TAINT_RANDSTRUCT == 0
