"""Fixtures of the tests that boot the built system.

`lab` makes machines. `machine` is one for all tests of a session that change nothing: every boot
under emulation costs ten seconds. Tests that change things make their own.
"""

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from orlop.image.key_files import make_keys
from orlop.lib.process import run
from orlop.vm.machine import Machine
from tests.vm.lab import Lab, make_lab
from tests.vm.ntp_server import NtpServer
from tests.vm.syslog_listener import SyslogListener

LAB = pytest.StashKey[Lab]()
OUTPUTS = ("orlop.iso", "orlop.efi", "vmlinuz", "initrd", "kernel.config")
WRONG_TIME = "2020-01-01T00:00:00"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.vm)


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """The lab of this session; fails where there is nothing built to test."""
    checkout = Path(os.environ.get("ORLOP_CHECKOUT") or Path(__file__).parents[2])
    missing = [name for name in OUTPUTS if not (checkout / "out" / name).exists()]
    if missing:
        pytest.fail(f"out/ has no {', '.join(missing)}: run ./orlop build")
    cache = os.environ.get("ORLOP_CACHE")
    made = make_lab(checkout, tmp_path_factory.mktemp("vm"), Path(cache) if cache else None)
    request.config.stash[LAB] = made
    return made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the machines as they are at that moment."""
    report = yield
    lab = item.config.stash.get(LAB, None)
    if report.failed and lab is not None:
        report.sections += lab.keep_evidence(item.nodeid)
    return report


@pytest.fixture(scope="session")
def ntp_server() -> Iterator[NtpServer]:
    """A time server on this host's loopback, which guests reach as 10.0.2.2."""
    with NtpServer() as server:
        yield server


@pytest.fixture(scope="session")
def syslog_listener() -> Iterator[SyslogListener]:
    """A syslog collector on this host's loopback."""
    with SyslogListener() as listener:
        yield listener


@pytest.fixture(scope="session")
def machine(lab: Lab, ntp_server: NtpServer, syslog_listener: SyslogListener) -> Iterator[Machine]:
    """The machine that tests share: from CD by BIOS, with a key, and a clock that is years slow.

    Tests only look at it, or put back what they changed.
    """
    config: dict[str, object] = {
        "orlop": {
            "time": {"servers": [f"10.0.2.2:{ntp_server.port}"]},
            "syslog": {"remote": f"udp://10.0.2.2:{syslog_listener.port}"},
        }
    }
    with lab.machine(
        lab.cd(),
        "shared",
        config=config,
        key=True,
        rtc_start=WRONG_TIME,
        hotplug_slots=2,
        usb=True,
    ) as shared:
        shared.boot()
        yield shared


@pytest.fixture(scope="session")
def keys(lab: Lab) -> Path:
    """New keys, and a build that is signed with them in `out/`."""
    folder = lab.scratch / "keys"
    make_keys(folder, "Test")
    command = [sys.executable, "-m", "orlop", "host", "build", "--keys", str(folder)]
    run(command, env=dict(os.environ), timeout_s=900)
    return folder
