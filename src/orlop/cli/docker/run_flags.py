"""The flags of `run` and `create`, and those of limits, which `update` takes too."""

from __future__ import annotations

from orlop.cli.docker.flags import (
    BOOL,
    BYTES,
    COUNT,
    DECIMAL,
    DURATION,
    INT,
    LIST,
    MAP,
    STRING,
    Flag,
)


def _check_attach(value: str) -> None:
    if value.lower() not in ("stdin", "stdout", "stderr"):
        raise ValueError("valid streams are STDIN, STDOUT and STDERR")


def check_env(value: str) -> None:
    """An environment variable; ValueError with docker's text if it is none."""
    if not value or value.startswith("="):
        raise ValueError(f"invalid environment variable: {value}")


def check_label(value: str) -> None:
    """A label; ValueError with docker's text if it is none."""
    if not value.partition("=")[0].strip():
        raise ValueError(f"invalid label '{value}': empty name" if value else "empty name")


def _check_ip(value: str) -> None:
    import _socket

    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, value.strip())
        except OSError:
            continue
        return
    raise ValueError(f"IP address is not correctly formatted: {value}")


def check_host(value: str) -> None:
    """A line of /etc/hosts; ValueError with docker's text if it is none."""
    name, colon, address = value.partition("=" if "=" in value.partition(":")[0] else ":")
    if not colon or not name:
        raise ValueError(f'bad format for add-host: "{value}"')
    if address == "host-gateway":
        return
    try:
        _check_ip(address.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(f'invalid IP address in add-host: "{address}"') from None


def _check_link(value: str) -> None:
    if not value or len(value.split(":")) > 2:
        raise ValueError(
            "empty string specified for links" if not value else f"bad format for links: {value}"
        )


def _check_device_rule(value: str) -> None:
    kind, _, rest = value.partition(" ")
    numbers, _, access = rest.partition(" ")
    parts = numbers.split(":")
    is_right = (
        kind in ("a", "c", "b")
        and len(parts) == 2
        and all(part == "*" or part.isdigit() for part in parts)
        and 1 <= len(access) <= 3
        and not access.strip("rwm")
    )
    if not is_right:
        raise ValueError(f"invalid device cgroup format '{value}'")


_SYSCTLS = frozenset(
    (
        *("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shmall"),
        *("kernel.shmmax", "kernel.shmmni", "kernel.shm_rmid_forced"),
    )
)
_SYSCTL_GROUPS = ("net.", "fs.mqueue.")


def _check_sysctl(value: str) -> None:
    name, equals, _ = value.partition("=")
    if not equals or not (name in _SYSCTLS or name.startswith(_SYSCTL_GROUPS)):
        raise ValueError(f"sysctl '{value}' is not allowed")


def check_ulimit(value: str) -> None:
    """A limit; ValueError with docker's text if it is none."""
    from orlop.cli.docker.run_values import ulimit

    ulimit(value)


def _check_network(value: str) -> None:
    from orlop.cli.docker.run_values import network_option

    network_option(value)


def _check_mount(value: str) -> None:
    from orlop.cli.docker.mounts import parse_mount

    parse_mount(value)


LIMITS = (
    Flag("blkio-weight", "", COUNT, "block I/O weight, 10 to 1000, 0 for none"),
    Flag("cpu-period", "", INT, "CFS period in microseconds"),
    Flag("cpu-quota", "", INT, "CFS quota in microseconds"),
    Flag("cpu-rt-period", "", INT, "real-time period in microseconds"),
    Flag("cpu-rt-runtime", "", INT, "real-time share in microseconds"),
    Flag("cpu-shares", "c", INT, "CPU weight relative to others"),
    Flag("cpus", "", DECIMAL, "number of CPUs, such as 1.5"),
    Flag("cpuset-cpus", "", STRING, "CPUs to use: 0-3, 0,1"),
    Flag("cpuset-mems", "", STRING, "memory nodes to use: 0-3, 0,1"),
    Flag("memory", "m", BYTES, "memory limit, such as 512m"),
    Flag("memory-reservation", "", BYTES, "memory to fall back to under pressure"),
    Flag("memory-swap", "", BYTES, "limit of memory and swap together, -1 for none"),
    Flag("kernel-memory", "", BYTES),
    Flag("pids-limit", "", INT, "limit of processes, -1 for none"),
)

CREATE = (
    Flag("add-host", "", LIST, "line of /etc/hosts: NAME:ADDRESS", check=check_host),
    Flag("annotation", "", MAP, "annotation for the OCI runtime"),
    Flag("attach", "a", LIST, "attach to STDIN, STDOUT or STDERR", check=_check_attach),
    Flag("blkio-weight-device", "", LIST, "block I/O weight of a device: PATH:WEIGHT"),
    Flag("cap-add", "", LIST, "give a capability"),
    Flag("cap-drop", "", LIST, "take a capability"),
    Flag("cgroup-parent", "", STRING, "cgroup to be below"),
    Flag("cgroupns", "", STRING, "cgroup namespace: host or private"),
    Flag("cidfile", "", STRING, "write the container's id to this file"),
    Flag("cpu-count", "", INT),
    Flag("cpu-percent", "", INT),
    Flag("device", "", LIST, "device of the host: PATH[:PATH[:rwm]]"),
    Flag("device-cgroup-rule", "", LIST, "rule for devices: c 1:3 r", check=_check_device_rule),
    Flag("device-read-bps", "", LIST, "bytes read per second: PATH:SIZE"),
    Flag("device-read-iops", "", LIST, "reads per second: PATH:NUMBER"),
    Flag("device-write-bps", "", LIST, "bytes written per second: PATH:SIZE"),
    Flag("device-write-iops", "", LIST, "writes per second: PATH:NUMBER"),
    Flag("disable-content-trust"),
    Flag("dns", "", LIST, "DNS server", check=_check_ip),
    Flag("dns-opt", "", LIST),
    Flag("dns-option", "", LIST, "option of resolv.conf"),
    Flag("dns-search", "", LIST, "domain to search for names"),
    Flag("domainname", "", STRING, "NIS domain name"),
    Flag("entrypoint", "", STRING, "instead of the image's entrypoint"),
    Flag("env", "e", LIST, "environment: NAME=VALUE, or NAME as it is here", check=check_env),
    Flag("env-file", "", LIST, "file with environment variables, a line each"),
    Flag("expose", "", LIST, "port or range that the container listens on"),
    Flag("gpus", "", STRING, "GPUs: all, a number, or device=ID"),
    Flag("group-add", "", LIST, "further group"),
    Flag("health-cmd", "", STRING, "command that checks health"),
    Flag("health-interval", "", DURATION, "time between checks"),
    Flag("health-retries", "", INT, "failures in a row that mean unhealthy"),
    Flag("health-start-interval", "", DURATION, "time between checks while it starts"),
    Flag("health-start-period", "", DURATION, "time it may take to start"),
    Flag("health-timeout", "", DURATION, "longest time for a check"),
    Flag("hostname", "h", STRING, "host name"),
    Flag("init", "", BOOL, "run an init that reaps processes"),
    Flag("interactive", "i", BOOL, "keep stdin open"),
    Flag("io-maxbandwidth", "", BYTES),
    Flag("io-maxiops", "", INT),
    Flag("ip", "", STRING, "IPv4 address"),
    Flag("ip6", "", STRING, "IPv6 address"),
    Flag("ipc", "", STRING, "IPC mode"),
    Flag("isolation", "", STRING),
    Flag("label", "l", LIST, "label: NAME=VALUE", check=check_label),
    Flag("label-file", "", LIST, "file with labels, a line each"),
    Flag("link", "", LIST, "link to another container: NAME[:ALIAS]", check=_check_link),
    Flag("link-local-ip", "", LIST, "link-local address"),
    Flag("log-driver", "", STRING, "log driver"),
    Flag("log-opt", "", LIST, "option of the log driver: NAME=VALUE"),
    Flag("mac-address", "", STRING, "MAC address"),
    Flag("memory-swappiness", "", INT, "how readily it is swapped: 0 to 100"),
    Flag("mount", "", LIST, "mount: type=bind,source=A,target=B,...", check=_check_mount),
    Flag("name", "", STRING, "name of the container"),
    Flag("net", "", LIST, "", check=_check_network),
    Flag("net-alias", "", LIST),
    Flag("network", "", LIST, "network to connect to", check=_check_network),
    Flag("network-alias", "", LIST, "further name on the network"),
    Flag("no-healthcheck", "", BOOL, "no health check, whatever the image says"),
    Flag("oom-kill-disable", "", BOOL, "do not kill it when memory is short"),
    Flag("oom-score-adj", "", INT, "who is killed first: -1000 to 1000"),
    Flag("pid", "", STRING, "PID namespace: host or container:NAME"),
    Flag("platform", "", STRING, "platform of the image: OS/ARCH"),
    Flag("privileged", "", BOOL, "all capabilities and devices"),
    Flag("publish", "p", LIST, "publish a port: [[ADDRESS:]PORT:]PORT[/udp]"),
    Flag("publish-all", "P", BOOL, "publish all exposed ports on free ones"),
    Flag("pull", "", STRING, "pull the image first: always, missing or never", "missing"),
    Flag("quiet", "q", BOOL, "say nothing about pulling"),
    Flag("read-only", "", BOOL, "root file system that cannot be written"),
    Flag("restart", "", STRING, "restart policy: no, always, on-failure[:N], unless-stopped", "no"),
    Flag("rm", "", BOOL, "remove it when it ends"),
    Flag("runtime", "", STRING, "OCI runtime"),
    Flag("security-opt", "", LIST, "seccomp, no-new-privileges, apparmor, ..."),
    Flag("shm-size", "", BYTES, "size of /dev/shm"),
    Flag("stop-signal", "", STRING, "signal that stops it"),
    Flag("stop-timeout", "", INT, "seconds before it is killed"),
    Flag("storage-opt", "", LIST, "option of the storage: NAME=VALUE"),
    Flag("sysctl", "", MAP, "kernel parameter: NAME=VALUE", check=_check_sysctl),
    Flag("tmpfs", "", LIST, "tmpfs: PATH[:OPTIONS]"),
    Flag("tty", "t", BOOL, "give it a terminal"),
    Flag("ulimit", "", LIST, "limit: NAME=SOFT[:HARD]", check=check_ulimit),
    Flag("user", "u", STRING, "user: NAME or ID[:GROUP]"),
    Flag("userns", "", STRING, "user namespace"),
    Flag("uts", "", STRING, "UTS namespace: host"),
    Flag("volume", "v", LIST, "volume or folder: [NAME or PATH:]PATH[:ro]"),
    Flag("volume-driver", "", STRING, "driver of volumes"),
    Flag("volumes-from", "", LIST, "volumes of another container"),
    Flag("workdir", "w", STRING, "folder to start in"),
    *LIMITS,
)

RUN = (
    Flag("detach", "d", BOOL, "do not wait; print the id"),
    Flag("detach-keys", "", STRING, "keys that detach from the terminal (ctrl-p,ctrl-q)"),
    Flag("sig-proxy", "", BOOL, "pass signals on to the process (true)", "true"),
)
