"""Documents as RancherOS's users had them, for each of its keys, and what each does on a machine.

Written for this table, with the keys and forms of RancherOS 1.5.8's own documents. Two suites boot
them: `tests/engine/test_rancheros_native.py` each by itself in namespaces, where services are asked
what they were told; `tests/vm/test_rancheros.py` in QEMU, where the effect is looked at from a
console.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.native_machine import NativeMachine

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFTZCyVCCR0jqL4i5GU6JrCjXcFLvDPn6Vw5n4H1KpYB mate"
HASH = "$5$saltsalt$vGaa5Fcw6wqKCrBdcUIUz51yCcBM1vGmhFXFbKFQXR8"


@dataclass(frozen=True, slots=True)
class Seen:
    """A native machine that has booted with a document."""

    machine: NativeMachine
    status: dict[str, Any]

    def told(self, service: str, *path: str) -> Any:
        """What *service* was told: a value of its part of the configuration."""
        value = json.loads(self.machine.path(f"/run/orlop/config/{service}.json").read_text())
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def service(self, name: str) -> dict[str, Any]:
        """The row of a service, empty if there is none."""
        rows: list[dict[str, Any]] = self.machine.request("GET", "/orlop/status")[1]["services"]
        return next((row for row in rows if row["name"] == name), {})

    def inside(self, service: str, path: str) -> Path:
        """*path* as *service* sees it."""
        return self.machine.path(f"/proc/{self.service(service)['pid']}/root{path}")

    def warned(self, *words: str) -> bool:
        """Whether one sentence of the machine has all *words*."""
        sentences = self.machine.request("GET", "/orlop/status")[1]["warnings"]
        return any(all(word in text for word in words) for text in sentences)

    def said(self, service: str) -> str:
        """What a service has written."""
        _, log = self.machine.request("GET", f"/containers/{service}/logs?stdout=1&stderr=1")
        return bytes(log).decode(errors="replace")

    def setting(self, name: str) -> str:
        """A setting of the kernel, in the machine's network namespace."""
        command = ["nsenter", f"--net=/proc/{self.machine.pid}/ns/net", "cat", f"/proc/sys/{name}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def in_force(self, path: str) -> Any:
        """A value of the configuration that is in force, whoever heeds it."""
        code, answer = self.machine.request("GET", "/orlop/config?secrets=show")
        assert code == 200, answer
        value = answer["config"]
        for name in path.split("/"):
            value = value.get(name, {})
        return value


HOST_KEYS = ("ed25519", "ecdsa", "rsa")
CERTIFICATES = {
    "ca_cert": "ca",
    "ca_key": "ca-key",
    "server_cert": "server",
    "server_key": "server-key",
}


@dataclass(frozen=True, slots=True)
class Document:
    """*keys* of RancherOS that *text* has; *native* and *vm* are true when it has done its work.

    *vm* is a command of a console; empty where a machine of QEMU shows no more than a native one.
    *together*: it can be one of several files of a machine's configuration.
    """

    keys: tuple[str, ...]
    text: str
    native: Callable[[Seen], object]
    vm: str = ""
    together: bool = False


def told(service: str, path: str, value: object) -> Callable[[Seen], object]:
    """Whether *service* was told *value* at *path*, with slashes."""
    return lambda seen: seen.told(service, *path.split("/")) == value


def in_force(path: str, value: object) -> Callable[[Seen], object]:
    """Whether *value* is in force at *path*, with slashes: what a native machine cannot show."""
    return lambda seen: seen.in_force(path) == value


def has_text(service: str, path: str, text: str) -> str:
    """A command for a machine that succeeds when *service*, which need not have a shell, has *text*
    in its file *path*."""
    program = f"import sys; sys.exit({text!r} not in open({path!r}).read())"
    return f"orlop exec {service} /usr/bin/python3.13 -I -S -c {shlex.quote(program)}"
