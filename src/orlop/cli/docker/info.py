"""`docker info`."""

from __future__ import annotations

import sys

from orlop.cli.docker import human
from orlop.cli.docker.command import Command
from orlop.cli.docker.flags import STRING, Flag
from orlop.cli.docker.session import as_object
from orlop.cli.docker.version import client
from orlop.lib.errors import OrlopError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from orlop.cli.docker.flags import Values
    from orlop.cli.docker.session import Object, Session

FLAGS = (Flag("format", "f", STRING, "json, or a Go template"),)
_COUNTS = (
    ("Containers", "Containers"),
    (" Running", "ContainersRunning"),
    (" Paused", "ContainersPaused"),
    (" Stopped", "ContainersStopped"),
    ("Images", "Images"),
)
_SYSTEM = (
    ("Kernel Version", "KernelVersion"),
    ("Operating System", "OperatingSystem"),
    ("OSType", "OSType"),
    ("Architecture", "Architecture"),
    ("CPUs", "NCPU"),
)


def run(session: Session, values: Values) -> int:
    form = values.text("format")
    ours = {**client(session), "Debug": False, "Plugins": []}
    failure = None
    server: Object = {}
    try:
        server = session.get_object("/info")
    except OrlopError as error:
        failure = error
    if form:
        from orlop.cli.docker.version import formatted

        print(formatted(form, {**server, "ClientInfo": ours}, "system.dockerInfo"))
    else:
        lines = ["Client:", f" Version:    {ours['Version']}", " Context:    default", ""]
        lines += (
            ["Server:", *(f" {line}" if line else "" for line in server_lines(server))]
            if server
            else []
        )
        print("\n".join(lines))
        warnings = server.get("Warnings")
        for warning in warnings if isinstance(warnings, list) else ():
            print(warning, file=sys.stderr)
    if failure is not None:
        raise failure
    return 0


def server_lines(server: Object) -> list[str]:
    """What is said about the engine, a line each."""
    lines = [f"{title}: {server.get(key, 0)}" for title, key in _COUNTS]
    lines += [f"Server Version: {server.get('ServerVersion', '')}"]
    lines += [f"Storage Driver: {server.get('Driver', '')}"]
    status = server.get("DriverStatus")
    lines += (
        [f" {pair[0]}: {pair[1]}" for pair in status if len(pair) > 1]
        if isinstance(status, list)
        else []
    )
    for title, key in (("Logging", "LoggingDriver"), ("Cgroup", "CgroupDriver")):
        lines.append(f"{title} Driver: {server.get(key, '')}")
    lines.append(f"Cgroup Version: {server.get('CgroupVersion', '')}")
    plugins = as_object(server.get("Plugins") or {})
    lines.append("Plugins:")
    for kind in ("Volume", "Network", "Authorization", "Log"):
        found = plugins.get(kind)
        if found and isinstance(found, list):
            lines.append(f" {kind}: {' '.join(map(str, found))}")
    swarm = as_object(server.get("Swarm") or {})
    lines.append(f"Swarm: {swarm.get('LocalNodeState') or 'inactive'}")
    runtimes = as_object(server.get("Runtimes") or {})
    lines.append(f"Runtimes: {' '.join(sorted(runtimes))}")
    lines.append(f"Default Runtime: {server.get('DefaultRuntime', '')}")
    lines.append(f"Init Binary: {server.get('InitBinary', '')}")
    for title, key in (("containerd", "Containerd"), ("runc", "Runc"), ("init", "Init")):
        commit = as_object(server.get(f"{key}Commit") or {})
        lines.append(f"{title} version: {commit.get('ID', '')}")
    lines += _security(server)
    lines += [f"{title}: {server.get(key, '')}" for title, key in _SYSTEM]
    memory = server.get("MemTotal") or 0
    lines.append(f"Total Memory: {human.binary_size(memory if isinstance(memory, int) else 0)}")
    return lines + _rest(server)


def _security(server: Object) -> list[str]:
    options = server.get("SecurityOptions")
    if not isinstance(options, list) or not options:
        return []
    lines = ["Security Options:"]
    for option in options:
        fields = dict(part.partition("=")[::2] for part in str(option).split(","))
        lines.append(f" {fields.pop('name', '')}")
        lines += [
            f"  {'Profile' if key == 'profile' else key}: {value}" for key, value in fields.items()
        ]
    return lines


def _rest(server: Object) -> list[str]:
    def flag(key: str) -> str:
        return "true" if server.get(key) else "false"

    lines = [f"{title}: {server.get(key, '')}" for title, key in (("Name", "Name"), ("ID", "ID"))]
    lines += [f"Docker Root Dir: {server.get('DockerRootDir', '')}"]
    lines += [f"Debug Mode: {flag('Debug')}"]
    if server.get("Debug"):
        for title, key in (
            ("File Descriptors", "NFd"),
            ("Goroutines", "NGoroutines"),
            ("System Time", "SystemTime"),
            ("EventsListeners", "NEventsListener"),
        ):
            lines.append(f" {title}: {server.get(key, '')}")
    for title, key in (
        ("HTTP Proxy", "HttpProxy"),
        ("HTTPS Proxy", "HttpsProxy"),
        ("No Proxy", "NoProxy"),
    ):
        lines += [f"{title}: {server[key]}"] if server.get(key) else []
    labels = server.get("Labels")
    lines += (
        ["Labels:", *(f" {label}" for label in labels)]
        if isinstance(labels, list) and labels
        else []
    )
    lines.append(f"Experimental: {flag('ExperimentalBuild')}")
    registries = as_object(server.get("RegistryConfig") or {})
    for title, key in (
        ("Insecure Registries", "InsecureRegistryCIDRs"),
        ("Registry Mirrors", "Mirrors"),
    ):
        found = registries.get(key)
        named = registries.get("IndexConfigs") if key.startswith("Insecure") else None
        insecure = [
            f" {name}"
            for name, each in (named if isinstance(named, dict) else {}).items()
            if not as_object(each).get("Secure")
        ]
        found = [f" {each}" for each in found] if isinstance(found, list) else []
        lines += [f"{title}:", *insecure, *found] if insecure or found else []
    lines.append(f"Live Restore Enabled: {flag('LiveRestoreEnabled')}")
    if server.get("ProductLicense"):
        lines.append(f"Product License: {server['ProductLicense']}")
    pools = server.get("DefaultAddressPools")
    if isinstance(pools, list) and pools:
        lines.append("Default Address Pools:")
        lines += [f"   Base: {each.get('Base')}, Size: {each.get('Size')}" for each in pools]
    return [*lines, ""]


COMMANDS = {"info": Command(run, "[OPTIONS]", FLAGS)}
