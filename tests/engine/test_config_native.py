"""`orlop config` on a machine: changes, versions, trials, secrets, kernel parameters' rank."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.native_machine import NativeMachine
from tests.engine.test_pid1_native import STAY, by_name, pids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.engine]

SERVICES: dict[str, dict[str, Any]] = {
    "time": {**STAY, "x-orlop": {"config": True}},
    "syslog": {**STAY, "x-orlop": {"config": True}},
    "console": {
        **STAY,
        "read_only": True,
        "volumes": ["/usr/lib/orlop:/opt/machine:ro"],
        "x-orlop": {"host_dev": True},
    },
    "data": {**STAY, "volumes": ["/var/mnt:/mnt:rslave"]},
    "named": {**STAY, "x-orlop": {"condition": {"configured": "hostname"}}},
}
SECRET = "1 SHA256 HEX:00ff"


@pytest.fixture
def machine() -> Iterator[NativeMachine]:
    with NativeMachine(SERVICES) as running:
        running.wait_ready()
        yield running


def config(machine: NativeMachine, *words: str, stdin: str = "") -> tuple[int, str, str]:
    """`orlop config WORDS...`: exit status, output, errors."""
    done = subprocess.run(
        ["chroot", str(machine.path("/")), "/usr/bin/python3.13", "-I", "-S", "-OO",
         "/usr/lib/orlop/python", "cli", "config", *words],
        input=stdin, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_changes(machine: NativeMachine) -> None:
    before = pids(machine.request("GET", "/orlop/status")[1])
    code, out, errors = config(machine, "set", "hostname", "ship", "--dry-run")
    assert (code, out) == (0, "would change:\n+ hostname: ship\nstart named\n")
    assert config(machine, "get", "hostname")[0] == 1

    code, out, errors = config(machine, "set", "hostname", "ship")
    assert (code, out) == (0, "+ hostname: ship\nstart named\nversion 2 is in force\n")
    assert "no state partition" in errors
    assert config(machine, "get", "hostname")[:2] == (0, "ship\n")
    assert config(machine, "set", "hostname", "ship")[:2] == (0, "nothing changes\n")
    status = machine.wait_for(lambda s: by_name(s)["named"]["state"] == "running")
    assert status["hostname"] == "ship"
    assert pids(status)["time"] == before["time"]

    code, out, errors = config(machine, "set", "hostname", "not a name")
    assert (code, out) == (1, "")
    assert "hostname: must be a host name" in errors
    code, out, errors = config(machine, "set", "orlop.time.server", "[a]")
    assert (code, out) == (1, "")
    assert "did you mean servers?" in errors

    text = "# the fleet's\r\norlop:\r\n  time: {servers: [ntp.example]}\r\n"
    code, out, errors = config(machine, "merge", "-", stdin=text)
    assert code == 0
    assert "restart time" in out
    assert "restart syslog" not in out
    after = pids(machine.wait_for(lambda s: pids(s)["time"] not in (0, before["time"])))
    assert after["syslog"] == before["syslog"]
    told = machine.path("/run/orlop/config/time.json").read_text()
    assert json.loads(told) == {"servers": ["ntp.example"]}

    code, out, _ = config(machine, "explain", "orlop.time.servers")
    assert "/var/lib/orlop/config.yml:4" in out
    code, out, _ = config(machine, "diff")
    assert "+  time:" in out
    assert "-hostname" not in out
    code, out, _ = config(machine, "rollback")
    assert "- orlop.time.servers:" in out
    assert config(machine, "unset", "orlop.time.servers")[0] == 1
    assert config(machine, "unset", "hostname")[0] == 0
    assert config(machine, "export")[1] == "#cloud-config\n{}\n"
    code, out, _ = config(machine, "versions", "--json")
    assert json.loads(out)["current"] == 5


def test_a_document_as_it_was_written(machine: NativeMachine) -> None:
    path = machine.path("/tmp/ship.yml")
    path.write_text("# mine\nhostname: ship\n")
    assert config(machine, "diff", "/tmp/ship.yml")[1] == "+ hostname: ship\nstart named\n"
    assert config(machine, "apply", "/tmp/ship.yml")[0] == 0
    assert config(machine, "apply", "/tmp/ship.yml")[1] == "nothing changes\n"
    stored = machine.path("/var/lib/orlop/config/current/config.yml")
    assert stored.read_text() == "# mine\nhostname: ship\n"
    path.write_text("# mine\nhostname: ship\npackages: [vim]\n")
    for verb in ("validate", "apply", "merge"):
        code, out, errors = config(machine, verb, "/tmp/ship.yml")
        assert (code, out) == (1, "")
        assert "/tmp/ship.yml:3: configuration: packages: there is no package manager" in errors
    assert stored.read_text() == "# mine\nhostname: ship\n"


def test_secrets(machine: NativeMachine) -> None:
    assert config(machine, "set", "orlop.time.keys", f'["{SECRET}"]')[0] == 0
    base = machine.path("/var/lib/orlop/config")
    assert SECRET in (base / "current/secrets.yml").read_text()
    assert (base / "current/secrets.yml").stat().st_mode & 0o777 == 0o600
    assert SECRET not in (base / "current/config.yml").read_text()
    for words in (
        ("show",),
        ("export",),
        ("get", "orlop.time.keys"),
        ("diff",),
        ("rollback", "-n"),
    ):
        code, out, errors = config(machine, *words)
        assert code == 0, words
        assert "HEX" not in out + errors, words
    assert SECRET in config(machine, "export", "--private")[1]
    assert json.loads(machine.path("/run/orlop/config/time.json").read_text())["keys"] == [SECRET]


def test_a_trial_that_nobody_confirms(machine: NativeMachine) -> None:
    config(machine, "set", "hostname", "before")
    _, out, _ = config(machine, "set", "hostname", "trial", "--confirm", "12s")
    assert "config confirm" in out
    refused = config(machine, "set", "hostname", "other")
    assert refused[0] == 1
    assert "(try: orlop config confirm, or orlop config rollback)" in refused[2]
    # The trial goes on over a re-execution.
    machine.signal(signal.SIGUSR2)
    status = machine.wait_for(lambda s: any("was not confirmed" in w for w in s["warnings"]))
    assert status["reexecutions"] == 1
    assert status["hostname"] == "before"
    assert config(machine, "get", "hostname")[1] == "before\n"
    assert config(machine, "confirm")[0] == 1
    config(machine, "set", "hostname", "kept", "--confirm", "60s")
    assert config(machine, "confirm")[:2] == (0, "version 4 stays\n")
    assert config(machine, "set", "hostname", "again")[0] == 0
    config(machine, "set", "hostname", "undone", "--confirm", "60s")
    assert config(machine, "rollback")[0] == 0
    assert config(machine, "get", "hostname")[1] == "again\n"


def test_files_commands_and_settings(machine: NativeMachine) -> None:
    document = """\
write_files:
  - {path: /etc/motd, content: "hello\\n", permissions: "0604"}
  - {path: /var/app/data, content: state}
  - {path: /etc/forward.conf, content: x, container: syslog}
bootcmd:
  - echo boot > /dev/boot
runcmd:
  - cd /etc; cat motd
  - [sh, -c, "exit 3"]
  - echo last
orlop:
  sysctl: {net.ipv4.ip_default_ttl: 77, no.such.thing: 1}
"""
    code, out, errors = config(machine, "merge", stdin=document)
    assert code == 0, errors
    assert "restart console\nrestart syslog\nat the next boot: bootcmd\n" in out
    motd = inside(machine, "console", "/etc/motd")
    assert motd.read_text() == "hello\n"
    assert motd.stat().st_mode & 0o777 == 0o604
    assert inside(machine, "syslog", "/etc/forward.conf").read_text() == "x"
    assert machine.path("/var/app/data").read_text() == "state"
    status = machine.request("GET", "/orlop/status")[1]
    assert any(
        "config.yml:" in w and "no.such.thing: No such file or directory" in w
        for w in status["warnings"]
    )
    assert time_to_live(machine) == "77\n"
    config(machine, "unset", "orlop.sysctl")
    assert time_to_live(machine) == "64\n"

    # Definitions are made when PID 1 starts; a re-execution will do.
    machine.signal(signal.SIGUSR2)
    ran = machine.path("/var/lib/orlop/config/ran.json")
    machine.wait_for(lambda _: ran.exists())
    status = machine.wait_for(lambda s: by_name(s)["runcmd"]["state"] == "failed")
    _, log = machine.request("GET", "/containers/runcmd/logs?stdout=1&stderr=1")
    text = log.decode(errors="replace")
    assert text.index("hello") < text.index("last")
    assert "command 2 ended with status 3" in text
    assert machine.path("/dev/boot").read_text() == "boot\n"
    machine.signal(signal.SIGUSR2)
    after = machine.wait_for(lambda s: s["reexecutions"] == 2 and s["phase"] == "ready")
    assert by_name(after)["runcmd"]["started_at"] == by_name(status)["runcmd"]["started_at"]
    assert config(machine, "set", "write_files", "[]")[0] == 0
    assert not inside(machine, "console", "/etc/motd").exists()


def test_what_was_wrong_is_said_once_and_no_longer(machine: NativeMachine) -> None:
    def warned() -> list[str]:
        return [
            text
            for text in machine.request("GET", "/orlop/status")[1]["warnings"]
            if "/var/lib/orlop/" in text
        ]

    bad = machine.path("/var/lib/orlop/conf.d/bad.yml")
    bad.parent.mkdir(parents=True, exist_ok=True)
    bad.write_text("hostname: [\n")
    assert config(machine, "set", "groups", "[{crew: [nobody-else]}]")[0] == 0
    assert config(machine, "set", "hostname", "ship")[0] == 0  # which moves the line
    assert len(warned()) == 2, warned()
    bad.unlink()
    assert config(machine, "reload")[0] == 0
    assert len(warned()) == 1, warned()
    assert config(machine, "unset", "groups")[0] == 0
    assert warned() == []


def test_what_to_do_is_said(machine: NativeMachine) -> None:
    code, answer = machine.request("POST", "/orlop/services/add", {"catalogue": "ghost"})
    assert (code, answer) == (
        404,
        {
            "message": "there is no service ghost, and no catalogue to look in",
            "hint": "orlop config set orlop.catalogue URL",
        },
    )
    assert machine.request("GET", "/containers/ghost/json")[1].keys() == {"message"}


def test_a_file_that_cannot_be_does_not_cost_the_console(machine: NativeMachine) -> None:
    code, _, errors = config(machine, "set", "write_files", "[{path: /etc, content: x}]")
    assert (code, errors) == (1, "orlop: write_files: /etc in console: it is a directory\n")
    # What nobody has foreseen, here a directory that is read-only.
    assert config(machine, "set", "write_files", "[{path: /opt/machine/x, content: x}]")[0] == 0
    console = by_name(machine.request("GET", "/orlop/status")[1])["console"]
    assert console["state"] == "running"
    assert console["reason"].startswith("runs without its files of write_files: ")
    assert config(machine, "set", "write_files", "[{path: /etc/new, content: x}]")[0] == 0
    assert inside(machine, "console", "/etc/new").read_text() == "x"


def inside(machine: NativeMachine, service: str, path: str) -> Path:
    """*path* as the first process of *service* sees it."""
    pid = by_name(machine.request("GET", "/orlop/status")[1])[service]["pid"]
    return machine.path(f"/proc/{pid}/root{path}")


def time_to_live(machine: NativeMachine) -> str:
    """A setting of the machine's network namespace."""
    command = ["nsenter", f"--net=/proc/{machine.pid}/ns/net", "cat"]
    path = "/proc/sys/net/ipv4/ip_default_ttl"
    return subprocess.run([*command, path], capture_output=True, text=True, check=True).stdout


def test_mounts_come_and_go(machine: NativeMachine) -> None:
    machine.path("/var/shared").mkdir()
    machine.path("/var/shared/file").write_text("data")
    document = """\
mounts:
  - [/var/shared, /mnt/shared, none, "bind,ro"]
  - [tmpfs, /mnt/fast/disk, tmpfs, "size=64k"]
  - [LABEL=nowhere, /mnt/missing]
"""
    code, _, errors = config(machine, "merge", stdin=document)
    assert code == 0, errors
    # A container that runs already sees them: the service `data` has /var/mnt at /mnt.
    seen = inside(machine, "data", "/mnt/shared/file")
    assert seen.read_text() == "data"
    with pytest.raises(OSError):
        seen.write_text("other")
    size = os.statvfs(inside(machine, "data", "/mnt/fast/disk"))
    assert size.f_blocks * size.f_frsize == 64 << 10
    warnings = machine.request("GET", "/orlop/status")[1]["warnings"]
    assert any("config.yml:1: configuration: mounts: /mnt/missing: no disk" in w for w in warnings)
    machine.signal(signal.SIGUSR2)
    machine.wait_for(lambda s: s["reexecutions"] == 1 and s["phase"] == "ready")
    assert config(machine, "set", "mounts", "[[tmpfs, /mnt/fast/disk, tmpfs, size=64k]]")[0] == 0
    assert not seen.exists()
    mounts = machine.path("/proc/1/mounts").read_text()
    assert mounts.count("/var/mnt/fast/disk ") == 1
    assert config(machine, "unset", "mounts")[0] == 0
    assert "/var/mnt/fast" not in machine.path("/proc/1/mounts").read_text()


def test_a_time_zone_that_does_not_exist_is_refused(machine: NativeMachine) -> None:
    code, out, errors = config(machine, "set", "timezone", "Europe/Olso")
    assert (code, out) == (1, "")
    assert "there is no time zone Europe/Olso" in errors
    assert machine.path("/run/orlop/etc/timezone").read_text() == "Etc/UTC\n"
