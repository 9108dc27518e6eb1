"""Docker's command line, where it needs more than one thing of the engine to be right."""

from __future__ import annotations

import json
import shutil
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.clients import Clients

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.conformance]


@pytest.fixture
def container(clients: Clients) -> Iterator[str]:
    clients.docker("run", "--detach", "--name=cli", "--label=a=b", "busybox", "sleep", "1000")
    yield "cli"
    clients.docker("rm", "--force", "cli")


def test_a_container_knows_that_it_is_one(clients: Clients, container: str) -> None:
    clients.docker("exec", container, "test", "-f", "/.dockerenv")
    assert clients.docker("diff", container) == ""
    clients.docker("create", "--name=new", "busybox")
    try:
        assert clients.docker("cp", "new:/etc/resolv.conf", "-").startswith("resolv.conf")
    finally:
        clients.docker("rm", "new")


def test_copying_archives(clients: Clients, container: str, tmp_path: Path) -> None:
    (tmp_path / "in/below").mkdir(parents=True)
    (tmp_path / "in/below/file").write_text("content\n")
    with tarfile.open(tmp_path / "in.tar", "w") as archive:
        archive.add(tmp_path / "in/below", "below")
    clients.ok("sh", "-c", f"docker cp - {container}:/tmp < {tmp_path}/in.tar")
    assert clients.docker("exec", container, "cat", "/tmp/below/file") == "content\n"
    clients.ok("sh", "-c", f"docker cp {container}:/tmp/below - > {tmp_path}/out.tar")
    with tarfile.open(tmp_path / "out.tar") as archive:
        assert archive.getnames() == ["below", "below/file"]


def test_saving_several_and_loading_them(clients: Clients, tmp_path: Path) -> None:
    clients.docker("tag", "busybox", "other/name:1")
    clients.docker("save", "--output", str(tmp_path / "all.tar"), "busybox", "other/name:1")
    clients.docker("rmi", "other/name:1")
    loaded = clients.docker("load", "--input", str(tmp_path / "all.tar"))
    assert "Loaded image: other/name:1" in loaded
    clients.docker("rmi", "other/name:1")


def test_exporting_and_importing(clients: Clients, container: str) -> None:
    clients.ok(
        "sh", "-c", f'docker export {container} | docker import -c \'CMD ["echo","hi"]\' - made:1'
    )
    try:
        assert clients.docker("run", "--rm", "made:1") == "hi\n"
    finally:
        clients.docker("rmi", "made:1")


def test_images_by_reference(clients: Clients) -> None:
    clients.docker("tag", "busybox", "busybox:second")
    try:
        listed = ("images", "--format={{.Repository}}:{{.Tag}}")
        assert clients.docker(*listed, "busybox:second") == "busybox:second\n"
        found = clients.docker(*listed, "--filter=reference=busybox:sec*")
        assert found == "busybox:second\n"
    finally:
        clients.docker("rmi", "busybox:second")


def test_events_statistics_and_usage(clients: Clients, container: str) -> None:
    words = ("events", "--since=300s", "--until=-1s", "--filter=label=a=b", "--format={{.Action}}")
    assert {"create", "start"} <= set(clients.docker(*words).split())
    line = clients.docker("stats", "--no-stream", "--format={{json .}}", container)
    assert json.loads(line)["Name"] == container
    usage = clients.docker("system", "df", "--verbose")
    assert "Images space usage" in usage
    assert container in usage


def test_contexts(clients: Clients) -> None:
    clients.docker("context", "create", "there", f"--docker=host={clients.host}")
    try:
        environment = clients.environment.pop("DOCKER_HOST")
        assert "CONTAINER ID" in clients.docker("--context=there", "ps")
    finally:
        clients.environment["DOCKER_HOST"] = environment
        clients.docker("context", "rm", "there")


def test_links_on_the_default_bridge(clients: Clients) -> None:
    if shutil.which("nft") is None:
        pytest.skip("nftables is not installed")
    clients.docker(
        "run", "-d", "--name=db", "-e=USER=me", "--expose=5432", "busybox", "sleep", "99"
    )
    try:
        run = ("run", "--name=linked", "--link=db:store", "busybox", "env")
        variables = dict(line.partition("=")[::2] for line in clients.docker(*run).splitlines())
        assert variables["STORE_NAME"] == "/linked/store"
        assert variables["STORE_ENV_USER"] == "me"
        assert variables["STORE_PORT"] == f"tcp://{variables['STORE_PORT_5432_TCP_ADDR']}:5432"
        links = "--format={{.HostConfig.Links}}"
        assert clients.docker("inspect", links, "linked") == "[/db:/linked/store]\n"
        clients.docker("rm", "--link", "linked/store")
        assert clients.docker("inspect", links, "linked") == "[]\n"
    finally:
        clients.docker("rm", "--force", "db", "linked")


def test_the_cache_of_an_image(clients: Clients, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM busybox\nENV A=b\nCOPY file /\nRUN touch /made\n")
    (tmp_path / "file").write_text("1")
    build = ("build", f"--file={tmp_path}/Dockerfile", str(tmp_path))
    clients.docker(*build, "--tag=cached:1")
    try:
        # Without its parents, as an image that was pulled has it.
        clients.docker("save", "--output", str(tmp_path / "cached.tar"), "cached:1")
        clients.docker("rmi", "cached:1")
        clients.docker("builder", "prune", "--all", "--force")
        clients.docker("load", "--input", str(tmp_path / "cached.tar"))
        again = clients.docker(*build, "--cache-from=cached:1", "--tag=cached:2")
        assert again.count("Using cache") == 3
        other = clients.docker(*build, "--cache-from=none:1", "--tag=cached:2")
        assert "Using cache" not in other
    finally:
        clients.docker("image", "prune", "--force")
        clients.docker("rmi", "cached:1", "cached:2")


def test_pruning_images_with_a_parent_in_common(clients: Clients, tmp_path: Path) -> None:
    for number in (1, 2):
        text = f"FROM busybox\nENV SAME=1\nENV NUMBER={number}\n"
        (tmp_path / "Dockerfile").write_text(text)
        clients.docker("build", "--tag=twin", str(tmp_path))
    clients.docker("rmi", "--no-prune", "twin")
    clients.docker("system", "prune", "--force")
    assert clients.docker("images", "--quiet", "--filter=dangling=true") == ""
