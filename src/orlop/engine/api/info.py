"""`GET /version` and `GET /info`: what this engine is and what its host can do.

Every field that dockerd writes is here, also those that are always empty: typed clients read them.
Source: moby v28 api/types/system/info.go, api/server/router/system.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

from orlop.engine.api.server import API_VERSION, MIN_API_VERSION
from orlop.engine.api.times import to_text
from orlop.engine.container.state import State
from orlop.wire.registry.proxies import without_password

if TYPE_CHECKING:
    from orlop.engine.engine import Engine
    from orlop.engine.registry.settings import Registries

type Version = tuple[int, int]

INDEX_SERVER = "https://index.docker.io/v1/"
"""What `docker login` without a name logs into."""

LOG_DRIVERS = ("json-file", "local", "none", "syslog")
NETWORK_DRIVERS = ("host", "null")
USER_NETWORK_DRIVERS = ("bridge", "host", "ipvlan", "macvlan", "null")
VOLUME_DRIVERS = ("local",)

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_NO_COMMIT = {"ID": "N/A", "Expected": "N/A"}


def render_version(engine: Engine) -> dict[str, Any]:
    """`GET /version`."""
    name = os.uname()
    version = engine.settings.version
    architecture = _ARCHITECTURES.get(name.machine, name.machine)
    details = {
        "ApiVersion": API_VERSION,
        "Arch": architecture,
        "BuildTime": "",
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": "",
        "KernelVersion": name.release,
        "MinAPIVersion": MIN_API_VERSION,
        "Os": "linux",
    }
    return {
        "Platform": {"Name": f"{engine.settings.operating_system} Engine"},
        "Components": [{"Name": "Engine", "Version": version, "Details": details}],
        "Version": version,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": "",
        "Os": "linux",
        "Arch": architecture,
        "KernelVersion": name.release,
    }


def render_info(engine: Engine, api_version: Version) -> dict[str, Any]:
    """`GET /info`, as a client of *api_version* expects it."""
    name, settings = os.uname(), engine.settings
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "ID": settings.name or name.nodename,
        **_counts(engine),
        "Images": len(engine.images.all()),
        "Driver": "overlay2",
        "DriverStatus": [["Backing", str(settings.data_dir)]],
        "Plugins": {
            "Volume": list(VOLUME_DRIVERS),
            "Network": list(USER_NETWORK_DRIVERS if engine.host.networks else NETWORK_DRIVERS),
            "Authorization": None,
            "Log": list(LOG_DRIVERS),
        },
        **_abilities(engine),
        "Debug": settings.debug,
        "NFd": len(os.listdir("/proc/self/fd")),
        "NGoroutines": len(engine.tasks),
        "SystemTime": to_text(time.time_ns()),
        "LoggingDriver": settings.defaults.log_driver or LOG_DRIVERS[0],
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2",
        "NEventsListener": len(engine.events.subscriptions),
        "KernelVersion": name.release,
        "OperatingSystem": settings.operating_system,
        "OSVersion": settings.version,
        "OSType": "linux",
        "Architecture": name.machine,
        "IndexServerAddress": INDEX_SERVER,
        "RegistryConfig": _registries(settings.registries, api_version),
        "NCPU": os.cpu_count() or 1,
        "MemTotal": memory_bytes,
        "GenericResources": None,
        "DockerRootDir": str(settings.data_dir),
        "HttpProxy": without_password(settings.registries.proxies.http),
        "HttpsProxy": without_password(settings.registries.proxies.https),
        "NoProxy": ",".join(settings.registries.proxies.none),
        "Name": settings.name or name.nodename,
        "Labels": list(settings.labels),
        "ExperimentalBuild": False,
        "ServerVersion": settings.version,
        "Runtimes": {name: {"path": str(settings.runtime)} for name in ("crun", "runc")},
        "DefaultRuntime": "crun",
        "Swarm": _no_swarm(),
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": "",
        "ContainerdCommit": _NO_COMMIT,
        "RuncCommit": _NO_COMMIT,
        "InitCommit": _NO_COMMIT,
        "SecurityOptions": _security(engine, api_version),
        "CDISpecDirs": [],
        "Warnings": [*engine.host.warnings] or None,
    }


def _counts(engine: Engine) -> dict[str, int]:
    states = [container.record.state for container in engine.all()]
    running = sum(state in (State.RUNNING, State.RESTARTING) for state in states)
    paused = states.count(State.PAUSED)
    return {
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - running - paused,
    }


def _abilities(engine: Engine) -> dict[str, bool]:
    have = engine.host.controllers
    return {
        "MemoryLimit": "memory" in have,
        "SwapLimit": "memory" in have,
        "CpuCfsPeriod": "cpu" in have,
        "CpuCfsQuota": "cpu" in have,
        "CPUShares": "cpu" in have,
        "CPUSet": "cpuset" in have,
        "PidsLimit": "pids" in have,
        "IPv4Forwarding": _forwards(),
        "OomKillDisable": False,
        "BridgeNfIptables": False,
        "BridgeNfIp6tables": False,
    }


def _forwards() -> bool:
    try:
        with open("/proc/sys/net/ipv4/ip_forward", "rb") as stream:
            return stream.read(1) == b"1"
    except OSError:
        return False


def _registries(registries: Registries, api_version: Version) -> dict[str, Any]:
    mirrors = [f"{url.rstrip('/')}/" for url in registries.mirrors]
    hosts = {
        "docker.io": {"Mirrors": mirrors, "Name": "docker.io", "Official": True, "Secure": True}
    }
    networks = [item for item in registries.insecure if "/" in item]
    for host in registries.insecure:
        if host not in networks:
            hosts[host] = {"Mirrors": [], "Name": host, "Official": False, "Secure": False}
    config: dict[str, Any] = {
        "IndexConfigs": hosts,
        "InsecureRegistryCIDRs": [*networks, "::1/128", "127.0.0.0/8"],
        "Mirrors": mirrors or None,
    }
    if api_version < (1, 47):
        config["AllowNondistributableArtifactsCIDRs"] = None
        config["AllowNondistributableArtifactsHostnames"] = None
    return config


def _no_swarm() -> dict[str, Any]:
    return {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    }


def _security(engine: Engine, api_version: Version) -> list[str]:
    names = ["cgroupns", *(["userns"] if engine.settings.userns_remap else [])]
    if api_version < (1, 25):
        return ["seccomp", *names]
    return ["name=seccomp,profile=builtin", *(f"name={name}" for name in names)]
