"""Service files that people bring: Compose of all versions, RancherOS's, labels, variables."""

from __future__ import annotations

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.system.storage import persistence
from orlop.wire.compose_file import ServicesFile, parse_file
from orlop.wire.compose_model import (
    Dependency,
    DependencyCondition,
    MountKind,
    Seccomp,
    ServiceDefinition,
)
from orlop.wire.located_yaml import parse_yaml


def parse(text: str, environment: dict[str, str] | None = None) -> ServicesFile:
    return parse_file(parse_yaml("web.yml", text), environment)


def one(text: str) -> ServiceDefinition:
    (service,) = parse(text).services
    return service


OPEN_VM_TOOLS = """\
open-vm-tools:
  image: ${REGISTRY_DOMAIN}/rancher/os-openvmtools:10.3.10-1
  command: /usr/bin/vmtoolsd
  privileged: true
  labels:
    io.rancher.os.scope: system
    io.rancher.os.after: cloud-init, console
  net: host
  uts: host
  pid: host
  ipc: host
  restart: always
  volumes_from:
  - command-volumes
  - system-volumes
  environment:
  - HTTP_PROXY
  - LEVEL=3
  log_driver: json-file
"""


def test_service_of_rancheros() -> None:
    found = parse(OPEN_VM_TOOLS, {"HTTP_PROXY": "http://proxy:3128"})
    (service,) = found.services
    assert service.image == "docker.io/rancher/os-openvmtools:10.3.10-1"
    assert service.network_mode == service.pid_mode == "host"
    assert "SYS_ADMIN" in service.cap_add
    assert "SYS_MODULE" not in service.cap_add
    assert service.host_dev
    assert not service.no_new_privileges
    assert service.depends_on == (
        Dependency("cloud", required=False),
        Dependency("console", required=False),
    )
    assert service.environment == (("HTTP_PROXY", "http://proxy:3128"), ("LEVEL", "3"))
    assert [mount.target for mount in service.mounts] == ["/var/log", "/run/orlop/etc"]
    assert any(
        text.startswith("web.yml:19: service open-vm-tools: log_driver: is not supported")
        for text in found.notices
    )


def test_volumes_of_users_are_those_of_the_consoles() -> None:
    service = one("web:\n  image: nginx\n  volumes_from: [user-volumes]\n")
    assert {mount.target: mount.source for mount in service.mounts} == {
        "/root": "/var/lib/orlop/root",
        "/home": "/var/lib/orlop/home",
        "/opt": f"{persistence.DIRECTORY}/opt",
    }


def test_version_1_has_what_docker_gives() -> None:
    service = one("web:\n  image: nginx\n  cap_drop: [MKNOD]\n  environment: {DEBUG: true, N: 1}\n")
    assert "CHOWN" in service.cap_add
    assert "MKNOD" not in service.cap_add
    assert service.network_mode == "host"
    assert dict(service.environment) == {"DEBUG": "true", "N": "1"}


def test_security_options_of_version_1() -> None:
    options = "[seccomp:unconfined, label:disable, 'apparmor:mine']"
    found = parse(f"web:\n  image: nginx\n  security_opt: {options}\n")
    (service,) = found.services
    assert (service.seccomp, service.no_new_privileges) == (Seccomp.NONE, False)
    assert [text.partition(": security_opt: ")[2] for text in found.notices if "means" in text] == [
        "label:disable means nothing here, ignoring",
        "apparmor:mine means nothing here, ignoring",
    ]
    assert one("web:\n  image: x\n  security_opt: [no-new-privileges]\n").no_new_privileges


def test_labels_of_rancheros() -> None:
    service = one(
        """\
version: "2"
services:
  job:
    image: busybox
    network_mode: none
    labels:
      - io.rancher.os.scope=system
      - io.rancher.os.before=docker,web
      - io.rancher.os.detach=false
      - io.rancher.os.createonly=true
      - io.rancher.os.reloadconfig=true
      - io.rancher.os.remove=true
      - cron.schedule=0 0 * * * *
"""
    )
    assert service.before == ("engine", "web")
    assert not service.detach
    assert service.create_only
    assert service.reload_config
    assert service.schedule == "0 0 * * * *"


def test_our_labels_and_their_misspelling() -> None:
    text = "services:\n  web:\n    image: x\n    labels:\n      org.orlop.{}\n"
    service = one(text.format("after: time"))
    assert service.depends_on == (Dependency("time", required=False),)
    assert one(text.format("schedule: '@daily'")).schedule == "@daily"
    with pytest.raises(
        InvalidArgument, match=r"^web\.yml:4: service web: labels: org\.orlop\.aftr"
    ):
        parse(text.format("aftr: time"))
    with pytest.raises(InvalidArgument, match="must be true or false"):
        parse(text.format("detach: maybe"))


def test_compose_of_today() -> None:
    found = parse(
        """\
name: shop
services:
  web:
    image: nginx:1.27
    container_name: shop-web
    network_mode: host
    ports: ["80:80"]
    profiles: [extra]
    deploy:
      replicas: 2
      resources:
        limits: {cpus: "0.5", memory: 64M, pids: 20}
    depends_on:
      db: {condition: service_healthy}
    volumes: ["data:/data"]
  db:
    image: postgres
    x-note: mine
volumes:
  data: {}
x-top: 1
"""
    )
    web, db = found.services
    assert (web.cpus, web.memory_limit_bytes, web.pids_limit) == (0.5, 64 << 20, 20)
    assert web.depends_on == (Dependency("db", DependencyCondition.HEALTHY),)
    assert web.mounts[0].kind is MountKind.VOLUME
    assert (web.user, web.working_dir, web.stop_signal) == ("", "", "")
    assert web.cap_add == ()
    assert found.profiles == {"web": ["extra"]}
    assert found.places == {"web": "web.yml:4: ", "db": "web.yml:17: "}
    notices = "\n".join(found.notices)
    assert "web.yml:5: service web: container_name" in notices
    assert "web.yml:10: service web: deploy.replicas" in notices
    assert "web.yml:16: service db: has no network" in notices
    assert db.network_mode == "none"


@pytest.mark.parametrize(
    ("line", "place", "problem"),
    [
        ("build: .", 4, "build: images are not built here"),
        ("env_file: x.env", 4, "env_file: there are no files beside this one"),
        ("networks: [a]", 4, "networks: a system service has the machine's network"),
        ("imag: nginx", 4, "imag: unknown key"),
        ("ports: ['80:80']", 4, "ports: needs the machine's network"),
        ("command: echo $HOME", 4, "command: the variable HOME is not set"),
        ("command: echo ${A:?not given}", 4, "needs the variable A: not given"),
        ("command: costs 3$", 4, "holds a $ that begins no name"),
        ("privileged: true", 4, "privileged: a system service has no privileged mode"),
    ],
)
def test_refused_with_line(line: str, place: int, problem: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(f"services:\n  web:\n    image: x\n    {line}\n")
    assert caught.value.message.startswith(f"web.yml:{place}: service web: ")
    assert problem in caught.value.message


@pytest.mark.parametrize(
    "text", ["", "[]", "services: {}", "services: 3", "configs: {}\nservices: {}"]
)
def test_no_services(text: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^web\.yml"):
        parse(text)


def test_variables() -> None:
    text = 'services:\n  web:\n    image: x:${{TAG:-1}}\n    command: ["{}"]\n'
    environment = {"A": "a", "EMPTY": ""}

    def command(value: str) -> str:
        (service,) = parse(text.format(value), environment).services
        assert service.image == "x:1"
        return service.command[0]

    assert command("$A-${A}") == "a-a"
    assert command("$$A") == "$A"
    assert command("${EMPTY-x}.${EMPTY:-x}") == ".x"
    assert command("${B-x}${A+y}${B+z}") == "xy"


def test_a_variable_that_rancheros_would_leave_empty() -> None:
    found = parse("web:\n  image: x$NOTHING\n")
    assert found.services[0].image == "x"
    assert any("the variable NOTHING is not set" in text for text in found.notices)
