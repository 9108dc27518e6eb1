"""`orlop toolbox`: what its container sees, and that nothing of it stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.engine.consoles_machine import consoles_machine, docker, orlop
from tests.engine.native_machine import NativeMachine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.fixture(scope="module")
def machine() -> Iterator[NativeMachine]:
    with consoles_machine() as running:
        yield running


def test_it_sees_the_host_when_asked(machine: NativeMachine) -> None:
    see = "cat /proc/1/cmdline; ls /host/usr/lib/orlop; echo x >/host/var/x; cat; exit 5"
    done = orlop(machine, "toolbox", "--host", "--", "/bin/sh", "-c", see, stdin=b"typed")
    assert done.returncode == 5, done
    assert b"/usr/lib/orlop/python\0init" in done.stdout
    assert b"release.json" in done.stdout
    assert done.stdout.endswith(b"typed")
    assert b"Read-only file system" in done.stderr
    assert not machine.path("/var/x").exists()
    names = [c["Names"][0] for c in machine.request("GET", "/containers/json?all=1")[1]]
    assert not [name for name in names if "toolbox" in name]


def test_it_sees_only_itself_otherwise(machine: NativeMachine) -> None:
    # Made of the console's root, which the user's engine gets as an image, once.
    done = orlop(machine, "toolbox", "--", "/bin/sh", "-c", "cat /proc/1/cmdline; ls /host")
    assert done.stdout.startswith(b"/bin/sh\0-c\0"), done
    assert b"/host: No such file" in done.stderr
    again = orlop(machine, "toolbox", "--", "/bin/echo", "again")
    assert (again.returncode, again.stdout) == (0, b"again\n")
    images = docker(machine, "images", "--format", "{{.Repository}}:{{.Tag}}").stdout
    assert images == b"orlop/console:native\n"


def test_it_shares_the_namespaces_of_a_container(machine: NativeMachine) -> None:
    assert orlop(machine, "toolbox", "--container", "nobody").returncode == 1
    look = ("--", "/bin/sh", "-c", "cat /proc/1/cmdline; cat $TARGET/mark; exit 4")
    web = "echo mine >/mark; exec sleep 1000"
    orlop(machine, "toolbox", "--", "/bin/true")
    started = docker(machine, "run", "-d", "--name=web", "orlop/console:native", "sh", "-c", web)
    assert started.returncode == 0, started
    done = orlop(machine, "toolbox", "--container=web", *look)
    assert (done.returncode, done.stdout) == (4, b"sleep\x001000\0mine\n"), done
    # The system's services are in the machine's own namespace of processes.
    done = orlop(machine, "toolbox", "--container=console", *look)
    assert done.returncode == 4, done
    assert b"\0init" in done.stdout
    assert docker(machine, "kill", "web").returncode == 0
    assert b"does not run" in orlop(machine, "toolbox", "--container=web").stderr


def test_wrong_lines(machine: NativeMachine) -> None:
    for words in (["--host", "--container", "x"], ["a", "b"], ["--hots"]):
        done = orlop(machine, "toolbox", *words)
        assert (done.returncode, done.stdout) == (2, b"")
