"""Service definitions: what is read, what is refused and with which words."""

from dataclasses import replace
from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.compose import (
    Condition,
    ConditionKind,
    ConfigDelivery,
    Dependency,
    DependencyCondition,
    Device,
    HealthCheck,
    LogLimits,
    Mount,
    MountKind,
    Propagation,
    RestartMode,
    RestartPolicy,
    Seccomp,
    ServiceDefinition,
    Stage,
    SysAccess,
    Ulimit,
    parse_service,
    parse_services,
    to_json,
)

FULL: dict[str, Any] = {
    "image": "time",
    "command": ["chronyd", "-d"],
    "entrypoint": "/bin/entry --flag 'two words'",
    "user": "100:101",
    "group_add": ["7"],
    "working_dir": "/run",
    "environment": {"A": "1", "B": 2},
    "network_mode": "host",
    "pid": "host",
    "ipc": "host",
    "uts": "host",
    "hostname": "clock",
    "read_only": True,
    "cap_drop": ["ALL"],
    "cap_add": ["SYS_TIME", "cap_net_admin"],
    "security_opt": ["no-new-privileges:true"],
    "volumes": [
        "/var/lib/orlop/time:/data:ro,rshared",
        {"type": "bind", "source": "/dev", "target": "/dev2", "bind": {"propagation": "rslave"}},
        {"type": "tmpfs", "target": "/cache", "tmpfs": {"size": "1m", "mode": 0o700}},
    ],
    "tmpfs": ["/run:size=64k,mode=1777"],
    "devices": ["/dev/rtc0", "/dev/ptp0:/dev/ptp:rw"],
    "ulimits": {"nofile": 64, "core": {"soft": 0, "hard": 0}},
    "mem_limit": "16m",
    "mem_reservation": "4m",
    "cpus": 0.5,
    "cpu_shares": 512,
    "pids_limit": 10,
    "oom_score_adj": -500,
    "depends_on": {"network": {"condition": "service_healthy"}, "syslog": {"required": False}},
    "restart": "on-failure:5",
    "stop_signal": "INT",
    "stop_grace_period": "1m30s",
    "healthcheck": {"test": ["CMD", "check"], "interval": "10s", "retries": 2},
    "labels": ["a=b", "c=d=e"],
    "init": True,
    "sysctls": {"net.core.somaxconn": 1024},
    "tty": True,
    "stdin_open": True,
    "logging": {"driver": "local", "options": {"max-size": "2m", "max-file": "4"}},
    "x-orlop": {
        "condition": {"path": "/dev/rtc0", "configured": ["orlop.time", "hostname"]},
        "stage": "early",
        "host_dev": True,
        "host_sys": "ro",
        "host_proc": True,
        "syslog": False,
        "power": True,
        "api": True,
        "config": "reload",
        "cgroup_writable": True,
        "seccomp": "none",
        "rlimits": {"RLIMIT_STACK": -1},
    },
}


def test_everything() -> None:
    service = parse_service("time", FULL)
    assert service == ServiceDefinition(
        name="time",
        image="time",
        command=("chronyd", "-d"),
        entrypoint=("/bin/entry", "--flag", "two words"),
        user="100:101",
        group_add=("7",),
        working_dir="/run",
        environment=(("A", "1"), ("B", "2")),
        network_mode="host",
        pid_mode="host",
        ipc_mode="host",
        uts_mode="host",
        hostname="clock",
        read_only=True,
        cap_add=("SYS_TIME", "NET_ADMIN"),
        mounts=(
            Mount(
                MountKind.BIND,
                "/data",
                "/var/lib/orlop/time",
                read_only=True,
                create_host_path=True,
                propagation=Propagation.SHARED,
            ),
            Mount(MountKind.BIND, "/dev2", "/dev", propagation=Propagation.SLAVE),
            Mount(MountKind.TMPFS, "/cache", size_bytes=1 << 20, mode=0o700),
            Mount(MountKind.TMPFS, "/run", size_bytes=64 << 10, mode=0o1777),
        ),
        devices=(Device("/dev/rtc0", "/dev/rtc0"), Device("/dev/ptp0", "/dev/ptp", "rw")),
        ulimits=(Ulimit("nofile", 64, 64), Ulimit("core", 0, 0), Ulimit("stack", -1, -1)),
        memory_limit_bytes=16 << 20,
        memory_reservation_bytes=4 << 20,
        cpus=0.5,
        cpu_shares=512,
        pids_limit=10,
        oom_score_adj=-500,
        depends_on=(
            Dependency("network", DependencyCondition.HEALTHY),
            Dependency("syslog", required=False),
        ),
        restart=RestartPolicy(RestartMode.ON_FAILURE, 5),
        stop_signal="SIGINT",
        stop_grace_period_s=90.0,
        healthcheck=HealthCheck(("check",), interval_s=10.0, retries=2),
        labels=(("a", "b"), ("c", "d=e")),
        init=True,
        sysctls=(("net.core.somaxconn", "1024"),),
        tty=True,
        stdin_open=True,
        log_limits=LogLimits(2 << 20, 4),
        conditions=(
            Condition(ConditionKind.PATH, "/dev/rtc0"),
            Condition(ConditionKind.CONFIGURED, "orlop.time"),
            Condition(ConditionKind.CONFIGURED, "hostname"),
        ),
        stage=Stage.EARLY,
        host_dev=True,
        host_sys=SysAccess.READ_ONLY,
        host_proc=True,
        syslog=False,
        power=True,
        api=True,
        config=ConfigDelivery.RELOAD,
        cgroup_writable=True,
        seccomp=Seccomp.NONE,
    )


@pytest.mark.parametrize("data", [FULL, {}, {"healthcheck": {"test": "true && true"}}])
def test_normal_form_reads_back_equal(data: dict[str, Any]) -> None:
    service = parse_service("time", data)
    assert parse_service("time", to_json(service)) == service


def test_ports() -> None:
    ports = [
        "80",
        "443:443/tcp",
        "127.0.0.1:53:53/udp",
        "[::1]:9100:9100",
        "0.0.0.0:8000-8001:8000-8001",
    ]
    found = parse_service("web", {"ports": [*ports, {"target": 5000, "host_ip": "::1"}]}).ports
    assert [str(port) for port in found] == [
        "80/tcp",
        "443/tcp",
        "127.0.0.1:53:53/udp",
        "[::1]:9100:9100/tcp",
        "8000/tcp",
        "8001/tcp",
        "[::1]:5000:5000/tcp",
    ]
    assert found[0].clashes_with(replace(found[0], address="127.0.0.1"))
    assert not found[0].clashes_with(replace(found[0], protocol="udp"))
    assert not found[2].clashes_with(replace(found[2], address="127.0.0.2"))


def test_volumes_by_name() -> None:
    both = [
        "data:/data:ro",
        {"type": "volume", "source": "data", "target": "/data", "read_only": True},
    ]
    for item in both:
        (mount,) = parse_service("web", {"volumes": [item]}).mounts
        assert mount == Mount(MountKind.VOLUME, "/data", "data", read_only=True)


def test_least_privilege_is_the_default() -> None:
    service = parse_service("web", {})
    assert service.image == "web"
    assert service.cap_add == ()
    assert service.network_mode == "none"
    assert service.no_new_privileges
    assert service.seccomp is Seccomp.DEFAULT
    assert service.restart.mode is RestartMode.NO


@pytest.mark.parametrize(
    ("data", "key", "hint"),
    [
        ({"imagee": "x"}, "imagee", "image"),
        ({"x-orlop": {"host_deev": True}}, "x-orlop.host_deev", "host_dev"),
        ({"cap_add": ["SYS_TIM"]}, "cap_add", "SYS_TIME"),
        ({"restart": "allways"}, "restart", "always"),
        ({"restart": "always:3"}, "restart", None),
        ({"ulimits": {"nofil": 3}}, "ulimits.nofil", "nofile"),
        ({"ulimits": {"nofile": {"soft": 3}}}, "ulimits.nofile", None),
        ({"stop_signal": "SIGTREM"}, "stop_signal", "SIGTERM"),
        ({"stop_signal": 4000}, "stop_signal", None),
        ({"privileged": True}, "privileged", "cap_add"),
        ({"tty": "yes"}, "tty", None),
        ({"network_mode": "bridge"}, "network_mode", None),
        ({"volumes": ["./data:/data"]}, "volumes[0]", None),
        ({"volumes": ["/a/../b:/data"]}, "volumes[0]", None),
        ({"volumes": [{"type": "volume", "target": "/x"}]}, "volumes[0].source", None),
        ({"volumes": ["/a:/x", "/b:/x/"]}, "volumes", None),
        ({"volumes": "no"}, "volumes", None),
        ({"tmpfs": "/x:mode=999"}, "tmpfs", None),
        ({"tmpfs": "/x:siz=1m"}, "tmpfs.siz", "size"),
        ({"depends_on": ["web"]}, "depends_on", None),
        (
            {"depends_on": {"a": {"condition": "service_startd"}}},
            "depends_on.a.condition",
            "service",
        ),
        ({"mem_limit": "lots"}, "mem_limit", None),
        ({"stop_grace_period": "10 parsecs"}, "stop_grace_period", None),
        ({"healthcheck": {"interval": "1s"}}, "healthcheck.test", None),
        ({"healthcheck": {"test": ["RUN", "x"]}}, "healthcheck.test", None),
        ({"healthcheck": {"test": "x", "interval": "1ms"}}, "healthcheck", None),
        ({"environment": ["A"]}, "environment", None),
        ({"environment": ["A=1", "A=2"]}, "environment", None),
        ({"environment": {"A": True}}, "environment.A", None),
        ({"user": "root;rm"}, "user", None),
        ({"working_dir": "var"}, "working_dir", None),
        ({"security_opt": ["label=disable"]}, "security_opt", None),
        ({"pids_limit": 1 << 40}, "pids_limit", None),
        ({"command": "unbalanced 'quote"}, "command", None),
        ({"command": ["a\0b"]}, "command[0]", None),
        ({"logging": {"driver": "syslog"}}, "logging.driver", None),
        ({"x-orlop": {"condition": {"paths": "/x"}}}, "x-orlop.condition.paths", "path"),
        ({"x-orlop": {"config": "hup"}}, "x-orlop.config", None),
        ({"devices": ["/dev/x:/dev/x:wr"]}, "devices", None),
        ({"ports": ["8080:80"]}, "ports[0]", "80:80"),
        ({"ports": [70000]}, "ports[0]", None),
        ({"ports": ["80/sctp"]}, "ports[0]", None),
        ({"ports": [{"published": 80}]}, "ports[0].target", None),
        ({"x-orlop": {"schedule": "0 25 * * *"}}, "x-orlop.schedule", None),
    ],
)
def test_refused_with_service_and_key(data: dict[str, Any], key: str, hint: str | None) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_service("web", data)
    assert caught.value.message.startswith(f"service web: {key}: ")
    if hint is not None:
        assert hint in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["", "Web", "a/b", "-a", "x" * 64])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidArgument, match="not a service name"):
        parse_service(name, {})


def test_place_in_the_file_comes_first() -> None:
    with pytest.raises(InvalidArgument, match=r"^f.yml:7: service web: x-orlop.stage: "):
        parse_service(
            "web",
            {"x-orlop": {"stage": "late"}},
            lambda path: "f.yml:7: " if path == ("x-orlop", "stage") else "",
        )


def test_file_of_services() -> None:
    services = parse_services({"services": {"a": {"depends_on": ["b"]}, "b": None or {}}})
    assert [service.name for service in services] == ["a", "b"]
    with pytest.raises(InvalidArgument, match="unknown key"):
        parse_services({"services": {"a": {}}, "volumes": {}})
    with pytest.raises(InvalidArgument, match="must be a map of services"):
        parse_services({})
    with pytest.raises(InvalidArgument, match=r"f:services/a/tyt: service a: tyt"):
        parse_services({"services": {"a": {"tyt": 1}}}, lambda path: f"f:{'/'.join(path)}: ")


def test_yaml_unquoted_no_is_a_restart_policy() -> None:
    assert parse_service("a", {"restart": False}).restart == RestartPolicy()


def test_too_much_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="more than 256"):
        parse_service("a", {"command": ["x"] * 257})
    with pytest.raises(InvalidArgument, match="more than 256"):
        parse_service("a", {str(number): 1 for number in range(257)})
    with pytest.raises(InvalidArgument, match="too long"):
        parse_service("a", {"hostname": "x" * 20000})
