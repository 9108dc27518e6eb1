"""The end of the machine: bounded, in order, whatever fails; and the socket that can ask for it."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from orlop.lib import cgroup
from orlop.lib.linux import RebootCommand
from orlop.lib.mount import MountEntry, UnmountFlag
from orlop.system import cgroups, firmware, power
from orlop.system.machine import Machine, Phase
from orlop.system.parameters import Parameters
from orlop.system.power import Power, PowerAction
from orlop.system.power_socket import PowerSocket
from orlop.system.storage import unmounting
from orlop.system.storage.unmounting import Unmount, plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from orlop.system.services.services import Services


class FakeServices:
    """Services that take as long to stop as the test says."""

    def __init__(self, delay_s: float, error: Exception | None = None) -> None:
        self.delay_s, self.error = delay_s, error
        self.stopped = False
        self.signals: list[str] = []
        self.signal_hangs = False
        self.on_signal: Callable[[], object] = lambda: None
        self.populated_at_stop: bool | None = None

    async def signal(self, name: str, signal: str) -> bool:
        self.signals.append(f"{signal} {name}")
        self.on_signal()
        if self.signal_hangs:
            await asyncio.Event().wait()
        return True

    async def stop_all(self, force: asyncio.Event) -> None:
        self.populated_at_stop = cgroup.is_populated(cgroups.USER)
        if self.error is not None:
            raise self.error
        forced = asyncio.ensure_future(force.wait())
        await asyncio.wait((forced,), timeout=self.delay_s)
        forced.cancel()
        self.stopped = True

    def statuses(self) -> list[object]:
        return []


@pytest.fixture(autouse=True)
def no_cgroups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "USER", tmp_path / "user")
    monkeypatch.setattr(cgroups, "SYSTEM", tmp_path / "system")
    monkeypatch.setattr(firmware, "VARIABLE", str(tmp_path / "variable"))


async def end(
    services: FakeServices | None,
    *,
    shutdown_s: int = 5,
    force: bool = False,
    again_s: float = 0,
    engine_hangs: bool = False,
) -> list[str]:
    """Run a whole shutdown and return what happened."""
    happened: list[str] = []
    machine = Machine(Parameters(shutdown_s=shutdown_s))

    async def stop_engine() -> None:
        if engine_hangs:
            await asyncio.Event().wait()
        happened.append("engine")

    def finish(command: RebootCommand) -> None:
        happened.append(command.name)

    ending = Power(machine, stop_engine=stop_engine, end=finish)
    ending.services = cast("Services | None", services)
    ending.request(PowerAction.REBOOT, "a test", force=force)
    if again_s:
        loop = asyncio.get_running_loop()
        loop.call_later(again_s, ending.request, PowerAction.REBOOT, "impatience")
    async with asyncio.timeout(5):
        await ending.serve()
    assert machine.phase is Phase.STOPPING
    return happened


def test_everything_is_stopped_then_reboot() -> None:
    services = FakeServices(0)
    assert asyncio.run(end(services)) == ["engine", "RESTART"]
    assert services.stopped


def test_without_services() -> None:
    assert asyncio.run(end(None)) == ["engine", "RESTART"]


def test_a_failing_step_does_not_keep_the_machine_on() -> None:
    assert asyncio.run(end(FakeServices(0, OSError("broken")))) == ["engine", "RESTART"]


def test_forced_does_not_stop_services() -> None:
    services = FakeServices(0)
    asyncio.run(end(services, force=True))
    assert not services.stopped


def test_a_second_request_hurries() -> None:
    services = FakeServices(1000)
    asyncio.run(end(services, again_s=0.01))
    assert services.stopped


def test_services_are_given_up_after_the_limit() -> None:
    services = FakeServices(1000)
    assert asyncio.run(end(services, shutdown_s=0)) == ["engine", "RESTART"]
    assert not services.stopped


def test_the_users_engine_is_told_even_if_nothing_runs() -> None:
    """A container that waits for its restart would be started again otherwise."""
    services = FakeServices(0)
    asyncio.run(end(services))
    assert services.signals == ["SIGPWR engine"]


def test_a_users_engine_that_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "TELL_TIMEOUT_S", 0.01)
    services = FakeServices(0)
    services.signal_hangs = True
    assert asyncio.run(end(services)) == ["engine", "RESTART"]
    assert services.stopped


def test_documented_bounds() -> None:
    containers_s = Parameters().shutdown_s + power.USER_GRACE_S + power.SERVICES_LEAST_S
    disks_s = unmounting.SYNC_TIMEOUT_S + unmounting.TOTAL_TIMEOUT_S
    assert containers_s + power.KILL_TIMEOUT_S + power.CLOSE_TIMEOUT_S + disks_s == 155


def test_an_engine_that_does_not_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread hangs in a disk: the machine goes down all the same."""
    monkeypatch.setattr(power, "CLOSE_TIMEOUT_S", 0.01)
    services = FakeServices(0)
    assert asyncio.run(end(services, engine_hangs=True)) == ["RESTART"]


@pytest.fixture
def populated() -> Path:
    """A process of the user's that never ends."""
    cgroups.USER.mkdir()
    (cgroups.USER / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    (cgroups.USER / "cgroup.kill").write_text("")
    return cgroups.USER


def test_the_users_containers_have_the_time_that_all_have(
    populated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine ends them in 0.2 s: nobody is killed, and the services have their turn."""
    monkeypatch.setattr(power, "LOOK_AGAIN_S", 0.01)
    services = FakeServices(0)
    services.on_signal = lambda: asyncio.get_running_loop().call_later(
        0.2, (populated / "cgroup.events").write_text, "populated 0\nfrozen 0\n"
    )
    asyncio.run(end(services, shutdown_s=60))
    assert services.stopped
    assert services.populated_at_stop is False


def test_containers_that_do_not_end_leave_time_for_the_services(
    populated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("USER_GRACE_S", "KILL_TIMEOUT_S", "LOOK_AGAIN_S"):
        monkeypatch.setattr(power, name, 0.01)
    services = FakeServices(0.1)
    asyncio.run(end(services, shutdown_s=1))
    assert services.stopped
    assert (populated / "cgroup.kill").read_text() == "1"


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        (b"poweroff\n", PowerAction.POWEROFF),
        (b"reboot\n", PowerAction.REBOOT),
        (b"halt\n", None),
        (b"poweroff", None),
        (b"x" * 100, None),
        (b"", None),
    ],
)
def test_power_socket(tmp_path: Path, sent: bytes, asked: PowerAction | None) -> None:
    path = str(tmp_path / "power.sock")
    requests: list[PowerAction] = []

    async def scenario() -> None:
        listening = PowerSocket(path, requests.append)
        listening.open()
        server = asyncio.ensure_future(listening.serve())
        # Byte by byte, in two connections: the second shows that the first did no harm.
        for data in (sent, b"reboot\n"):
            _, writer = await asyncio.open_unix_connection(path)
            for byte in data:
                writer.write(bytes([byte]))
            writer.close()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            while PowerAction.REBOOT not in requests:
                await asyncio.sleep(0.01)
        server.cancel()
        again = PowerSocket(path, requests.append)
        again.open(listening.descriptor)
        assert again.descriptor == listening.descriptor
        assert listening._socket is not None
        listening._socket.detach()
        assert again._socket is not None
        again._socket.close()

    asyncio.run(scenario())
    assert (asked in requests) if asked is not None else requests == [PowerAction.REBOOT]
    assert Path(path).stat().st_mode & 0o777 == 0o600


def mounted(target: str, fstype: str) -> MountEntry:
    return MountEntry(Path(target), fstype, "x", frozenset())


def test_unmounting_is_the_reverse_of_mounting() -> None:
    mounts = [
        mounted("/", "erofs"),
        mounted("/proc", "proc"),
        mounted("/dev", "devtmpfs"),
        mounted("/dev/pts", "devpts"),
        mounted("/run", "tmpfs"),
        mounted("/tmp", "tmpfs"),
        mounted("/sys/fs/cgroup", "cgroup2"),
        mounted("/var", "ext4"),
        mounted("/var/lib/orlop/engine/c/merged", "overlay"),
        mounted("/mnt/nfs", "nfs4"),
    ]
    assert plan(mounts) == [
        Unmount("/mnt/nfs", True),
        Unmount("/var/lib/orlop/engine/c/merged", False),
        Unmount("/var", True),
        Unmount("/tmp", False),
    ]


@pytest.mark.parametrize(
    ("content", "cleared"),
    [
        (b"\x07\0\0\0\x01", b"\x07\0\0\0\x00"),
        (b"\x07\0\0\0\x11", b"\x07\0\0\0\x10"),
        (b"\x07\0\0\0\x00", None),
        (b"short", None),
        (b"", None),
    ],
)
def test_memory_overwrite_request(tmp_path: Path, content: bytes, cleared: bytes | None) -> None:
    variable = tmp_path / "variable"
    variable.write_bytes(content)
    changed = firmware.withdraw_memory_overwrite_request(str(variable))
    assert changed is (cleared is not None)
    assert variable.read_bytes() == (content if cleared is None else cleared)
    assert not firmware.withdraw_memory_overwrite_request(str(tmp_path / "none"))


def test_a_file_system_without_an_answer_costs_its_time_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two dead network volumes must leave the state partition its turn."""
    released, calls = threading.Event(), []

    def unmount(target: str, flags: UnmountFlag = UnmountFlag(0)) -> None:
        calls.append((target, flags))
        if target.startswith("/mnt") and not flags:
            released.wait()

    def mount(*_arguments: object) -> None:
        raise AssertionError("it would not answer that either")

    mounts = [mounted("/var", "ext4"), mounted("/mnt/one", "nfs4"), mounted("/mnt/two", "nfs4")]
    monkeypatch.setattr(unmounting, "read_mounts", lambda: mounts)
    monkeypatch.setattr(unmounting, "unmount", unmount)
    monkeypatch.setattr(unmounting, "mount", mount)
    monkeypatch.setattr(unmounting, "UNMOUNT_TIMEOUT_S", 0.2)
    try:
        problems = asyncio.run(unmounting.unmount_all())
    finally:
        released.set()
    assert problems == [
        "cannot unmount /mnt/two (no answer)",
        "cannot unmount /mnt/one (no answer)",
    ]
    assert calls == [
        ("/mnt/two", UnmountFlag(0)),
        ("/mnt/two", UnmountFlag.DETACH),
        ("/mnt/one", UnmountFlag(0)),
        ("/mnt/one", UnmountFlag.DETACH),
        ("/var", UnmountFlag(0)),
    ]
