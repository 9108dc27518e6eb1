"""The definitions and contents under os/services: they parse, and they promise what they must."""

from pathlib import Path

import pytest
import yaml

from orlop.image.contents import read_contents
from orlop.wire.compose import SysAccess, parse_service, parse_services, to_json
from orlop.wire.compose_model import RestartMode, Seccomp, ServiceDefinition

DIRECTORIES = sorted(path for path in Path("os/services").iterdir() if path.is_dir())
NAMES = [path.name for path in DIRECTORIES]

SHELL = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_ADMIN NET_RAW SETGID SETUID SYSLOG"
CAPABILITIES = {
    "agent": SHELL,
    "console": SHELL,
    "devices": "CHOWN FOWNER SYS_MODULE",
    "network": "NET_ADMIN NET_BIND_SERVICE NET_RAW",
    "power": "",
    "ssh": SHELL + " NET_BIND_SERVICE",
    "syslog": "SYSLOG",
    "time": "SYS_TIME",
}
"""Each capability here is one that the service uses; docs/services.md says for what."""


def definition(directory: Path) -> ServiceDefinition:
    data = yaml.safe_load((directory / "service.yml").read_text())
    (service,) = parse_services(data)
    return service


def test_all_are_here() -> None:
    assert sorted(CAPABILITIES) == NAMES


@pytest.mark.parametrize("directory", DIRECTORIES, ids=NAMES)
def test_least(directory: Path) -> None:
    service = definition(directory)
    assert service.name == service.image == directory.name
    assert sorted(service.cap_add) == sorted(CAPABILITIES[directory.name].split())
    assert service.read_only
    assert service.no_new_privileges
    assert service.seccomp is Seccomp.DEFAULT
    assert service.memory_limit_bytes is not None
    assert service.pids_limit is not None
    assert service.restart.mode is RestartMode.ALWAYS
    assert service.host_sys is not SysAccess.READ_WRITE
    assert not service.host_proc
    assert not service.cgroup_writable


@pytest.mark.parametrize("directory", DIRECTORIES, ids=NAMES)
def test_normal_form_reads_back(directory: Path) -> None:
    service = definition(directory)
    assert parse_service(service.name, to_json(service)) == service


@pytest.mark.parametrize("directory", DIRECTORIES, ids=NAMES)
def test_contents_parse_and_name_what_exists(directory: Path) -> None:
    contents = read_contents(directory / "image.toml")
    for build in contents.build:
        assert Path(f"os/build/{build}.toml").is_file()
    for module in contents.python:
        path = Path("src", *module.split("."))
        assert path.with_suffix(".py").is_file()


@pytest.mark.parametrize("directory", DIRECTORIES, ids=NAMES)
def test_user_is_in_the_image(directory: Path) -> None:
    service = definition(directory)
    number, _, group = service.user.partition(":")
    if number != "0":
        assert number == group
        assert int(number) in read_contents(directory / "image.toml").users.values()


def test_who_runs_without_root() -> None:
    assert [d.name for d in DIRECTORIES if definition(d).user != "0:0"] == ["syslog", "time"]
