"""Builds that run nothing: COPY, ADD, metadata, stages, cache."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import os
import tarfile
import threading
from typing import TYPE_CHECKING

import pytest

from tests.engine.build.conftest import context_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.build.conftest import Builder

pytestmark = [pytest.mark.root, pytest.mark.engine]


def test_a_build_in_the_words_of_the_classic_builder(builder: Builder) -> None:
    built = builder.ok(
        'FROM busybox\nCOPY a.txt /data/\nCMD ["cat", "/data/a.txt"]\n',
        {"a.txt": "hello\n"},
        t=["first:1", "second"],
    )
    lines = built.text.splitlines()
    assert lines[0] == "Step 1/3 : FROM busybox"
    assert lines[1].startswith(" ---> ")
    assert lines[2] == "Step 2/3 : COPY a.txt /data/"
    assert lines[4] == 'Step 3/3 : CMD ["cat", "/data/a.txt"]'
    short = built.image_id.removeprefix("sha256:")[:12]
    assert lines[5:] == [
        f" ---> {short}",
        f"Successfully built {short}",
        "Successfully tagged first:1",
        "Successfully tagged second:latest",
    ]
    inspected = builder.inspect("first:1")
    assert inspected["Id"] == built.image_id
    assert inspected["Config"]["Cmd"] == ["cat", "/data/a.txt"]
    assert builder.output("second", "cat /data/a.txt; ls -ln /data").startswith("hello\n")
    _, history = builder.engine.request("GET", "/images/first:1/history")
    assert history[0]["CreatedBy"] == '/bin/sh -c #(nop)  CMD ["cat" "/data/a.txt"]'
    assert history[1]["CreatedBy"].startswith("/bin/sh -c #(nop) COPY file:")


def test_metadata_makes_no_layer(builder: Builder) -> None:
    base = builder.inspect("busybox")
    built = builder.ok(
        "FROM busybox\nENV a=1 b=$a\nENV b=${a}2\nLABEL x=$b\nEXPOSE 80 53/udp\nVOLUME /v\n"
        'USER alice\nWORKDIR /tmp\nSTOPSIGNAL SIGQUIT\nSHELL ["/bin/sh", "-ec"]\n'
        'HEALTHCHECK --interval=3s CMD true\nENTRYPOINT ["e"]\nCMD x\nMAINTAINER me\nARG z\n',
        labels='{"given": "$a"}',
    )
    inspected = builder.inspect(built.image_id)
    config = inspected["Config"]
    assert inspected["RootFS"]["Layers"] == base["RootFS"]["Layers"]
    assert inspected["Author"] == "me"
    assert "b=12" in config["Env"]
    assert config["Labels"] == {"x": "12", "given": "$a"}
    assert config["ExposedPorts"] == {"53/udp": {}, "80/tcp": {}}
    assert config["Volumes"] == {"/v": {}}
    assert (config["User"], config["WorkingDir"]) == ("alice", "/tmp")
    assert config["StopSignal"] == "SIGQUIT"
    assert config["Shell"] == ["/bin/sh", "-ec"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "true"], "Interval": 3_000_000_000}
    assert (config["Entrypoint"], config["Cmd"]) == (["e"], ["/bin/sh", "-ec", "x"])


def test_stages_targets_and_scratch(builder: Builder) -> None:
    dockerfile = ("ARG NAME=one\nFROM scratch AS $NAME\n" if False else "ARG TAG=latest\n") + (
        "FROM scratch AS files\nCOPY a /x/a\nCOPY --chown=5:6 --chmod=600 a /x/b\n"
        "FROM busybox:${TAG} AS unused\nCOPY none /\n"
        "FROM files AS more\nCOPY a /x/c\n"
        "FROM busybox:$TAG\nARG TAG\nLABEL tag=$TAG\nCOPY --from=more /x /y/\n"
        "COPY --from=0 /x/b /z\nCOPY --from=busybox:latest /etc/passwd /p\n"
    )
    built = builder.ok(dockerfile, {"a": "A"})
    assert "unused" not in built.text
    assert builder.inspect(built.image_id)["Config"]["Labels"] == {"tag": "latest"}
    listing = builder.output(built.image_id, "ls -n /y /z /p; cat /z")
    assert "-rw-------    1 5        6" in listing
    assert sum(line.endswith((" a", " b", " c")) for line in listing.splitlines()) == 3
    target = builder.ok(dockerfile, {"a": "A"}, target="FILES")
    assert len(builder.inspect(target.image_id)["RootFS"]["Layers"]) == 2
    missing = builder.build(dockerfile, {"a": "A"}, target="none")
    assert (missing.status, missing.error) == (
        400,
        'target stage "none" could not be found',
    )


def test_names_in_the_image_lead_to_the_right_place(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nWORKDIR /w/d\nCOPY a .\nCOPY a ./sub/\nCOPY d /tmp\nCOPY dir/. /q/\n",
        {"a": "A", "d": "D", "dir": None, "dir/f": "F", "dir/l": "->f", "dir/e": None},
    )
    listing = builder.output(
        built.image_id, "pwd; cat a sub/a /tmp/d /q/l; ls -ld /tmp /q/e /q/l /w"
    )
    assert listing.startswith("/w/d\nAADF")
    assert "drwxrwxrwt" in listing
    assert "/q/l -> f" in listing


def test_text_in_the_dockerfile(builder: Builder) -> None:
    built = builder.ok(
        "FROM busybox\nENV v=1\nCOPY <<ONE <<-'TWO' /d/\nv is $v\nONE\n\t$v\nTWO\n"
        "COPY <<E /e\nx\nE\n"
    )
    assert builder.output(built.image_id, "cat /d/ONE /d/TWO /e") == "v is 1\n$v\nx\n"


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_add_unpacks_archives_of_the_context(builder: Builder, mode: str) -> None:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as tar:  # type: ignore[call-overload]
        info = tarfile.TarInfo("in/f")
        info.size, info.uid = 1, 77
        tar.addfile(info, io.BytesIO(b"F"))
    built = builder.ok("FROM busybox\nADD a.tar b /u/\n", {"a.tar": stream.getvalue(), "b": "B"})
    listing = builder.output(built.image_id, "cat /u/in/f /u/b; ls -n /u/in; ls /u")
    assert listing.startswith("FB")
    assert " 77 " in listing
    assert "a.tar" not in listing


def test_dockerignore_and_other_names(builder: Builder) -> None:
    files: dict[str, str | bytes | None] = {
        "deep": None,
        "deep/D": "FROM busybox\nCOPY . /c/\n",
        ".dockerignore": "*\n!keep\nkeep/**/*.o\n",
        "keep": None,
        "keep/a": "",
        "keep/s": None,
        "keep/s/x.o": "",
        "other": "",
    }
    built = builder.send(context_of(files), dockerfile="deep/D")
    assert not built.error
    assert builder.output(built.image_id, "cd /c; echo *; echo keep/*; echo keep/s/*") == (
        "keep\nkeep/a keep/s\nkeep/s/*\n"
    )


def test_a_compressed_context(builder: Builder) -> None:
    data = gzip.compress(context_of({"Dockerfile": "FROM busybox\nCOPY a /a\n", "a": "A"}))
    assert not builder.send(data).error


def test_the_cache_goes_by_content(builder: Builder) -> None:
    dockerfile = "FROM busybox\nCOPY a /a\nENV x=1\nCOPY d /d/\n"
    files: dict[str, str | bytes | None] = {"a": "A", "d": None, "d/f": "F"}
    first = builder.ok(dockerfile, files)
    assert "Using cache" not in first.text
    again = builder.ok(dockerfile, files)
    assert again.image_id == first.image_id
    assert again.text.count(" ---> Using cache\n") == 3
    builder.engine.kill()
    builder.engine.start()
    assert builder.ok(dockerfile, files).text.count("Using cache") == 3
    assert builder.ok(dockerfile, files | {"d/f": "G"}).text.count("Using cache") == 2
    assert builder.ok(dockerfile, files | {"a": "B"}).text.count("Using cache") == 0
    assert builder.ok(dockerfile, files | {"unrelated": "x"}).text.count("Using cache") == 3
    fresh = builder.ok(dockerfile, files, nocache=1)
    assert "Using cache" not in fresh.text
    assert fresh.image_id != first.image_id


def test_the_cache_is_shown_and_pruned(builder: Builder) -> None:
    builder.ok("FROM busybox\nCOPY a /a\n", {"a": "A" * 5000}, t="kept")
    builder.ok("FROM busybox\nCOPY a /b\n", {"a": "B" * 7000})
    status, usage = builder.engine.request("GET", "/system/df?type=build-cache")
    entries = usage["BuildCache"]
    assert status == 200
    assert sorted(entry["InUse"] for entry in entries) == [False, True]
    assert {entry["Size"] for entry in entries} == {5000, 7000}
    status, pruned = builder.engine.request("POST", "/build/prune")
    assert status == 200
    assert pruned["SpaceReclaimed"] >= 7000
    assert len(pruned["CachesDeleted"]) == 1
    assert builder.inspect("kept")
    assert "Using cache" in builder.ok("FROM busybox\nCOPY a /a\n", {"a": "A" * 5000}).text
    status, pruned = builder.engine.request("POST", "/build/prune?all=1")
    assert len(pruned["CachesDeleted"]) == 1
    assert builder.inspect("kept")
    assert "Using cache" not in builder.ok("FROM busybox\nCOPY a /a\n", {"a": "A" * 5000}).text


def test_onbuild(builder: Builder) -> None:
    builder.ok("FROM busybox\nONBUILD COPY a /a\nONBUILD ENV x=1\n", {}, t="parent")
    assert builder.inspect("parent")["Config"]["OnBuild"] == ["COPY a /a", "ENV x=1"]
    child = builder.ok("FROM parent\nLABEL y=2\n", {"a": "A"})
    assert "# Executing 2 build triggers\n" in child.text
    config = builder.inspect(child.image_id)["Config"]
    assert not config.get("OnBuild")
    assert "x=1" in config["Env"]
    assert builder.output(child.image_id, "cat /a") == "A"


@pytest.mark.parametrize(
    ("dockerfile", "query", "status", "error"),
    [
        (
            "FROM busybox\nFOO x",
            {},
            400,
            "dockerfile parse error on line 2: unknown instruction: FOO",
        ),
        ("", {}, 400, "the Dockerfile (Dockerfile) cannot be empty"),
        ("FROM busybox", {"dockerfile": "none"}, 400, "Cannot locate specified Dockerfile: none"),
        ("FROM busybox", {"version": "2"}, 400, "DOCKER_BUILDKIT=0"),
        ("FROM busybox", {"squash": "1"}, 400, "squash is only supported with experimental mode"),
        ("FROM busybox", {"t": "UPPER"}, 400, "invalid reference format"),
        ("FROM busybox", {"remote": "git://x/y"}, 400, "A git repository is cloned by the"),
        ("FROM busybox", {"buildargs": "{"}, 400, "error reading buildargs"),
        ("FROM busybox\nCOPY x /", {}, 200, "COPY failed: file not found in build context or"),
        ("FROM busybox\nCOPY ../x /", {}, 200, "COPY failed: forbidden path outside the build"),
        ("FROM busybox\nCOPY http://x/ /", {}, 200, "COPY failed: source can't be a URL for COPY"),
        ("FROM busybox\nCOPY --from=none x /", {}, 200, "invalid from flag value none: "),
        ("FROM busybox\nCOPY --from=0 x /", {}, 400, "refers to current build stage"),
        ("FROM busybox\nCOPY --from=1 x /", {}, 400, "index out of bounds"),
        ("FROM busybox\nENV a=${b", {}, 200, "parse error on line 2: failed to process"),
        ("FROM busybox\nENV a=${b:?unset}", {}, 200, "b: unset"),
        ("FROM ${x}", {}, 400, "base name (${x}) should not be blank"),
        ("FROM scratch", {}, 200, "No image was generated. Is your Dockerfile empty?"),
        ("FROM scratch\nRUN x", {}, 200, "Please provide a source image with `from` prior to run"),
        ("FROM --platform=linux/arm64 busybox", {}, 200, "does not match the specified platform"),
        (
            "FROM busybox\nRUN --mount=type=secret,id=x y",
            {},
            400,
            "line 2: --mount=type=secret requ",
        ),
    ],
)
def test_errors(
    builder: Builder, dockerfile: str, query: dict[str, str], status: int, error: str
) -> None:
    built = builder.send(context_of({"Dockerfile": dockerfile}), **query)
    assert built.status == status
    assert error in built.error
    assert builder.engine.request("GET", "/containers/json?all=1")[1] == []


def test_quiet_builds_say_one_thing(builder: Builder) -> None:
    built = builder.ok("FROM busybox\nLABEL a=b\n", q=1)
    assert built.text.strip().startswith("sha256:")
    assert len(built.messages) == 1
    failed = builder.build("FROM busybox\nCOPY x /\n", q=1)
    assert failed.text.startswith("Step 1/2")


def test_arguments(builder: Builder) -> None:
    built = builder.ok(
        "ARG A=global\nFROM busybox\nARG A\nARG B=$A-b C=c\nARG TARGETARCH\n"
        "LABEL a=$A b=$B c=$C arch=$TARGETARCH none=${D:-no}\n",
        buildargs='{"C": "given", "X": "odd", "http_proxy": "p"}',
    )
    assert builder.inspect(built.image_id)["Config"]["Labels"] == {
        "a": "global",
        "b": "global-b",
        "c": "given",
        "arch": "amd64",
        "none": "no",
    }
    assert "[Warning] One or more build-args [X] were not consumed\n" in built.text


class _Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        files = {"/d/file.txt": b"fetched", "/Dockerfile": b"FROM busybox\nLABEL remote=1\n"}
        data = files.get(self.path)
        self.send_response(200 if data is not None else 404)
        self.send_header("Content-Length", str(len(data or b"")))
        self.send_header("Content-Type", "text/plain")
        self.send_header("Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, *args: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def server() -> Iterator[str]:
    """An HTTP server on loopback; its address."""
    os.system("ip link set lo up")
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    thread.join()
    listening.server_close()


def test_downloads(builder: Builder, server: str) -> None:
    checksum = hashlib.sha256(b"fetched").hexdigest()
    built = builder.ok(
        f"FROM busybox\nADD {server}/d/file.txt /x/\n"
        f"ADD --checksum=sha256:{checksum} --chmod=644 {server}/d/file.txt /y\n"
    )
    listing = builder.output(built.image_id, "cat /x/file.txt /y; ls -l /x")
    assert listing.startswith("fetchedfetched")
    assert "-rw-------" in listing
    wrong = builder.build(
        f"FROM busybox\nADD --checksum=sha256:{'0' * 64} {server}/d/file.txt /y\n"
    )
    assert wrong.error.startswith("ADD failed: digest mismatch")
    assert "with status 404" in builder.build(f"FROM busybox\nADD {server}/no /y\n").error
    remote = builder.send(b"", remote=f"{server}/Dockerfile")
    assert builder.inspect(remote.image_id)["Config"]["Labels"] == {"remote": "1"}
