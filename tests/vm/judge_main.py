"""PID 1 of a machine that judges disks: it does with one what boots of the product would.

Put into the product's own image in place of its main program, so that the kernel, its file systems,
e2fsck and the code of updates are those that would meet the disk. For each line from the host it
takes the disk `judged` as it is: e2fsck, the mounts, what an interrupted update needs, a reboot,
until nothing is under way. Then one more update, so that what is damaged is met.
"""

import fcntl
import json
import os
import time
import traceback
from hashlib import sha256
from pathlib import Path
from typing import Any

from orlop.lib import boot_record, fat_orphans, mount
from orlop.system import filesystems
from orlop.system.config.store import ConfigStore
from orlop.system.storage import state
from orlop.system.updates import decide, esp, interrupted, panics, staging, trials
from orlop.system.updates.generations import Image, Release
from orlop.system.updates.interrupted import Boot
from orlop.system.updates.ledger import Ledger, adopt
from orlop.system.updates.stage import Candidate, stage

PORT, SERIAL = "org.orlop.agent.0", "judged"
BLKFLSBUF = 0x1261
ROUNDS = 12
VAR = Path("/var")


def main() -> None:
    filesystems.mount_file_systems()
    with open(f"/dev/{_port()}", "r+b", buffering=0) as port:
        port.write(b'{"ready": true}\n')
        while line := _line(port):
            port.write(json.dumps(_judged(json.loads(line))).encode() + b"\n")


def _judged(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return Judge(request).judge()
    except Exception as error:  # noqa: BLE001 - the next disk is looked at as well
        return {"failure": f"{error!r}\n{traceback.format_exc()}"}
    finally:
        for place in (esp.TARGET, VAR):
            try:
                mount.unmount(place)
            except OSError:
                pass
        os.sync()


class Judge:
    """*request*: `builds` has builds of images by their IDs, `another` names one more update."""

    def __init__(self, request: dict[str, Any]) -> None:
        self._builds, self._another = request["builds"], request.get("another", "")
        self._disk = _disk()
        self.boots = 0
        self.said: list[str] = []

    def judge(self) -> dict[str, Any]:
        kernel = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
        os.lseek(kernel, 0, os.SEEK_END)
        for part in ("", "1", "2", "3"):
            with open(f"/dev/{self._disk}{part}", "rb") as device:
                fcntl.ioctl(device, BLKFLSBUF)
        checker = _run(state.CHECKER, "-p", f"/dev/{self._disk}3")
        if checker == state.CANNOT_OPEN:
            checker = _run(state.CHECKER, "-y", f"/dev/{self._disk}3")
        ledger = self._until_quiet()
        boots = self.boots
        adopt(ledger, esp.TARGET, self.running)
        if self._another:
            ledger = self._update_again(ledger)
        statuses = {change.status.value for change in ledger.journal.changes.values()}
        standing = ledger.generations.standing()
        good = ledger.generations.read(standing.good)
        record, _ = boot_record.read(esp.TARGET / "orlop")
        verdict = {
            "checker": checker,
            "boots": boots,
            "said": self.said,
            "unfinished": ledger.journal.unfinished() is not None,
            "statuses": sorted(statuses),
            "staged": self._staged(ledger),
            "agree": record.default == good.image.id and good.image.build == self.running,
            "running": self.running,
            "kernel": _messages(kernel),
        }
        self._unmount()
        os.close(kernel)
        return verdict

    def _staged(self, ledger: Ledger) -> str:
        """What is wrong with what is staged; nothing if nothing is."""
        number = ledger.generations.standing().staged
        if not number:
            return ""
        return staging.problem_of(esp.TARGET, ledger.generations.read(number).image)

    def _mounted(self) -> Ledger:
        mount.mount(f"/dev/{self._disk}3", VAR, "ext4", state._FLAGS, state._OPTIONS["ext4"])
        esp._mount(f"/dev/{self._disk}2", esp.TARGET, write=True)
        return Ledger(VAR / "lib/orlop/os", ConfigStore(str(VAR / "lib/orlop")))

    def _unmount(self) -> None:
        mount.detach(esp.TARGET)
        mount.unmount(VAR)

    def _until_quiet(self) -> Ledger:
        """Boot until nothing is under way any more; that boot goes on."""
        until = self.boots + ROUNDS
        while self.boots < until:
            self.boots += 1
            ledger, is_ended = self._mounted(), False
            try:
                self.running = self._boot_loader()
                if not (ledger.directory / "pending").exists():
                    return ledger
                is_ended = self._come_up(ledger)
            except Exception as error:  # noqa: BLE001
                # The product says so, and tries again: at once, and with the next boot.
                self.said.append(repr(error))
            self._unmount()
            if is_ended:
                fat_orphans.give_back(f"/dev/{self._disk}2")
        raise RuntimeError(f"no end: {self.said}")

    def _come_up(self, ledger: Ledger) -> bool:
        """What PID 1 does in a boot; whether it ended what was no trial. Every trial is good."""
        boot = Boot(self.running, f"boot-{self.boots}", panics.take(ledger.directory))
        found = interrupted.look(ledger, esp.TARGET, boot)
        if found is None:
            return True
        armed, action = found
        self.said.append(repr(action))
        match action:
            case decide.BeginTrial():
                trials.promote(ledger, esp.TARGET, armed)
            case decide.Rearm():
                trials.rearm(ledger, esp.TARGET, armed, boot.boot_id)
            case _:
                pass
        return False

    def _boot_loader(self) -> str:
        """The build that GRUB would start; the host has looked at the images themselves."""
        record, tried = boot_record.read(esp.TARGET / "orlop")
        chosen = record.default
        if record.trial and record.sequence != tried:
            text = f"# GRUB Environment Block\ntried={record.sequence}\n"
            descriptor = os.open(esp.TARGET / "orlop/tried.env", os.O_WRONLY | os.O_DSYNC)
            os.write(descriptor, text.encode().ljust(1024, b"#"))
            os.close(descriptor)
            chosen = record.trial
        if not (esp.TARGET / f"orlop/images/{chosen}.efi").exists():
            raise RuntimeError(f"{chosen} is not there")
        return str(self._builds[chosen])

    def _update_again(self, ledger: Ledger) -> Ledger:
        """Stage and try a small image: new clusters, and the removal of what is not needed."""
        data = self._another.encode() * 40_000
        image = Image(sha256(data).hexdigest(), len(data), "build-another")
        self._builds[image.id] = image.build
        source = Path("/tmp/another")
        source.write_bytes(data)
        beside = {f"{image.id}.sum": b"sum", f"{image.id}.env": b"env"}
        candidate = Candidate(Release("99.0", 99, "another"), image, beside, {})
        generation = stage(ledger, esp.TARGET, candidate, source, lambda _: None)
        trials.arm(ledger, esp.TARGET, generation.number, "armed", {})
        self._unmount()
        ledger = self._until_quiet()
        if self.running != "build-another":
            raise RuntimeError(f"no update after that: {self.said}")
        staging.verify(staging.path_of(esp.TARGET, image.id), image)
        return ledger


def _port() -> str:
    for name in os.listdir("/sys/class/virtio-ports"):
        path = f"/sys/class/virtio-ports/{name}/name"
        if os.path.exists(path) and Path(path).read_text().strip() == PORT:
            return name
    raise RuntimeError("there is no port")


def _disk() -> str:
    for name in os.listdir("/sys/block"):
        path = Path(f"/sys/block/{name}/serial")
        if path.exists() and path.read_text().strip() == SERIAL:
            return name
    raise RuntimeError("there is no disk")


def _line(port: Any) -> bytes:
    """Nothing if the host is gone."""
    found = b""
    while not found.endswith(b"\n"):
        part = port.read(4096)
        if not part:
            return b""
        found += part
    return found


def _run(*words: str) -> int:
    actions = [(os.POSIX_SPAWN_OPEN, 1, "/dev/null", os.O_WRONLY, 0)]
    pid = os.posix_spawn(words[0], words, {}, file_actions=actions)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _messages(descriptor: int) -> list[str]:
    """What the kernel has said of file systems' errors since it was opened."""
    found: list[str] = []
    while True:
        try:
            line = os.read(descriptor, 8192).decode(errors="replace")
        except BlockingIOError:
            return found
        if "FAT-fs" in line or "EXT4-fs" in line:
            found.append(line.partition(";")[2].splitlines()[0])


if __name__ == "__main__":
    try:
        main()
    except BaseException as error:  # noqa: BLE001 - the end of PID 1 is a panic without a word
        Path("/dev/kmsg").write_text(f"judge: {error!r}\n")
    os.sync()
    while True:
        time.sleep(3600)
