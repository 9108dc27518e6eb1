"""Many clients who do anything to a few containers at once: nothing breaks and nothing is left."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import re
import subprocess
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from orlop.lib import mount
from tests.engine.containers.engine_host import UnixConnection
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.engine.store.conftest import StoreEngine, bare

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["bare"]

pytestmark = [pytest.mark.root, pytest.mark.engine]

CLIENTS = 50
DURATION_S = float(os.environ.get("ORLOP_TEST_STORM_S", "15"))
SEED = int(os.environ.get("ORLOP_TEST_STORM_SEED", "0"))
NAMES = [f"c{number}" for number in range(6)]
NETWORKS, VOLUMES, IMAGES = ["net0", "net1"], ["vol0", "vol1"], ["busybox", "copy:1", "made:1"]
PROTOCOLS = ["tcp", "udp"]
RESTARTS = ["no", "no", "always", "on-failure", "unless-stopped"]
COMMANDS = [
    ["sleep", "1000"],
    ["true"],
    ["false"],
    ["sh", "-c", "seq 1000; exec sleep 1000"],
    ["nosuch"],
]


EXPECTED = ("is not connected to network", "port is already allocated")
"""Errors for which dockerd, too, answers 500."""


class Storm:
    """What the clients do, and what they were answered."""

    def __init__(self, engine: StoreEngine) -> None:
        self.engine = engine
        self.answers: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []
        self.engine_dies = False
        """Whether no answer is an answer."""
        self._until_s = time.monotonic() + DURATION_S

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._until_s

    def client(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self.is_over:
            method, target, body = self.request(chance)
            try:
                if target.endswith("/attach?stream=1&stdout=1"):
                    self.attach(target)
                    continue
                status, answer = self.engine.request(method, target, body)
                if target.endswith("/exec") and status == 201:
                    method, target = "POST", f"/exec/{answer['Id']}/start"
                    status, answer = self.engine.request(method, target, {"Detach": False})
            except (OSError, http.client.HTTPException, ValueError) as error:
                # An answer that began may be cut off; no answer at all may not be.
                if not (self.engine_dies or isinstance(error, http.client.IncompleteRead)):
                    self.wrong.append(f"{method} {target}: {error!r}")
                continue
            what = target.partition("?")[0].rpartition("/")[2] if method == "POST" else method
            self.answers[what, status] += 1
            if status == 500 and not any(text in answer["message"] for text in EXPECTED):
                self.wrong.append(f"{method} {target}: {answer}")

    def attach(self, target: str) -> None:
        """Look for a moment, and leave."""
        connection = UnixConnection(self.engine.socket_path)
        with contextlib.closing(connection), contextlib.suppress(TimeoutError):
            connection.request("POST", target)
            connection.sock.settimeout(0.05)
            connection.sock.recv(1000)

    def request(self, chance: random.Random) -> tuple[str, str, Any]:
        name = chance.choice(NAMES)
        network, volume = chance.choice(NETWORKS), chance.choice(VOLUMES)
        image = chance.choice(IMAGES)
        one = f"/containers/{name}"
        return chance.choice(
            [
                ("POST", f"/containers/create?name={name}", self.config(chance)),
                ("POST", f"/containers/create?name={name}", self.config(chance)),
                ("POST", f"{one}/start", None),
                ("POST", f"{one}/start", None),
                ("POST", f"{one}/start", None),
                ("POST", f"{one}/stop?t=0", None),
                ("POST", f"{one}/kill", None),
                ("POST", f"{one}/restart?t=0", None),
                ("POST", f"{one}/pause", None),
                ("POST", f"{one}/unpause", None),
                ("POST", f"{one}/rename?name={chance.choice(NAMES)}", None),
                ("POST", f"{one}/update", {"RestartPolicy": {"Name": chance.choice(RESTARTS)}}),
                ("DELETE", f"{one}?force=1&v=1", None),
                ("DELETE", one, None),
                ("GET", f"{one}/json", None),
                ("GET", f"{one}/logs?stdout=1&stderr=1", None),
                ("GET", f"{one}/top", None),
                ("GET", f"{one}/stats?stream=0&one-shot=1", None),
                ("GET", f"{one}/changes", None),
                ("GET", f"{one}/archive?path=/etc", None),
                ("POST", f"{one}/attach?stream=1&stdout=1", None),
                ("POST", f"{one}/exec", {"Cmd": ["true"], "AttachStdout": True}),
                ("POST", f"/commit?container={name}&repo=made&tag=1", {}),
                ("GET", "/containers/json?all=1&size=1", None),
                ("POST", "/containers/prune", None),
                ("POST", "/networks/create", {"Name": network}),
                ("POST", f"/networks/{network}/connect", {"Container": name}),
                ("POST", f"/networks/{network}/disconnect", {"Container": name, "Force": True}),
                ("DELETE", f"/networks/{network}", None),
                ("POST", "/volumes/create", {"Name": volume}),
                ("DELETE", f"/volumes/{volume}", None),
                ("POST", f"/volumes/prune?filters={quote(json.dumps({'all': ['1']}))}", None),
                ("POST", "/images/busybox/tag?repo=copy&tag=1", None),
                ("DELETE", f"/images/{image if image != 'busybox' else 'copy:1'}", None),
                ("GET", "/images/json", None),
                ("GET", "/system/df", None),
                ("GET", "/networks", None),
            ]
        )

    def config(self, chance: random.Random) -> dict[str, Any]:
        host: dict[str, Any] = {
            "NetworkMode": chance.choice(["none", "bridge", *NETWORKS, "host"]),
            "RestartPolicy": {"Name": chance.choice(RESTARTS)},
        }
        if chance.random() < 0.4:
            port = chance.choice(["8080", "8081-8083", ""])
            host["PortBindings"] = {f"80/{chance.choice(PROTOCOLS)}": [{"HostPort": port}]}
        if chance.random() < 0.3:
            host["Binds"] = [f"{chance.choice(VOLUMES)}:/data"]
        if chance.random() < 0.2:
            host |= {"AutoRemove": True, "RestartPolicy": {"Name": "no"}}
        volumes: dict[str, Any] = {"/anonymous": {}} if chance.random() < 0.2 else {}
        return {
            "Image": chance.choice(IMAGES),
            "Cmd": chance.choice(COMMANDS),
            "HostConfig": host,
            "Volumes": volumes,
            "Tty": chance.random() < 0.2,
        }


def links() -> set[str]:
    """Names of the interfaces that are there."""
    output = subprocess.run(["ip", "-o", "link"], stdout=subprocess.PIPE, text=True, check=True)
    return {line.split(":")[1].strip().partition("@")[0] for line in output.stdout.splitlines()}


def published() -> set[str]:
    """Ports that the engine's rules lead to containers."""
    argv = ["nft", "list", "table", "inet", "orlop"]
    output = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout
    return set(re.findall(r"(?:tcp|udp) \. \d+ : \S+ \. \d+", output))


def held_ports(pid: int) -> set[str]:
    """Addresses that the engine's sockets have."""
    argv = ["ss", "-Hlntup"]
    lines = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    return {" ".join(line.split()[:5:4]) for line in lines if f"pid={pid}," in line}


def mounts(engine: StoreEngine) -> set[str]:
    """What the engine has mounted, besides the layers that it keeps for the next container."""
    below = [entry.target for entry in mount.read_mounts()]
    ours = [
        path.relative_to(engine.directory)
        for path in below
        if path.is_relative_to(engine.directory)
    ]
    return {str(path) for path in ours if "layers" not in path.parts}


def network_namespaces(pid: int) -> int:
    """How many the engine holds open."""
    found = 0
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found += os.readlink(f"/proc/{pid}/fd/{name}").startswith("net:")
        except FileNotFoundError:
            continue
    return found


def left(engine: StoreEngine) -> dict[str, Any]:
    """What containers, networks and volumes leave when they are not removed whole."""
    return {
        "links": links(),
        "rules": published(),
        "ports": held_ports(engine.pid),
        "mounts": mounts(engine),
        "namespaces": network_namespaces(engine.pid),
        "cgroups": [entry.name for entry in os.scandir(engine.cgroup_root) if entry.is_dir()],
        "records": os.listdir(engine.directory / "data/containers"),
        "directories": os.listdir(engine.directory / "run/containers"),
        "volumes": os.listdir(engine.directory / "data/volumes"),
        "runtime": os.listdir(engine.directory / "run/runtime"),
        "trash": os.listdir(engine.directory / "data/trash"),
    }


def more(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What there is *now* and was not *before*.

    Less is right: the kernel takes a namespace apart some time after its last user, so that what
    earlier containers had may have been there before.
    """
    found: dict[str, Any] = {}
    for name, value in now.items():
        extra = value > before[name] if name == "namespaces" else {*value} - {*before[name]}
        if extra:
            found[name] = extra
    return found


def remove_everything(engine: StoreEngine) -> None:
    for entry in engine.request("GET", "/containers/json?all=1")[1]:
        status, answer = engine.request("DELETE", f"/containers/{entry['Id']}?force=1&v=1")
        assert status in (204, 404), answer  # 404: it was to remove itself
    for name in NETWORKS:
        assert engine.request("DELETE", f"/networks/{name}")[0] in (204, 404)
    for name in VOLUMES:
        assert engine.request("DELETE", f"/volumes/{name}?force=1")[0] in (204, 404)
    assert (
        engine.request("POST", f"/volumes/prune?filters={quote(json.dumps({'all': ['1']}))}")[0]
        == 200
    )


def run_clients(client: Callable[[int], None]) -> None:
    seeds = range(SEED * CLIENTS, (SEED + 1) * CLIENTS)
    threads = [threading.Thread(target=client, args=(seed,)) for seed in seeds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture
def calm(bare: StoreEngine) -> StoreEngine:
    """An engine that has done everything once."""
    bare.load(docker_archive([busybox_layer()], ["busybox:latest"]))
    bare.run("first", ["true"], HostConfig={"NetworkMode": "bridge"})
    bare.wait("first")
    remove_everything(bare)
    bare.wait_until(lambda: not left(bare)["trash"])
    return bare


def check_after(engine: StoreEngine, before: dict[str, Any]) -> None:
    """That a storm has left nothing, and the engine works."""
    assert "Traceback" not in engine.log()
    remove_everything(engine)
    with contextlib.suppress(AssertionError):
        engine.wait_until(lambda: not more(left(engine), before), 60)
    assert not more(left(engine), before)
    engine.run("last", ["echo", "fine"])
    assert engine.wait("last") == 0
    assert engine.logs("last") == b"fine\n"


def test_a_storm_of_requests_breaks_nothing_and_leaves_nothing(calm: StoreEngine) -> None:
    before, descriptors = left(calm), calm.descriptors()
    storm = Storm(calm)

    run_clients(storm.client)

    print(sorted(storm.answers.items()))
    assert not storm.wrong, "\n".join(sorted(set(storm.wrong))[:40])
    check_after(calm, before)
    calm.wait_until(lambda: calm.descriptors() <= descriptors + 8)


def test_an_engine_killed_in_a_storm_comes_back_whole(calm: StoreEngine) -> None:
    before = left(calm)
    storm = Storm(calm)
    storm.engine_dies = True

    def killer() -> None:
        while not storm.is_over:
            time.sleep(2)
            calm.kill()
            calm.start()

    run_clients(lambda seed: storm.client(seed) if seed % CLIENTS else killer())

    assert not storm.wrong, "\n".join(sorted(set(storm.wrong))[:40])
    check_after(calm, before)
    calm.kill()
    status, output = calm.check()
    assert (status, output) == (0, "nothing is wrong\n")
