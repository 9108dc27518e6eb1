"""Create requests as Docker's clients send them, and what is refused in dockerd's words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from orlop.engine.api import request_mounts
from orlop.engine.api.create_request import merge_image, parse_create
from orlop.engine.api.create_warnings import find_warnings
from orlop.engine.api.request_resources import parse_resources
from orlop.engine.container import creation, joining, limits
from orlop.engine.container.config import ContainerConfig, DeviceRule, VolumeRequest
from orlop.engine.images import Image
from orlop.engine.runtime import spec, users
from orlop.engine.volumes import driver
from orlop.engine.volumes import mounts as volume_mounts
from orlop.lib.errors import InvalidArgument, NotFound
from orlop.lib.mount import MountFlag
from orlop.wire.compose_model import HealthCheck, Mount, MountKind, Propagation
from orlop.wire.docker.fields import Object

IMAGE = Image(id="sha256:0", name="busybox", lower=(Path("/lower"),), command=("sh",))

CLI_28_RUN: dict[str, Any] = json.loads("""
{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":true,
"AttachStderr":true,"Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":null,"Cmd":["true"],
"Image":"busybox","Volumes":{},"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":{},
"HostConfig":{"Binds":null,"ContainerIDFile":"","LogConfig":{"Type":"","Config":{}},
"NetworkMode":"none","PortBindings":{},"RestartPolicy":{"Name":"no","MaximumRetryCount":0},
"AutoRemove":false,"VolumeDriver":"","VolumesFrom":null,"ConsoleSize":[24,80],"CapAdd":null,
"CapDrop":null,"CgroupnsMode":"","Dns":[],"DnsOptions":[],"DnsSearch":[],"ExtraHosts":null,
"GroupAdd":null,"IpcMode":"","Cgroup":"","Links":null,"OomScoreAdj":0,"PidMode":"",
"Privileged":false,"PublishAllPorts":false,"ReadonlyRootfs":false,"SecurityOpt":null,"UTSMode":"",
"UsernsMode":"","ShmSize":0,"Isolation":"","CpuShares":0,"Memory":0,"NanoCpus":0,"CgroupParent":"",
"BlkioWeight":0,"BlkioWeightDevice":[],"BlkioDeviceReadBps":[],"BlkioDeviceWriteBps":[],
"BlkioDeviceReadIOps":[],"BlkioDeviceWriteIOps":[],"CpuPeriod":0,"CpuQuota":0,
"CpuRealtimePeriod":0,"CpuRealtimeRuntime":0,"CpusetCpus":"","CpusetMems":"","Devices":[],
"DeviceCgroupRules":null,"DeviceRequests":null,"MemoryReservation":0,"MemorySwap":0,
"MemorySwappiness":-1,"OomKillDisable":false,"PidsLimit":0,"Ulimits":[],"CpuCount":0,"CpuPercent":0,
"IOMaximumIOps":0,"IOMaximumBandwidth":0,"MaskedPaths":null,"ReadonlyPaths":null},
"NetworkingConfig":{"EndpointsConfig":{"none":{"IPAMConfig":null,"Links":null,"Aliases":null}}}}
""")
"""The body of `docker run --network none busybox true`, CLI 28."""


def parse(host: dict[str, Any] | None = None, **fields: Any) -> ContainerConfig:
    body = {**CLI_28_RUN, **fields, "HostConfig": {**CLI_28_RUN["HostConfig"], **(host or {})}}
    return parse_create(Object(body), "name")


def test_names_of_fields_in_another_case_mean_the_same() -> None:
    body = {
        "image": "busybox",
        "CMD": ["true"],
        "hostconfig": {"networkmode": "none", "INIT": True},
    }
    config = parse_create(Object(body), "name")
    assert (config.image, config.command, config.network) == ("busybox", ("true",), "none")
    assert config.init
    assert parse_create(Object({"Image": "x", "Tty": False, "tty": True}), "name").tty is False


def test_variables_without_a_value_are_kept_apart() -> None:
    config = parse(Env=["A=1", "B", "C="])
    assert (config.environment, config.environment_unset) == ((("A", "1"), ("C", "")), ("B",))


def test_a_volume_driver_matters_only_where_there_is_a_volume() -> None:
    assert parse({"VolumeDriver": "foo"}).mounts == ()
    with pytest.raises(NotFound, match="volume plugin foo"):
        parse({"VolumeDriver": "foo", "Binds": ["named:/data"]})


def plan(config: ContainerConfig, **changes: Any) -> Any:
    facts = spec.HostFacts(
        rootfs=Path("/root"),
        cgroup="/x",
        identity=users.Identity(0, 0),
        hostname="h",
        pids_limit=512,
        **changes,
    )
    return spec.plan_bundle(config, IMAGE, facts)[0]


def test_a_plain_run_of_the_command_line() -> None:
    config = parse()
    assert (config.ipc, config.pid, config.cgroupns, config.mounts) == ("private",) * 3 + ((),)
    assert config.healthcheck is None
    assert json.loads(config.requested) == {
        "AttachStdout": True,
        "AttachStderr": True,
        "HostConfig": json.loads(json.dumps(json.loads(config.requested)["HostConfig"])),
    }
    assert find_warnings(config, Object(CLI_28_RUN["HostConfig"]), frozenset()) == []


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ({"Memory": 1 << 20}, "Minimum memory limit allowed is 6MB"),
        ({"MemorySwap": 1 << 30}, "You should always set the Memory limit when using Memoryswap"),
        ({"Memory": 8 << 20, "MemorySwap": 7 << 20}, "Minimum memoryswap limit should be larger"),
        ({"NanoCpus": 1, "CpuQuota": 2000}, "Conflicting options: Nano CPUs and CPU Quota"),
        ({"CpuPeriod": 10}, "CPU cfs period can not be less than 1ms"),
        ({"CpusetCpus": "0-x"}, "Invalid value 0-x for cpuset cpus"),
        ({"BlkioWeight": 5}, "Range of blkio weight is from 10 to 1000"),
        ({"Runtime": "runsc"}, "unknown or invalid runtime name: runsc"),
        ({"IpcMode": "public"}, "invalid IPC mode: public"),
        ({"PidMode": "container:"}, "invalid PID mode: container:"),
        ({"UTSMode": "container:x"}, "invalid UTS mode: container:x"),
        (
            {"LogConfig": {"Type": "local", "Config": {"max-buffer-size": "1m"}}},
            "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
        ),
        ({"CgroupnsMode": "mine"}, "invalid cgroup namespace mode: mine"),
        ({"OomScoreAdj": 2000}, "Invalid value 2000, range for oom score adj is [-1000, 1000]"),
        ({"SecurityOpt": ["magic"]}, 'invalid --security-opt 2: "magic"'),
        ({"SecurityOpt": ["seccomp={"]}, "Decoding seccomp profile failed"),
        ({"Sysctls": {"vm.swappiness": "1"}}, 'sysctl "vm.swappiness" is not in a separate'),
        (
            {"Sysctls": {"net.core.somaxconn": "1"}, "NetworkMode": "host"},
            'sysctl "net.core.somaxconn" not allowed in host network namespace',
        ),
        (
            {"LogConfig": {"Type": "gelf"}},
            'error looking up logging plugin gelf: plugin "gelf" not found',
        ),
        (
            {"LogConfig": {"Type": "json-file", "Config": {"colour": "x"}}},
            "unknown log opt 'colour' for json-file log driver",
        ),
        (
            {"LogConfig": {"Type": "syslog", "Config": {"syslog-address": "nowhere"}}},
            "syslog-address should be in form proto://address",
        ),
        ({"DeviceCgroupRules": ["c 1 rw"]}, "invalid device cgroup rule format: 'c 1 rw'"),
        (
            {"DeviceRequests": [{"Driver": "", "Count": -1, "Capabilities": [["gpu"]]}]},
            'could not select device driver "" with capabilities: [[gpu]]',
        ),
        ({"Ulimits": [{"Name": "nofile", "Soft": 9, "Hard": 2}]}, "ulimit soft limit must be"),
        ({"StorageOpt": {"size": "1G"}}, "--storage-opt is supported only for"),
        ({"Binds": ["a:/b:rx"]}, "invalid mode: rx"),
        ({"Binds": ["/a:/"]}, "invalid volume specification: '/a:/': invalid mount config"),
        ({"Binds": ["/a:/x", "/b:/x"]}, "Duplicate mount point: /x"),
        ({"VolumesFrom": ["x:nocopy"]}, "invalid mode: nocopy"),
        ({"Tmpfs": {"/t": "colour=1"}}, "Invalid tmpfs option"),
        ({"CapAdd": ["fly"]}, 'invalid CapAdd: unknown capability: "CAP_FLY"'),
        ({"UsernsMode": "private"}, "invalid user namespace mode"),
        ({"CgroupParent": "/a/../.."}, "invalid cgroup parent"),
    ],
)
def test_what_cannot_be_is_refused(host: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse(host)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"Type": "bind", "Target": "/x"}, 'invalid mount config for type "bind": field Source'),
        ({"Type": "magic", "Target": "/x"}, 'invalid mount config for type "magic": mount type un'),
        ({"Type": "volume"}, 'invalid mount config for type "volume": field Target must not be'),
        ({"Type": "tmpfs", "Target": "/x", "Source": "y"}, 'invalid mount config for type "tmpfs"'),
        (
            {"Type": "volume", "Target": "/x", "Source": "v", "VolumeOptions": {"Subpath": "../y"}},
            'invalid mount config for type "volume": subpath must be a relative path',
        ),
        (
            {"Type": "volume", "Target": "/x", "ReadOnly": True},
            'invalid mount config for type "volume": must not set ReadOnly mode when using anon',
        ),
    ],
)
def test_wrong_mounts(mount: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse({"Mounts": [mount]})
    assert str(caught.value).startswith(message)


def test_mounts_of_every_kind() -> None:
    options = {"NoCopy": True, "DriverConfig": {"Name": "local", "Options": {"type": "nfs"}}}
    volume = {"Type": "volume", "Source": "data", "Target": "/v", "VolumeOptions": options}
    bind: dict[str, Any] = {"Type": "bind", "Source": "/s", "Target": "/b", "ReadOnly": True}
    bind["BindOptions"] = {"Propagation": "rslave", "NonRecursive": True, "CreateMountpoint": True}
    config = parse(
        {"Binds": ["name:/n:ro", "/c"], "Mounts": [volume, bind], "Tmpfs": {"/t": "exec,size=1k"}},
        Volumes={"/anonymous": {}, "/n": {}},
    )
    by_target = {mount.target: mount for mount in config.mounts}
    assert list(by_target) == ["/n", "/c", "/v", "/b", "/t", "/anonymous"]
    assert (by_target["/n"].source, by_target["/n"].read_only) == ("name", True)
    assert by_target["/c"].kind is by_target["/anonymous"].kind is MountKind.VOLUME
    assert by_target["/v"].no_copy
    assert by_target["/b"].propagation is Propagation.SLAVE
    assert "exec" in by_target["/t"].options
    assert VolumeRequest("/v", "local", (("type", "nfs"),)) in config.volume_requests


def test_binds_keep_their_words() -> None:
    mount = request_mounts.parse_bind("/a//b:/c/:ro,rshared,z")
    assert (mount.source, mount.target, mount.mode_text) == ("/a/b", "/c", "ro,rshared,z")
    assert mount.propagation is Propagation.SHARED


def test_limits_in_the_bundle_and_live() -> None:
    host = {
        "Memory": 64 << 20,
        "CpuQuota": 50_000,
        "CpuPeriod": 25_000,
        "CpusetCpus": "0-1",
        "PidsLimit": 7,
        "BlkioWeight": 500,
        "BlkioWeightDevice": [{"Path": "/dev/sda", "Weight": 10}],
        "BlkioDeviceReadBps": [{"Path": "/dev/sda", "Rate": 1000}],
        "DeviceCgroupRules": ["c 42:* rmw"],
    }
    config = parse(host)
    assert config.device_rules == (DeviceRule("c", 42, -1, "rmw"),)
    resources = plan(config)["linux"]["resources"]
    assert resources["memory"] == {"limit": 64 << 20, "swap": 128 << 20}
    assert resources["cpu"] == {"quota": 50_000, "period": 25_000, "cpus": "0-1"}
    assert resources["pids"] == {"limit": 7}
    rule = {"allow": True, "type": "c", "access": "rmw", "major": 42}
    assert rule in resources["devices"]
    planned = limits.plan_limits(config.resources, (("/dev/sda", 8, 0),))
    assert ("io", "io.weight", "8:0 1") in planned
    live = {name: value for _, name, value in reversed(planned)}
    assert live["memory.swap.max"] == str(64 << 20)
    assert live["io.max"] == "8:0 rbps=1000"
    assert live["cpu.max"] == "50000 25000"
    assert live["io.weight"] == "default 4950"


def test_unlimited_swap_and_updates() -> None:
    assert parse({"Memory": 8 << 20, "MemorySwap": -1}).resources.memory_swap_bytes == -1
    update = parse_resources(Object({"Memory": 8 << 20}), update=True)
    assert update.memory_swap_bytes is None


def test_namespaces_and_paths_in_the_bundle() -> None:
    config = parse({"PidMode": "container:abc", "IpcMode": "none", "MaskedPaths": []})
    bundle = plan(config, namespaces=(("pid", "/proc/9/ns/pid"),))
    assert {"type": "pid", "path": "/proc/9/ns/pid"} in bundle["linux"]["namespaces"]
    assert "/dev/shm" not in [mount["destination"] for mount in bundle["mounts"]]
    assert bundle["linux"]["maskedPaths"] == []
    assert "/proc/sys" in bundle["linux"]["readonlyPaths"]
    assert plan(parse({"SecurityOpt": ["systempaths=unconfined"]}))["linux"]["readonlyPaths"] == []


def test_init_goes_before_the_command() -> None:
    bundle = plan(parse({"Init": True}), init=Path("/usr/lib/init"))
    assert bundle["process"]["args"] == ["/sbin/docker-init", "--", "true"]
    assert "/sbin/docker-init" in [mount["destination"] for mount in bundle["mounts"]]


def test_read_only_binds_are_so_to_the_bottom() -> None:
    mounts = {
        m["destination"]: m["options"] for m in plan(parse({"Binds": ["/a:/b:ro"]}))["mounts"]
    }
    assert mounts["/b"] == ["rbind", "rprivate", "rro"]


def test_volumes_become_binds() -> None:
    config = parse({"Binds": ["data:/d"]})
    mounts = {m["destination"]: m for m in plan(config, volumes=(("/d", "/vol/_data"),))["mounts"]}
    assert mounts["/d"]["source"] == "/vol/_data"


def test_mounts_of_image_and_other_containers() -> None:
    image = Image(id="", name="", lower=(), volumes=("/img/", "/own"), command=("sh",))
    other = ContainerConfig(
        name="o", image="i", mounts=(Mount(MountKind.VOLUME, "/shared", "v1", mode_text="z"),)
    )

    def find(ref: str) -> ContainerConfig:
        if ref != "other":
            raise NotFound(ref)
        return other

    config = parse({"VolumesFrom": ["other:ro"], "Binds": ["/host:/own"]}, Volumes={"/shared": {}})
    planned = volume_mounts.plan_mounts(config, image, find)
    found = {m.target: (m.source, m.read_only) for m in planned.mounts}
    assert found == {"/own": ("/host", False), "/shared": ("v1", True), "/img": ("", False)}
    assert planned.volume_requests == (VolumeRequest("/img"),)
    assert planned.volumes_from == ()


def test_labels_and_health_times_of_the_image() -> None:
    image = Image(
        id="",
        name="",
        lower=(),
        labels=(("a", "image"), ("b", "image")),
        healthcheck=HealthCheck(("check",), retries=9),
    )
    body = Object({"Healthcheck": {"Interval": 2_000_000_000}})
    merged = merge_image(parse(Labels={"b": "mine"}), body, image)
    assert dict(merged.labels) == {"a": "image", "b": "mine"}
    assert merged.healthcheck == HealthCheck(("check",), interval_s=2.0, retries=9)
    with pytest.raises(InvalidArgument):
        parse(Healthcheck={"Test": ["CMD", "x"], "Interval": 10})


def test_warnings_are_dockerds() -> None:
    host = {"Memory": 64 << 20, "MemorySwappiness": 10, "OomKillDisable": True}
    warnings = find_warnings(parse(host), Object(host), frozenset({"cpu"}))
    assert len(warnings) == 3
    assert warnings[0] == (
        "Your kernel does not support memory limit capabilities or the cgroup is not mounted. "
        "Limitation discarded."
    )


def test_mount_options_of_a_volume() -> None:
    flags, propagation, data = driver.parse_mount_options("ro,addr=1.2.3.4,rw,bind,rslave")
    assert flags == MountFlag.BIND
    assert propagation == MountFlag.SLAVE | MountFlag.REC
    assert data == "addr=1.2.3.4"


def test_cgroup_parents_stay_below_the_engine() -> None:
    assert creation.cgroup_name(parse({"CgroupParent": "/a//b/"}), "web") == "a/b/web"
    assert creation.cgroup_name(parse(), "web") == "web"


def test_names_of_joined_containers_are_looked_up() -> None:
    def find(ref: str) -> Any:
        raise NotFound(f"No such container: {ref}")

    with pytest.raises(NotFound):
        joining.fix_names(parse({"IpcMode": "container:gone"}), find)
