"""The Python SDK, as its users call it."""

from __future__ import annotations

import io
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.clients import Clients

pytestmark = [
    *(pytest.mark.root, pytest.mark.engine, pytest.mark.conformance),
    # Of the SDK's own making: connections that it leaves to the garbage collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def sdk(clients: Clients) -> Iterator[Any]:
    docker = pytest.importorskip("docker")
    client = docker.DockerClient(base_url=clients.host, version="auto", timeout=60)
    yield client
    for container in client.containers.list(all=True):
        container.remove(force=True, v=True)
    client.close()


def test_run_returns_the_output(sdk: Any) -> None:
    assert sdk.containers.run("busybox", "echo hello", remove=True) == b"hello\n"
    lines = list(sdk.containers.run("busybox", 'sh -c "echo a; echo b"', stream=True))
    assert lines == [b"a\n", b"b\n"]


def test_errors_are_the_sdks_own(sdk: Any) -> None:
    from docker import errors

    with pytest.raises(errors.ContainerError) as caught:
        sdk.containers.run("busybox", 'sh -c "echo bad >&2; exit 3"', remove=True)
    assert (caught.value.exit_status, caught.value.stderr) == (3, b"bad\n")
    with pytest.raises(errors.NotFound):
        sdk.containers.get("nosuchcontainer")
    with pytest.raises(errors.ImageNotFound):
        sdk.images.get("nosuchimage")
    with pytest.raises(errors.APIError) as refused:
        sdk.swarm.reload()
    assert refused.value.status_code == 503


def test_life_of_a_container(sdk: Any) -> None:
    container = sdk.containers.run("busybox", "sleep 1000", detach=True, name="life", tty=True)
    assert [found.name for found in sdk.containers.list(filters={"name": "life"})] == ["life"]
    container.pause()
    container.reload()
    assert container.status == "paused"
    container.unpause()
    container.rename("living")
    container.restart(timeout=0)
    assert container.top()["Titles"]
    assert container.stats(stream=False)["name"] == "/living"
    container.update(restart_policy={"Name": "no"})
    container.kill()
    container.reload()
    assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", 137)
    assert container.wait()["StatusCode"] == 137
    container.start()
    container.stop(timeout=0)
    container.remove(v=True)


@pytest.mark.parametrize("tty", [False, True])
def test_exec(sdk: Any, tty: bool) -> None:
    container = sdk.containers.run("busybox", "sleep 1000", detach=True)
    end = b"\r\n" if tty else b"\n"
    result = container.exec_run("sh -c 'pwd; exit 4'", workdir="/tmp", tty=tty)
    assert (result.exit_code, result.output) == (4, b"/tmp" + end)
    assert container.exec_run("id -u", user="65534").output == b"65534\n"
    stream = container.exec_run(["sh", "-c", "echo 1; echo 2"], stream=True).output
    assert b"".join(stream) == b"1\n2\n"
    out, err = container.exec_run(["sh", "-c", "echo o; echo e >&2"], demux=True).output
    assert (out, err) == (b"o\n", b"e\n")


def test_input_over_a_socket(sdk: Any) -> None:
    container = sdk.containers.create("busybox", "cat", stdin_open=True)
    attached = container.attach_socket(params={"stdin": 1, "stdout": 1, "stream": 1})
    container.start()
    attached._sock.sendall(b"to and fro\n")
    attached._sock.shutdown(1)
    assert container.wait()["StatusCode"] == 0
    assert container.logs() == b"to and fro\n"
    attached.close()


def test_logs_since_tail_and_follow(sdk: Any) -> None:
    container = sdk.containers.run("busybox", "sh -c 'seq 100; exec sleep 1000'", detach=True)
    followed = container.logs(stream=True, follow=True)
    assert [next(followed) for _ in range(100)][-1] == b"100\n"
    assert container.logs(tail=2) == b"99\n100\n"
    stamped = container.logs(tail=1, timestamps=True)
    assert stamped.endswith(b"Z 100\n")
    assert container.logs(until=1) == b""


def test_events(sdk: Any) -> None:
    seen: list[str] = []
    events = sdk.events(decode=True, filters={"type": "container", "label": "watched"})

    def watch() -> None:
        for event in events:
            seen.append(event["Action"])
            if event["Action"] == "destroy":
                return

    thread = threading.Thread(target=watch)
    thread.start()
    sdk.containers.run("busybox", "true", labels=["watched"], remove=False, name="watched")
    sdk.containers.get("watched").remove()
    thread.join(30)
    events.close()
    assert [action for action in seen if action != "attach"] == [
        *("create", "start", "die", "destroy"),
    ]


def test_files(sdk: Any) -> None:
    container = sdk.containers.create("busybox", "cat /tmp/there")
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        member = tarfile.TarInfo("there")
        member.size = 5
        archive.addfile(member, io.BytesIO(b"here\n"))
    assert container.put_archive("/tmp", stream.getvalue())
    container.start()
    container.wait()
    assert container.logs() == b"here\n"
    pieces, status = container.get_archive("/tmp/there")
    with tarfile.open(fileobj=io.BytesIO(b"".join(pieces))) as archive:
        assert (status["name"], status["size"], archive.getnames()) == ("there", 5, ["there"])
    assert {"Path": "/tmp/there", "Kind": 1} in container.diff()


def test_volumes_and_networks(sdk: Any) -> None:
    volume = sdk.volumes.create("kept", labels={"purpose": "test"})
    network = sdk.networks.create("between", driver="bridge")
    try:
        mounts = {"kept": {"bind": "/kept", "mode": "rw"}}
        sdk.containers.run("busybox", "sh -c 'echo 1 > /kept/one'", volumes=mounts, remove=True)
        assert sdk.containers.run("busybox", "cat /kept/one", volumes=mounts, remove=True) == (
            b"1\n"
        )
        server = sdk.containers.run(
            "busybox", "httpd -f -h /etc", detach=True, name="server", network="between"
        )
        found = sdk.networks.get("between")
        assert [container.name for container in found.containers] == ["server"]
        fetch = "wget -q -O- http://server/group"
        answer = sdk.containers.run("busybox", fetch, network="between", remove=True)
        assert answer.startswith(b"root:x:0:")
        network.disconnect(server)
        network.reload()
        assert network.containers == []
        server.remove(force=True)
    finally:
        network.remove()
        volume.remove()
    assert "kept" not in [found.name for found in sdk.volumes.list()]


def test_images(sdk: Any) -> None:
    image = sdk.images.get("busybox")
    assert image.tag("local/copy", "2")
    assert "local/copy:2" in [tag for found in sdk.images.list() for tag in found.tags]
    saved = b"".join(image.save(named=True))
    assert sdk.images.load(saved)[0].id == image.id
    assert image.history()
    container = sdk.containers.run("busybox", "touch /made", detach=True)
    container.wait()
    made = container.commit("local/made", "1", changes='CMD ["ls", "/made"]')
    assert sdk.containers.run(made, remove=True) == b"/made\n"
    container.remove()
    built, _messages = sdk.images.build(
        fileobj=io.BytesIO(b"FROM busybox\nRUN echo built > /it\nCMD cat /it\n"), tag="local/built"
    )
    assert sdk.containers.run(built, remove=True) == b"built\n"
    for tag in ("local/copy:2", "local/made:1", "local/built:latest"):
        sdk.images.remove(tag)


def test_the_engine_as_a_whole(sdk: Any) -> None:
    assert sdk.ping()
    assert sdk.version()["Os"] == "linux"
    info = sdk.info()
    assert info["Swarm"]["LocalNodeState"] == "inactive"
    assert "json-file" in info["Plugins"]["Log"]
    usage = sdk.df()
    assert {"LayersSize", "Images", "Containers", "Volumes", "BuildCache"} <= usage.keys()
    sdk.containers.run("busybox", "true", name="old")
    assert len(sdk.containers.prune()["ContainersDeleted"]) >= 1
    assert sdk.api.plugins() == []
