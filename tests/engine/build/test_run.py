"""Builds that run commands: their output, their layers, their mounts, and how they fail."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from orlop.lib.mount import read_mounts
from tests.engine.build.conftest import context_of

if TYPE_CHECKING:
    from tests.engine.build.conftest import Builder, Built

pytestmark = [pytest.mark.root, pytest.mark.engine]


def containers(builder: Builder) -> list[dict[str, str]]:
    answer = builder.engine.request("GET", "/containers/json?all=1")[1]
    assert isinstance(answer, list)
    return answer


def test_a_command_changes_the_image(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nENV a=1\nRUN echo $a-$$HOME >/r; rm /bin/wc; echo said; echo warned >&2\n"
        'RUN ["/bin/sh", "-c", "echo two"]\n',
        networkmode="none",
    )
    lines = built.text.splitlines()
    assert lines[4].startswith("Step 3/4 : RUN echo $a")
    assert lines[5].startswith(" ---> Running in ")
    assert "said" in lines
    assert "\x1b[91mwarned\n\x1b[0m" in built.text
    assert " ---> Removed intermediate container " in built.text
    assert containers(builder) == []
    assert (
        builder.output(built.image_id, "cat /r; ls /bin/wc")
        == ("1-" + builder.output(built.image_id, "cat /r")[2:])
        + "ls: /bin/wc: No such file or directory\n"
    )
    _, history = builder.engine.request("GET", f"/images/{built.image_id}/history")
    assert history[0]["CreatedBy"] == "/bin/sh -c echo two"
    layers = builder.inspect(built.image_id)["RootFS"]["Layers"]
    assert len(layers) == len(builder.inspect("busybox")["RootFS"]["Layers"]) + 1


def test_a_command_that_fails(builder: Builder) -> None:
    built = builder.build("FROM busybox\nRUN false\n", networkmode="none", forcerm=1)
    text = "The command '/bin/sh -c false' returned a non-zero code: 1"
    assert built.error == text
    assert built.messages[-1] == {"errorDetail": {"code": 1, "message": text}, "error": text}
    assert containers(builder) == []
    builder.build("FROM busybox\nRUN exit 3\n", networkmode="none")
    (left,) = containers(builder)
    assert "Exited (3)" in left["Status"]
    builder.engine.request("DELETE", f"/containers/{left['Id']}")


def test_arguments_reach_the_command_and_the_cache(builder: Builder) -> None:
    dockerfile = "FROM busybox\nARG a\nARG b=2\nRUN echo $a$b$http_proxy >/r\n"
    first = builder.ok(dockerfile, networkmode="none", buildargs='{"a": "1", "http_proxy": "p"}')
    assert builder.output(first.image_id, "cat /r") == "12p\n"
    assert not any(
        item.startswith("a=") for item in builder.inspect(first.image_id)["Config"]["Env"]
    )
    _, history = builder.engine.request("GET", f"/images/{first.image_id}/history")
    assert history[0]["CreatedBy"] == "|2 a=1 b=2 /bin/sh -c echo $a$b$http_proxy >/r"
    same = builder.ok(dockerfile, networkmode="none", buildargs='{"a": "1", "http_proxy": "q"}')
    assert same.image_id == first.image_id
    other = builder.ok(dockerfile, networkmode="none", buildargs='{"a": "3"}')
    assert other.image_id != first.image_id


def test_heredocs(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nRUN <<EOF\necho one >/r\necho two >>/r\nEOF\n"
        "RUN <<-'EOF'\n\t#!/bin/busybox sh\n\techo three $0 >>/r\nEOF\n"
        "RUN cat <<A >>/r && cat <<B >>/r\nfour\nA\nfive\nB\n"
        'SHELL ["/bin/sh", "-xc"]\nRUN <<E\necho six >>/r\nE\n',
        networkmode="none",
    )
    assert builder.output(built.image_id, "cat /r; ls -a /dev/pipes") == (
        "one\ntwo\nthree /dev/pipes/EOF\nfour\nfive\nsix\n"
        "ls: /dev/pipes: No such file or directory\n"
    )


def test_mounts(builder: Builder) -> None:
    dockerfile = (
        "FROM scratch AS files\nCOPY a /x/a\n"
        "FROM busybox\n"
        "RUN --mount=type=tmpfs,target=/t touch /t/x && ls /t >/r\n"
        "RUN --mount=type=cache,id=k,target=/c/deep echo $(cat /c/deep/n)x >/c/deep/n;"
        " cat /c/deep/n >>/r\n"
        "RUN --mount=from=files,source=/x,target=/m/f cat /m/f/a >>/r\n"
        "RUN --mount=target=/ctx cat /ctx/dir/b >>/r; touch /ctx/no || true\n"
        "RUN --mount=source=dir,target=/ctx,rw touch /ctx/yes; ls /ctx >>/r\n"
    )
    files: dict[str, str | bytes | None] = {"a": "A\n", "dir": None, "dir/b": "B\n"}
    built = builder.ok(dockerfile, files, networkmode="none")
    assert builder.output(built.image_id, "cat /r; ls -d /t /c /m /ctx") == (
        "x\nx\nA\nB\nb\nyes\n"
        + "".join(f"ls: /{name}: No such file or directory\n" for name in ("t", "c", "m", "ctx"))
    )
    assert "Read-only file system" in built.text
    again = builder.ok(dockerfile, files | {"dir/b": "C\n"}, networkmode="none")
    assert again.text.count("Using cache") == 4
    changed = builder.ok(
        dockerfile.replace("cat /c/deep/n >>", "cat /c/deep/n  >>"), files, networkmode="none"
    )
    assert builder.output(changed.image_id, "cat /r").startswith("x\nxx\n")


def test_a_name_in_an_image_is_no_mount_option(builder: Builder) -> None:
    built = builder.ok(
        "FROM scratch AS files\nCOPY a /x/in\nCOPY a /x:/etc/only\n"
        "FROM busybox\nRUN --mount=from=files,source=/x:/etc,target=/m,rw ls /m >/r\n",
        {"a": "A\n"},
        networkmode="none",
    )
    assert builder.output(built.image_id, "cat /r") == "only\n"


def test_users_and_directories(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nWORKDIR /w\nUSER alice\nRUN id -u >/tmp/u; pwd >>/tmp/u\n",
        networkmode="none",
    )
    assert builder.output(built.image_id, "cat /tmp/u") == "1000\n/w\n"


def test_networks(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nRUN --network=none ls /sys/class/net >/n\n"
        "RUN --network=host ls /sys/class/net >/h\n",
        networkmode="none",
    )
    assert "lo" in builder.output(built.image_id, "cat /n /h")


def test_nothing_is_left_when_the_client_leaves(builder: Builder) -> None:
    client = _begin(builder, "FROM busybox\nRUN echo begun; sleep 1000\n")
    assert len(containers(builder)) == 1
    client.close()
    builder.engine.wait_until(lambda: not containers(builder))
    work = builder.engine.directory / "data/build/work"
    builder.engine.wait_until(lambda: not list(work.iterdir()))
    with builder.engine.log_path.open() as log:
        assert "Traceback" not in log.read()


def test_a_killed_engine_leaves_no_build(builder: Builder) -> None:
    engine = builder.engine
    client = _begin(builder, "FROM busybox\nRUN --mount=target=/c echo begun; sleep 1000\n")
    engine.kill()
    client.close()
    engine.start()
    engine.wait_until(lambda: not containers(builder))
    assert list((engine.directory / "data/build/work").iterdir()) == []
    assert not [entry for entry in read_mounts() if "build/work" in str(entry.target)]
    builder.ok("FROM busybox\nRUN echo again\n", networkmode="none")


def _begin(builder: Builder, dockerfile: str) -> socket.socket:
    """Send a build whose command says `begun`; the connection, when it has."""
    body = context_of({"Dockerfile": dockerfile})
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(builder.engine.socket_path))
    client.sendall(
        b"POST /build?networkmode=none HTTP/1.1\r\nHost: x\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    received = b""
    while b"begun" not in received.partition(b"Running in")[2]:
        data = client.recv(65536)
        assert data, received
        received += data
    return client


def test_a_build_goes_on_from_any_step(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nRUN echo 1 >/r\nRUN echo 2 >>/r\nLABEL a=b\n", networkmode="none"
    )
    ids = [line.split()[1] for line in built.text.splitlines() if line.startswith(" ---> ")]
    step = [item for item in ids if len(item) == 12][1]
    assert builder.output(step, "cat /r") == "1\n"
    listed = builder.engine.request("GET", "/images/json")[1]
    shown = {image["Id"][7:19] for image in listed}
    assert step not in shown
    everything = builder.engine.request("GET", "/images/json?all=1")[1]
    assert step in {image["Id"][7:19] for image in everything}


def test_limits(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nRUN grep open /proc/self/limits >/l; cat /etc/hosts >>/l\n",
        networkmode="none",
        ulimits=json.dumps([{"Name": "nofile", "Soft": 77, "Hard": 88}]),
        extrahosts="name:1.2.3.4",
        shmsize=str(8 << 20),
    )
    text = builder.output(built.image_id, "cat /l")
    assert "77" in text
    assert "1.2.3.4\tname" in text


def test_the_default_network(builder: Builder) -> None:
    built = builder.ok("FROM busybox\nRUN ls /sys/class/net >/n; cat /etc/hosts >>/n\n")
    text = builder.output(built.image_id, "cat /n; ls -l /etc/hosts")
    assert "eth0" in text


def test_volumes_of_the_image(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nCOPY a /v/a\nVOLUME /v\nRUN cat /v/a; echo x >/v/b; echo y >/y\n",
        {"a": "in the volume\n"},
        networkmode="none",
    )
    assert "in the volume" in built.text
    assert builder.output(built.image_id, "cat /y; ls /v") == "y\na\n"
    assert builder.engine.request("GET", "/volumes")[1]["Volumes"] == []


def test_much_output_and_several_builds_at_once(builder: Builder) -> None:
    dockerfile = "FROM busybox\nARG n\nRUN yes 0123456789 | head -n 300000\nRUN echo $n >/n\n"

    def one(number: int) -> Built:
        arguments = json.dumps({"n": str(number)})
        return builder.ok(dockerfile, networkmode="none", nocache=1, buildargs=arguments)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, range(4)))
    for number, built in enumerate(results):
        assert built.text.count("0123456789\n") == 300_000
        assert builder.output(built.image_id, "cat /n") == f"{number}\n"


def test_a_prune_meanwhile_does_not_matter(builder: Builder) -> None:
    engine = builder.engine
    client = _begin(
        builder, "FROM busybox\nENV a=1\nRUN echo begun; cat /proc/uptime >/u\nRUN ls /u\n"
    )
    for _ in range(20):
        assert engine.request("POST", "/images/prune")[0] == 200
    received = b""
    while data := client.recv(65536):
        received += data
        engine.request("POST", "/images/prune")
        if b"Successfully built" in received or b"errorDetail" in received:
            break
    client.close()
    assert b"Successfully built" in received, received


def test_images_of_a_build_are_pruned_together(builder: Builder) -> None:
    built = builder.ok("FROM busybox\nENV a=1\nENV b=2\nRUN echo 1 >/r\n", networkmode="none")
    status, answer = builder.engine.request("POST", "/images/prune")
    assert status == 200
    deleted = [item["Deleted"] for item in answer["ImagesDeleted"] if "Deleted" in item]
    assert built.image_id in deleted
    assert builder.engine.request("GET", f"/images/{built.image_id}/json")[0] == 404
    assert builder.inspect("busybox")
