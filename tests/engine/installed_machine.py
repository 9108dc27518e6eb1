"""A native machine that is installed: its state and its EFI system partition are directories.

They are on *disk*, where the next machine finds them: to leave the `with` block is a power cut. All
else is as it is: PID 1, its workers, its containers. `release` publishes what the machine can take.
"""

from __future__ import annotations

import hashlib
import json
from http.client import HTTPResponse
from typing import TYPE_CHECKING, Any

from orlop.lib import boot_record
from orlop.lib.boot_record import BootRecord
from orlop.wire.release import Service
from tests.engine.native_machine import NativeMachine, _UnixConnection
from tests.unit.system.updates.release_lab import ReleaseLab

if TYPE_CHECKING:
    from pathlib import Path

BUILD = "ab" * 8
IMAGE = b"the image that is installed" * 999

_STATE = """

async def mount_state(choice, children, parameters):
    mount("/disk/var", TARGET, "", MountFlag.BIND)
    _make_directories()
    return State("disk", TARGET, "/dev/disk", "ext4")


async def present(directory):
    return State("disk", TARGET, "/dev/disk", "ext4")
"""

_ESP = """

def find(*arguments, **named):
    return "/disk/esp"


def find_all(*arguments, **named):
    return ["/disk/esp"], 1


def _mount(device, target, *, write):
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    mount.detach(target)
    mount.mount(device, target, "", MountFlag.BIND)
"""


class InstalledMachine(NativeMachine):
    """*config* is the machine's configuration when its disk is new."""

    def __init__(self, services: dict[str, dict[str, Any]], disk: Path, config: str = "") -> None:
        super().__init__(services, disk=disk)
        self._config = config

    def do(self, verb: str, body: dict[str, Any] | bytes | None = None) -> dict[str, Any]:
        """Have `orlop os` do *verb* with *body*, a file or what is sent as JSON; the last line of
        the answer."""
        connection = _UnixConnection(str(self.path("/run/orlop/system.sock")))
        connection.timeout = 120
        try:
            data = body if isinstance(body, bytes) else json.dumps(body or {}).encode()
            connection.request(
                "POST", f"/orlop/os/{verb}", data, {"Content-Type": "application/json"}
            )
            response: HTTPResponse = connection.getresponse()
            lines = response.read().splitlines()
        finally:
            connection.close()
        found: dict[str, Any] = json.loads(lines[-1])
        return found

    def ask(self, what: str) -> Any:
        """What `orlop os` shows."""
        code, answer = self.request("GET", f"/orlop/os/{what}")
        assert code == 200, answer
        return answer

    def stage(self, lab: ReleaseLab) -> dict[str, Any]:
        """Take what *lab* has."""
        self.do("trust", {"root": lab.root.decode()})
        return self.do("stage", {"source": "/disk/lab/repo"})

    def _lay_out(self) -> None:
        super()._lay_out()
        usr = self._image / "usr/lib/orlop"
        (usr / "release.json").write_text(json.dumps({"version": "1.0", "build": BUILD}))
        for name, text in (("storage/state", _STATE), ("updates/esp", _ESP)):
            path = usr / f"python/orlop/system/{name}.py"
            whole = path.read_text() + text
            path.unlink()  # a link, which others have as well
            path.write_text(whole)
        if not (self._disk / "var").exists():
            self._install()

    def _install(self) -> None:
        identity = hashlib.sha256(IMAGE).hexdigest()[:16]
        images = self._disk / "esp/orlop/images"
        images.mkdir(parents=True)
        (images / f"{identity}.efi").write_bytes(IMAGE)
        block = boot_record.format_block(BootRecord(1, identity, "", "", identity))
        for name, data in (("boot-0", block), ("boot-1", b""), ("tried", b"")):
            (self._disk / f"esp/orlop/{name}.env").write_bytes(data.ljust(1024, b"#"))
        conf = self._disk / "var/lib/orlop/conf.d"
        conf.mkdir(parents=True)
        (conf / "10.yml").write_text(self._config)


class ServiceLab(ReleaseLab):
    """Releases with the image that is installed, and services."""

    def services(
        self, sequence: int, health: dict[str, Any] | None = None, **services: Service
    ) -> None:
        """Publish a release that has *services* beside the installed image."""
        self.image.write_bytes(IMAGE)
        self.release(f"{sequence}.0", sequence, build=BUILD, services=services, health=health)

    def service(self, archive: bytes, digest: str, definition: str = "", **more: Any) -> Service:
        """One whose image is in *archive*."""
        return Service(digest, self.blob(archive), definition, **more)
