"""The definitions and contents under os/services: they parse, and they promise what they must."""

from pathlib import Path

import pytest
import yaml

from orlop.__main__ import WORKERS
from orlop.image.contents import read_contents
from orlop.wire.compose import CAPABILITIES as ALL_CAPABILITIES
from orlop.wire.compose import SysAccess, parse_service, parse_services, to_json
from orlop.wire.compose_model import RestartMode, Seccomp, ServiceDefinition

DIRECTORIES = sorted(path for path in Path("os/services").iterdir() if path.is_dir())
NAMES = [path.name for path in DIRECTORIES]

SHELL = "CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_ADMIN NET_RAW SETGID SETUID SYSLOG"
CAPABILITIES = {
    "agent": SHELL,
    "cloud": "",
    "console": SHELL,
    "devices": "CHOWN FOWNER SYS_MODULE",
    "engine": " ".join(
        {*ALL_CAPABILITIES} - {"MAC_ADMIN", "MAC_OVERRIDE", "SYS_BOOT", "SYS_MODULE"}
    ),
    "network": "NET_ADMIN NET_BIND_SERVICE NET_RAW",
    "power": "",
    "ssh": SHELL + " NET_BIND_SERVICE SYS_CHROOT",
    "syslog": "SYSLOG",
    "time": "SYS_TIME",
}
"""Each capability here is one that the service uses; docs/services.md says for what."""

SYSTEM_WORKERS = frozenset(
    {
        "config",
        "gate",
        "health",
        "image",
        "install",
        "password",
        "phone-home",
        "seed",
        "services",
        "update",
    }
    | {"tpm", "unlock"}
)
ONE_SHOT = frozenset({"cloud"})
"""They do their work and end."""

MAKES_CONTAINERS = frozenset({"engine"})
"""It can do whatever its containers may be allowed to; docs/services.md says why."""


def definition(directory: Path) -> ServiceDefinition:
    data = yaml.safe_load((directory / "service.yml").read_text())
    (service,) = parse_services(data)
    return service


def test_all_are_here() -> None:
    assert sorted(CAPABILITIES) == NAMES


@pytest.mark.parametrize("directory", DIRECTORIES, ids=NAMES)
def test_definition(directory: Path) -> None:
    service = definition(directory)
    assert service.name == service.image == directory.name
    assert sorted(service.cap_add) == sorted(CAPABILITIES[directory.name].split())
    assert service.read_only
    assert service.pids_limit is not None
    ends = directory.name in ONE_SHOT
    assert service.restart.mode is (RestartMode.ON_FAILURE if ends else RestartMode.ALWAYS)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in MAKES_CONTAINERS])
def test_least(name: str) -> None:
    service = definition(Path("os/services", name))
    assert service.no_new_privileges
    assert service.seccomp is Seccomp.DEFAULT
    assert service.memory_limit_bytes is not None
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
    own = [module for module in contents.python if module.startswith("orlop.")]
    for module in own:
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
    assert [d.name for d in DIRECTORIES if definition(d).user != "0:0"] == [
        *("cloud", "syslog", "time"),
    ]


def test_the_system_has_every_worker_of_its_own() -> None:
    contents = read_contents(Path("os/root/image.toml"))
    assert {WORKERS[name] for name in SYSTEM_WORKERS} <= set(contents.python)


def test_engine_has_every_worker_there_is() -> None:
    contents = read_contents(Path("os/services/engine/image.toml"))
    workers = {module for name, module in WORKERS.items() if name not in SYSTEM_WORKERS}
    assert workers <= set(contents.python)
