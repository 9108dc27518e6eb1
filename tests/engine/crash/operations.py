"""The operations at whose points engines are killed: how to prepare, do, see, use and undo each.

Each step may come again: `prepare` after an interrupted `act`, `undo` when nothing is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from tests.engine.build.conftest import context_of
from tests.engine.containers.engine_host import UnixConnection
from tests.engine.store.archives import LayerBuilder, busybox_layer, docker_archive, oci_archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.engine.crash.crash_engine import CrashEngine

NAME = "subject"
IMAGE = "made:1"
SLEEP = ["sh", "-c", "trap 'exit 3' TERM; : >/dev/shm/up; while :; do sleep 0.05; done"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client got to see."""

    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Operation:
    """*durable*: what was answered is there after a power cut, too.

    Starts, ends and removals of containers without a restart policy are synced a moment later.
    """

    name: str
    prepare: Callable[[CrashEngine], None]
    act: Callable[[CrashEngine], Answer]
    done: Callable[[CrashEngine], bool]
    use: Callable[[CrashEngine], None]
    undo: Callable[[CrashEngine], None]
    durable: bool = True

    def __str__(self) -> str:
        return self.name


def ask(engine: CrashEngine, method: str, target: str, body: object = None) -> Answer:
    """A request with JSON, or nothing."""
    data = b"" if body is None else json.dumps(body).encode()
    return _exchange(engine, method, target, data, "application/json")


def send(engine: CrashEngine, target: str, body: bytes) -> Answer:
    """A request with an archive."""
    return _exchange(engine, "POST", target, body, "application/x-tar")


def _exchange(engine: CrashEngine, method: str, target: str, body: bytes, kind: str) -> Answer:
    """The answer may be a stream of messages that ends in an error."""
    connection = UnixConnection(engine.socket_path)
    try:
        connection.request(method, target, body, {"Content-Type": kind} if body else {})
        response = connection.getresponse()
        text = response.read().decode()
    finally:
        connection.close()
    failed = response.status >= 400
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            message = json.loads(line)
            failed |= isinstance(message, dict) and "error" in message
    return Answer(not failed, f"{response.status} {text}")


def exists(engine: CrashEngine, path: str) -> bool:
    return bool(engine.request("GET", path)[0] == 200)


def nothing(engine: CrashEngine) -> None:
    """For an operation that needs no such step."""


# Containers.

CONTAINER = {
    "Image": "busybox",
    "Cmd": SLEEP,
    "Volumes": {"/anonymous": {}},
    "ExposedPorts": {"80/tcp": {}},
    "HostConfig": {
        "Binds": ["named:/named"],
        "PortBindings": {"80/tcp": [{"HostPort": "18080"}]},
    },
}


def create(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", f"/containers/create?name={NAME}", CONTAINER)


def start(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", f"/containers/{NAME}/start")


def state(engine: CrashEngine, name: str = NAME) -> str:
    status, shown = engine.request("GET", f"/containers/{name}/json")
    return str(shown["State"]["Status"]) if status == 200 else ""


def ready(engine: CrashEngine) -> None:
    """The container is there, as new."""
    if state(engine) not in ("", "created"):
        remove_container(engine)
    if not state(engine):
        answer = create(engine)
        assert answer.ok, answer


def running(engine: CrashEngine) -> None:
    ready(engine)
    answer = start(engine)
    assert answer.ok, answer
    wait_up(engine, NAME)


def wait_up(engine: CrashEngine, name: str) -> None:
    engine.wait_until(lambda: engine.execute(name, ["ls", "/dev/shm/up"])[0] == 0)


def ended(engine: CrashEngine) -> None:
    running(engine)
    answer = stop(engine)
    assert answer.ok, answer


def stop(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", f"/containers/{NAME}/stop?t=10")


def remove_container(engine: CrashEngine) -> None:
    for name in (NAME, "renamed"):
        engine.request("DELETE", f"/containers/{name}?force=1&v=1")
    _, volumes = engine.request("GET", "/volumes?dangling=true")
    for volume in volumes["Volumes"] or []:
        engine.request("DELETE", f"/volumes/{volume['Name']}")


def use_container(engine: CrashEngine) -> None:
    """Whatever it was doing, it works: it starts, answers, ends as it should and starts again."""
    name = NAME if state(engine) else "renamed"
    if state(engine, name) != "running":
        status, answer = engine.request("POST", f"/containers/{name}/start")
        assert status == 204, answer
    assert engine.execute(name, ["sh", "-c", "echo x >/named/x; cat /named/x"]) == (0, b"x\n")
    # Not before it has its trap.
    wait_up(engine, name)
    status, answer = engine.request("POST", f"/containers/{name}/stop?t=10")
    assert status == 204, answer
    assert engine.inspect(name)["State"]["ExitCode"] == 3


def let_it_end(engine: CrashEngine) -> Answer:
    """The container ends by itself."""
    os.kill(engine.inspect(NAME)["State"]["Pid"], signal.SIGTERM)
    return ask(engine, "POST", f"/containers/{NAME}/wait")


def has_ended(engine: CrashEngine) -> bool:
    if state(engine) != "exited":
        return False
    # 255: whoever reaped it in the place of the dead engine did not tell.
    assert engine.inspect(NAME)["State"]["ExitCode"] in (3, 255)
    return True


def rename(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", f"/containers/{NAME}/rename?name=renamed")


def update(engine: CrashEngine) -> Answer:
    body = {"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 7}, "PidsLimit": 99}
    return ask(engine, "POST", f"/containers/{NAME}/update", body)


def is_updated(engine: CrashEngine) -> bool:
    host = engine.inspect(NAME)["HostConfig"]
    changed = {host["RestartPolicy"]["Name"] == "on-failure", host["PidsLimit"] == 99}
    assert len(changed) == 1, f"half updated: {host}"
    return True in changed


# Images.


def layer_of(name: str, size: int = 30_000) -> bytes:
    return LayerBuilder().add(name, name.encode() * (size // len(name))).finish()


def archive() -> bytes:
    """An image of three layers, one of which the store has."""
    return docker_archive([busybox_layer(), layer_of("one"), layer_of("two")], [IMAGE])


def packed_archive() -> bytes:
    layers = [busybox_layer(), layer_of("one"), layer_of("two")]
    return oci_archive(layers, compress={1: "gzip", 2: "zstd"}, name=IMAGE)


def load(engine: CrashEngine) -> Answer:
    return send(engine, "/images/load?quiet=1", archive())


def load_packed(engine: CrashEngine) -> Answer:
    return send(engine, "/images/load?quiet=1", packed_archive())


def import_(engine: CrashEngine) -> Answer:
    return send(engine, "/images/create?fromSrc=-&repo=made&tag=1", busybox_layer())


def has_image(engine: CrashEngine, image: str = IMAGE) -> bool:
    return exists(engine, f"/images/{image}/json")


def with_image(engine: CrashEngine) -> None:
    if not has_image(engine):
        answer = load_packed(engine)
        assert answer.ok, answer


def use_image(engine: CrashEngine, image: str = IMAGE) -> None:
    """It runs and can be saved."""
    if not has_image(engine, image):
        return
    engine.run("user", ["cat", "/etc/passwd"], Image=image, HostConfig={"NetworkMode": "none"})
    assert engine.wait("user") == 0
    assert b"alice" in engine.logs("user")
    engine.request("DELETE", "/containers/user?v=1")
    assert engine.request("GET", f"/images/{image}/get")[0] == 200


def pull(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", f"/images/create?fromImage={engine.registry}/made&tag=1")


def has_pulled(engine: CrashEngine) -> bool:
    return has_image(engine, f"{engine.registry}/{IMAGE}")


def use_pulled(engine: CrashEngine) -> None:
    use_image(engine, f"{engine.registry}/{IMAGE}")


def without_pulled(engine: CrashEngine) -> None:
    engine.request("DELETE", f"/images/{engine.registry}/{IMAGE}?force=1")
    remove_dangling(engine)


def remove_image(engine: CrashEngine) -> Answer:
    return ask(engine, "DELETE", f"/images/{IMAGE}")


def without_image(engine: CrashEngine) -> None:
    engine.request("DELETE", f"/images/{IMAGE}?force=1")
    remove_container(engine)
    remove_dangling(engine)


def remove_dangling(engine: CrashEngine) -> None:
    """A deletion that was interrupted may have got no further than the names, as with dockerd."""
    query = urlencode({"filters": json.dumps({"dangling": ["true"]})})
    engine.request("POST", f"/images/prune?{query}")


def tag(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", "/images/busybox/tag?repo=made&tag=1")


DOCKERFILE = "FROM busybox\nCOPY a /a\nRUN cat /a >/b; mkdir /c; rm /etc/group\nENV x=y\n"


def build(engine: CrashEngine) -> Answer:
    body = context_of({"Dockerfile": DOCKERFILE, "a": "A" * 20_000})
    return send(engine, "/build?" + urlencode({"t": IMAGE, "networkmode": "none"}), body)


def without_build(engine: CrashEngine) -> None:
    engine.request("DELETE", f"/images/{IMAGE}?force=1")
    engine.request("POST", "/build/prune?all=1")
    remove_dangling(engine)


def commit(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", f"/commit?container={NAME}&repo=made&tag=1")


def with_changes(engine: CrashEngine) -> None:
    if state(engine) != "running":
        running(engine)
        engine.execute(NAME, ["sh", "-c", "echo new >/new; rm /etc/group"])


def list_changes(engine: CrashEngine) -> Answer:
    return ask(engine, "GET", f"/containers/{NAME}/changes")


# Volumes and networks.


def create_volume(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", "/volumes/create", {"Name": "kept", "Labels": {"a": "b"}})


def has_volume(engine: CrashEngine) -> bool:
    status, shown = engine.request("GET", "/volumes/kept")
    assert status == 404 or shown["Labels"] == {"a": "b"}, shown
    return bool(status == 200)


def use_volume(engine: CrashEngine) -> None:
    if has_volume(engine):
        host = {"Binds": ["kept:/kept"], "NetworkMode": "none"}
        engine.run("user", ["sh", "-c", "echo x >/kept/x"], HostConfig=host)
        assert engine.wait("user") == 0
        engine.request("DELETE", "/containers/user")


def remove_volume(engine: CrashEngine) -> Answer:
    return ask(engine, "DELETE", "/volumes/kept")


def with_volume(engine: CrashEngine) -> None:
    answer = create_volume(engine)
    assert answer.ok, answer


def without_volume(engine: CrashEngine) -> None:
    engine.request("DELETE", "/volumes/kept")


def create_network(engine: CrashEngine) -> Answer:
    return ask(engine, "POST", "/networks/create", {"Name": "net", "Labels": {"a": "b"}})


def has_network(engine: CrashEngine) -> bool:
    return exists(engine, "/networks/net")


def use_network(engine: CrashEngine) -> None:
    if has_network(engine):
        host = {"NetworkMode": "net"}
        engine.run("user", ["grep", "eth0", "/proc/net/dev"], HostConfig=host)
        assert engine.wait("user") == 0, engine.logs("user")
        engine.request("DELETE", "/containers/user")


def remove_network(engine: CrashEngine) -> Answer:
    return ask(engine, "DELETE", "/networks/net")


def with_network(engine: CrashEngine) -> None:
    if not has_network(engine):
        answer = create_network(engine)
        assert answer.ok, answer


def without_network(engine: CrashEngine) -> None:
    engine.request("DELETE", "/networks/net")


def not_there(test: Callable[[CrashEngine], bool]) -> Callable[[CrashEngine], bool]:
    return lambda engine: not test(engine)


def has_container(engine: CrashEngine) -> bool:
    return bool(state(engine))


def delete_container(engine: CrashEngine) -> Answer:
    return ask(engine, "DELETE", f"/containers/{NAME}?v=1")


def is_renamed(engine: CrashEngine) -> bool:
    # Under one of the two names, never both.
    assert bool(state(engine)) != bool(state(engine, "renamed"))
    return bool(state(engine, "renamed"))


def is_running(engine: CrashEngine) -> bool:
    return state(engine) == "running"


def use_any_container(engine: CrashEngine) -> None:
    if has_container(engine):
        use_container(engine)


OPERATIONS = [
    Operation("create", nothing, create, has_container, use_any_container, remove_container),
    Operation("start", ready, start, is_running, use_container, remove_container, durable=False),
    Operation(
        "exit", running, let_it_end, has_ended, use_container, remove_container, durable=False
    ),
    Operation("stop", running, stop, has_ended, use_container, remove_container, durable=False),
    Operation(
        "rm",
        ended,
        delete_container,
        not_there(has_container),
        use_any_container,
        remove_container,
        durable=False,
    ),
    Operation("rename", ready, rename, is_renamed, use_container, remove_container),
    Operation("update", ready, update, is_updated, use_container, remove_container),
    Operation("pull", nothing, pull, has_pulled, use_pulled, without_pulled),
    Operation("load", nothing, load, has_image, use_image, without_image),
    Operation("load-packed", nothing, load_packed, has_image, use_image, without_image),
    Operation("import", nothing, import_, has_image, use_image, without_image),
    Operation("tag", nothing, tag, has_image, use_image, without_image),
    Operation("rmi", with_image, remove_image, not_there(has_image), use_image, without_image),
    Operation("build", nothing, build, has_image, use_image, without_build),
    Operation("commit", with_changes, commit, has_image, use_image, without_image),
    Operation("diff", with_changes, list_changes, is_running, use_container, remove_container),
    Operation("volume-create", nothing, create_volume, has_volume, use_volume, without_volume),
    Operation(
        "volume-rm", with_volume, remove_volume, not_there(has_volume), use_volume, without_volume
    ),
    Operation("network-create", nothing, create_network, has_network, use_network, without_network),
    Operation(
        "network-rm",
        with_network,
        remove_network,
        not_there(has_network),
        use_network,
        without_network,
    ),
]
