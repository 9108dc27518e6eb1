"""From a configuration to config.json."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.engine import json_codec
from orlop.engine.container.config import ContainerConfig, Resources, from_service
from orlop.engine.images import Image
from orlop.engine.runtime import capabilities, seccomp, spec, users
from orlop.lib.errors import InvalidArgument
from orlop.wire.compose import parse_service
from orlop.wire.compose_model import HealthCheck, Mount, MountKind, RestartMode, RestartPolicy

if TYPE_CHECKING:
    from orlop.wire import oci

IMAGE = Image(
    id="sha256:0",
    name="web",
    lower=(Path("/lower"),),
    entrypoint=("/entry",),
    command=("serve",),
    environment=(("A", "image"), ("B", "image")),
)
CONFIG = ContainerConfig(name="web", image="web")


def facts(**changes: object) -> spec.HostFacts:
    plain = spec.HostFacts(
        rootfs=Path("/root"),
        cgroup="/system/web",
        identity=users.Identity(0, 0),
        hostname="web",
        pids_limit=512,
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]


def plan(config: ContainerConfig = CONFIG, **changes: object) -> oci.Config:
    return spec.plan_bundle(config, IMAGE, facts(**changes))[0]


def changed(**changes: object) -> ContainerConfig:
    return dataclasses.replace(CONFIG, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (CONFIG, ("/entry", "serve")),
        (changed(command=("other",)), ("/entry", "other")),
        (changed(entrypoint=("/mine",)), ("/mine",)),
        (changed(entrypoint=(), command=("x",)), ("x",)),
    ],
)
def test_arguments(config: ContainerConfig, expected: tuple[str, ...]) -> None:
    assert spec.plan_arguments(config, IMAGE) == expected


def test_no_command_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        spec.plan_arguments(changed(entrypoint=()), IMAGE)


def test_environment_of_the_container_wins() -> None:
    environment = plan(changed(environment=(("B", "mine"), ("HOME", "/h"))))["process"]["env"]
    assert {"A=image", "B=mine", "HOME=/h", "HOSTNAME=web"} <= set(environment)
    assert f"PATH={spec.DEFAULT_PATH}" in environment


def test_a_variable_without_a_value_takes_the_images_away() -> None:
    config = changed(environment=(("B", "mine"),), environment_unset=("A", "NONE"))
    environment = plan(config)["process"]["env"]
    assert "B=mine" in environment
    assert not [item for item in environment if item.startswith(("A=", "NONE"))]


def test_what_links_say_gives_way_to_the_image() -> None:
    links = (("A", "link"), ("DB_NAME", "/web/db"))
    environment = plan(environment=links)["process"]["env"]
    assert {"A=image", "DB_NAME=/web/db"} <= set(environment)


def test_defaults_are_closed() -> None:
    bundle = plan()
    assert bundle["process"]["capabilities"]["bounding"] == [
        name for name in capabilities.ALL if name in capabilities.DEFAULT
    ]
    assert bundle["linux"]["resources"]["pids"] == {"limit": 512}
    assert bundle["linux"]["resources"]["devices"][0] == {"allow": False, "access": "rwm"}
    kinds = {namespace["type"] for namespace in bundle["linux"]["namespaces"]}
    assert kinds == {"mount", "network", "pid", "ipc", "uts", "cgroup"}
    assert "/proc/kcore" in bundle["linux"]["maskedPaths"]
    assert bundle["process"]["oomScoreAdj"] == 0
    options = {mount["destination"]: mount["options"] for mount in bundle["mounts"]}
    assert "ro" in options["/sys"]
    assert "ro" in options["/sys/fs/cgroup"]
    json.dumps(bundle)


def test_a_service_gets_what_it_asks_for_and_no_more() -> None:
    service = parse_service("time", {"command": ["x"], "user": "102:102", "cap_add": ["SYS_TIME"]})
    bundle = plan(from_service(service), identity=users.Identity(102, 102))

    sets = bundle["process"]["capabilities"]
    assert sets["bounding"] == sets["ambient"] == sets["effective"] == ["CAP_SYS_TIME"]
    assert bundle["process"]["noNewPrivileges"]
    assert not any(mount["destination"].startswith("/sys") for mount in bundle["mounts"])


def test_a_user_has_no_capability_that_nobody_named() -> None:
    sets = plan(identity=users.Identity(5, 5))["process"]["capabilities"]
    assert sets["effective"] == sets["ambient"] == []


def test_limits_and_missing_controllers() -> None:
    config = changed(resources=Resources(memory_bytes=1 << 26, cpus=0.5, pids_limit=10))
    resources = plan(config)["linux"]["resources"]
    assert resources["memory"] == {"limit": 1 << 26}
    assert resources["cpu"] == {"quota": 50_000, "period": 100_000}
    assert resources["pids"] == {"limit": 10}

    bundle, warnings = spec.plan_bundle(config, IMAGE, facts(controllers=frozenset({"cpu"})))
    assert set(bundle["linux"]["resources"]) == {"devices", "cpu"}
    assert len(warnings) == 2


def test_mounts_are_made_from_the_root_down_and_replace_standard_ones() -> None:
    mounts = (
        Mount(MountKind.BIND, "/a/b/c", "/src1"),
        Mount(MountKind.TMPFS, "/a", size_bytes=4096),
        Mount(MountKind.TMPFS, "/dev/shm"),
    )
    planned = plan(changed(mounts=mounts))["mounts"]
    targets = [mount["destination"] for mount in planned]
    assert targets.index("/a") < targets.index("/a/b/c")
    assert targets.count("/dev/shm") == 1
    assert "size=4096" in next(m for m in planned if m["destination"] == "/a")["options"]


def test_privileged_is_open() -> None:
    bundle = plan(changed(privileged=True))
    assert bundle["process"]["capabilities"]["effective"] == list(capabilities.ALL)
    assert bundle["linux"]["maskedPaths"] == bundle["linux"]["readonlyPaths"] == []
    assert bundle["linux"]["resources"]["devices"] == [{"allow": True, "access": "rwm"}]


@pytest.mark.parametrize(
    ("add", "drop", "expected"),
    [
        (("ALL",), ("SYS_ADMIN",), set(capabilities.ALL) - {"CAP_SYS_ADMIN"}),
        (("net_admin",), ("all",), {"CAP_NET_ADMIN"}),
        (
            ("CAP_SYS_TIME",),
            ("CHOWN",),
            set(capabilities.DEFAULT) - {"CAP_CHOWN"} | {"CAP_SYS_TIME"},
        ),
    ],
)
def test_capabilities(add: tuple[str, ...], drop: tuple[str, ...], expected: set[str]) -> None:
    assert set(capabilities.effective(add, drop)) == expected


def test_unknown_capability_is_refused() -> None:
    with pytest.raises(InvalidArgument):
        capabilities.effective(["FLY"], [])


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("SIGKILL", 9), ("1", 1), ("RTMIN+3", 37)]
)
def test_signals(text: str, number: int) -> None:
    assert spec.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "0", "99", "SIGNAL", "SIG_IGN", "RTMIN+99", "-1"])
def test_no_signals(text: str) -> None:
    with pytest.raises(InvalidArgument):
        spec.parse_signal(text)


PASSWD = b"root:x:0:0::/root:/bin/sh\nalice:x:1000:1001::/home/alice:/bin/sh\nbroken:line\n\xff\n"
GROUP = b"root:x:0:\nalice:x:1001:\nwheel:x:10:root,alice\nbad:x:y:alice\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", users.Identity(0, 0, (0, 10), "/root")),
        ("alice", users.Identity(1000, 1001, (1001, 10), "/home/alice")),
        ("1000", users.Identity(1000, 1001, (1001, 10), "/home/alice")),
        ("alice:wheel", users.Identity(1000, 10, (10,), "/home/alice")),
        ("77", users.Identity(77, 0, (0,))),
        ("77:88", users.Identity(77, 88, (88,))),
    ],
)
def test_users(text: str, expected: users.Identity) -> None:
    assert users.resolve(text, PASSWD, GROUP) == expected


@pytest.mark.parametrize("text", ["nobody", "alice:nogroup", "99999999999", "broken"])
def test_unknown_users_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument):
        users.resolve(text, PASSWD, GROUP)


@pytest.mark.parametrize(
    ("without_i386", "architectures"),
    [(False, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]), (True, ["SCMP_ARCH_X86_64"])],
)
def test_seccomp_conditions(
    without_i386: bool, architectures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp, "without_i386", lambda: without_i386)
    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "includes": {}, "excludes": {}},
            {
                "names": ["mount"],
                "action": "SCMP_ACT_ALLOW",
                "includes": {"caps": ["CAP_SYS_ADMIN"]},
            },
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ALLOW",
                "excludes": {"caps": ["CAP_SYS_ADMIN"]},
            },
            {"names": ["arm"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        ],
    }

    def names(*held: str) -> list[str]:
        found = seccomp.resolve(profile, "x86_64", held)
        assert found["architectures"] == architectures
        return [name for rule in found["syscalls"] for name in rule["names"]]

    assert names() == ["read", "clone"]
    assert names("CAP_SYS_ADMIN") == ["read", "mount"]


def test_a_configuration_survives_its_file() -> None:
    config = changed(
        environment=(("A", "1"),),
        healthcheck=HealthCheck(("true",), interval_s=2),
        restart=RestartPolicy(RestartMode.ON_FAILURE, 3),
        mounts=(Mount(MountKind.TMPFS, "/x", mode=0o700),),
        resources=Resources(cpus=1.5),
    )
    stored = json.loads(json.dumps(json_codec.encode(config)))
    assert json_codec.decode(ContainerConfig, stored) == config


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"name": "x"},
        {"name": 5, "image": "y"},
        {"name": "x", "image": "y", "environment": [["A"]]},
        {"name": "x", "image": "y", "restart": {"mode": "sometimes"}},
        {"name": "x", "image": "y", "tty": "yes"},
    ],
)
def test_a_damaged_configuration_is_refused(data: object) -> None:
    with pytest.raises(InvalidArgument):
        json_codec.decode(ContainerConfig, data)
