"""An engine with crash points, as the test sees it, and all that it leaves anywhere."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orlop.engine.check import CHECKS
from orlop.lib import mount
from tests.engine.crash.points import FIRED, GENERATION, PLAN, PLAN_BYTES
from tests.engine.store.conftest import StoreEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).with_name("engine_program.py")
GENERATIONS = 255
WITNESS = "witness"
COUNT = "trap 'exit 7' TERM; i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done"

LEFT_FOR_THE_START = re.compile(
    r"/.*/trash/.* is half removed"
    r"|/.*/\.orlop-\w+ is half written"
    r"|/.*/containers/\w+ is half made"
    r"|.* bytes after the last whole block"
    # After a power cut only, see `engine.container.records`: then an older one counts.
    r"|state of container \w+: .*/state.json is not JSON: .*"
)
"""What a crash may leave for `orlop engine check` to find: the next start removes it, unasked."""


@dataclass(frozen=True, slots=True)
class Point:
    """A crash point: see `points`."""

    name: str
    number: int

    @property
    def process(self) -> str:
        """`engine`, or the worker's name with its number."""
        match = re.match(r"engine|[\w ]+/\d+", self.name)
        assert match is not None, self.name
        return match[0]

    @property
    def call(self) -> str:
        return self.name.removeprefix(self.process).split()[0]

    def __str__(self) -> str:
        return f"{self.name} ({self.number})"


class Control:
    """The directory that the test shares with the engine and its workers."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        (directory / "plan").write_bytes(bytes(PLAN_BYTES))
        os.mkfifo(directory / "doom")
        with open(directory / "plan", "r+b") as stream:
            self._shared = mmap.mmap(stream.fileno(), PLAN_BYTES)
        self._generation = 0

    def arm(self, ignore: list[str], do: str, point: Point | None = None, **more: Any) -> None:
        """From now on points count. *do*: `record`, or kill the `engine`, or the `process`."""
        for path in self.directory.glob("content-*"):
            path.unlink()
        (self.directory / "points").write_bytes(b"")
        plan = {"do": do, "ignore": ignore, **more}
        if point is not None:
            plan |= {"point": point.name, "number": point.number}
        text = json.dumps(plan).encode()
        self._shared[PLAN:] = text.ljust(PLAN_BYTES - PLAN, b"\0")
        self._shared[FIRED] = 0
        self._generation = self._generation % GENERATIONS + 1
        self._shared[GENERATION] = self._generation

    def disarm(self) -> bool:
        """Points do not count any more. Whether it has happened."""
        self._shared[GENERATION] = 0
        return self.fired

    @property
    def fired(self) -> bool:
        return bool(self._shared[FIRED])

    def lines(self) -> list[dict[str, Any]]:
        """What the processes noted since `arm`."""
        text = (self.directory / "points").read_bytes()
        return [json.loads(line) for line in text.splitlines()]

    def points(self) -> list[Point]:
        return [Point(line["point"], line["number"]) for line in self.lines() if "point" in line]


def forget_networks() -> None:
    """Make this network namespace as it is after a boot."""
    subprocess.run(["nft", "flush", "ruleset"], check=True)
    for _, name in socket.if_nameindex():
        if name != "lo":
            # One of a pair goes with the other.
            subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)
    for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
        Path(f"/proc/sys/net/{switch}").write_text("0")


class CrashEngine(StoreEngine):
    """An engine as its user starts it, with points in it."""

    def __init__(self, directory: Path, images: Path, registry: str) -> None:
        """*registry* is where the image `made:1` can be pulled."""
        super().__init__(directory, images, ("--log-level=warning",))
        self.control = Control(directory / "control")
        self.registry = registry
        self.witness_id = ""
        self._witness_pid = 0

    def command_line(self) -> list[str | Path]:
        words = super().command_line()
        roots = (self.directory / "data", self.directory / "run", self.cgroup_root, "/proc/sys")
        arguments = words[words.index("orlop") + 1 :]
        joined = ":".join(map(str, roots))
        return [sys.executable, PROGRAM, self.control.directory, joined, *arguments]

    def is_running(self) -> bool:
        assert self._process is not None
        return self._process.poll() is None

    def cut_power(self) -> None:
        """And the kernel that comes then has no networks either."""
        super().cut_power()
        forget_networks()

    # The container that runs before, and goes on.

    def start_witness(self) -> None:
        """A container that counts; what it says must be whole."""
        if self.request("GET", f"/containers/{WITNESS}/json")[0] == 404:
            host = {"NetworkMode": "none", "LogConfig": {"Config": {"max-size": "10m"}}}
            self.create(WITNESS, ["sh", "-c", COUNT], HostConfig=host)
        self.request("POST", f"/containers/{WITNESS}/start")
        shown = self.inspect(WITNESS)
        self.witness_id, self._witness_pid = shown["Id"], shown["State"]["Pid"]
        self.wait_until(lambda: self.logs(WITNESS))

    def check_witness(self) -> None:
        state = self.inspect(WITNESS)["State"]
        assert (state["Status"], state["Pid"]) == ("running", self._witness_pid)
        before = self.witness_lines()
        self.wait_until(lambda: len(self.witness_lines()) > len(before))

    def witness_lines(self) -> list[int]:
        """What it has counted since its last start, without a gap."""
        lines = [int(line) for line in self.logs(WITNESS).splitlines()]
        begin = len(lines) - 1 - lines[::-1].index(1)
        assert lines[begin:] == list(range(1, len(lines) - begin + 1)), lines[-100:]
        return lines[begin:]

    # What is there.

    def problems(self) -> list[str]:
        """What `orlop engine check` would find that no start removes by itself."""
        found = self.findings()
        return [text for text in found if not LEFT_FOR_THE_START.fullmatch(text)]

    def findings(self, *, repair: bool = False) -> list[str]:
        data = self.directory / "data"
        found = [finding for check in CHECKS for finding in check(data, repair)]
        return [finding.problem for finding in found if not (repair and finding.mended)]

    def check_lists(self, *, failed: bool) -> None:
        """Whatever is listed can be looked at; *failed*: a removal may have ended half way."""
        for path, key in (
            ("/containers/json?all=1", "Id"),
            ("/images/json?all=1", "Id"),
            ("/networks", "Id"),
            ("/volumes", "Name"),
        ):
            status, listed = self.request("GET", path)
            assert status == 200, listed
            items = listed["Volumes"] or [] if path == "/volumes" else listed
            kind = path.split("/")[1].partition("?")[0]
            for item in items:
                show = f"/{kind}/{item[key]}{'' if kind in ('networks', 'volumes') else '/json'}"
                status, shown = self.request("GET", show)
                if status == 404 and kind == "containers" and not self._is_listed(item["Id"]):
                    continue  # one of a build, which the engine has just cleaned away
                assert status == 200, (show, shown)
                if kind == "containers" and not failed:
                    assert shown["State"]["Status"] not in ("dead", "removing"), shown["State"]

    def _is_listed(self, container_id: str) -> bool:
        _, listed = self.request("GET", "/containers/json?all=1")
        return any(item["Id"] == container_id for item in listed)

    def leftovers(self) -> set[str]:
        """Everything that this engine has made in files, kernel and processes, as words."""
        found = {word for word in self._files() if not self._is_idle(word)}
        found |= {
            f"mount {entry.target} {entry.fstype}"
            for entry in mount.read_mounts()
            if entry.target.is_relative_to(self.directory)
            and not self._is_idle(f"mount {entry.target}")
        }
        found |= {f"cgroup {path}" for path in self.cgroup_root.rglob("*") if path.is_dir()}
        found |= {f"link {name}" for _, name in socket.if_nameindex()}
        for path in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):
                backing = path.read_text().strip()
                if backing.startswith(f"{self.directory}/"):
                    found.add(f"loop {backing}")
        rules = subprocess.run(
            ["nft", "list", "ruleset"], capture_output=True, text=True, check=True
        )
        found |= {f"nft {line.strip()}" for line in rules.stdout.splitlines()}
        found |= set(self._workers())
        return found

    def _is_idle(self, word: str) -> bool:
        """Whether it is the mount of a layer that is there: kept for the next container."""
        match = re.search(r"run/layers/(\w+)$", word)
        return match is not None and bool(list((self.store / "layers").glob(f"{match[1]}*")))

    def _files(self) -> Iterator[str]:
        mounted = {os.fspath(entry.target) for entry in mount.read_mounts()}
        for top in (self.directory / "data", self.directory / "run"):
            for path, directories, names in os.walk(top):
                if path in mounted or path.endswith("/logs"):
                    directories.clear()
                    continue
                for name in (*directories, *names):
                    yield f"file {os.path.relpath(os.path.join(path, name), self.directory)}"

    def _workers(self) -> Iterator[str]:
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                words = path.read_bytes().split(b"\0")
                text = b" ".join(words)
                if b"worker" in words and os.fsencode(self.control.directory) in text:
                    yield f"worker {words[-4:]!r}"
