"""Docker's own command builds with us, by itself and when it is told to."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from tests.engine.registry.registry_host import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from tests.engine.build.conftest import Builder

pytestmark = [pytest.mark.root, pytest.mark.engine]


def docker(
    builder: Builder, *words: str, text: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    if shutil.which("docker") is None:
        pytest.skip("the docker command is not installed")
    return subprocess.run(
        ["docker", *words],
        env={
            **os.environ,
            "DOCKER_HOST": f"unix://{builder.engine.socket_path}",
            "DOCKER_CONFIG": str(builder.engine.directory),
            **environment,
        },
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder to build."""
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nARG who\nCOPY . /app/\nRUN echo built for $who >/app/note\n"
        'CMD ["cat", "/app/note"]\n'
    )
    (tmp_path / ".dockerignore").write_text("*.log\nDockerfile\n")
    (tmp_path / "a.log").write_text("")
    (tmp_path / "a.txt").write_text("")
    return tmp_path


@pytest.mark.parametrize("environment", [{}, {"DOCKER_BUILDKIT": "0"}])
def test_docker_build(builder: Builder, project: Path, environment: dict[str, str]) -> None:
    words = ["--network=none", "--build-arg=who=me", "-t", "cli:1", str(project)]
    done = docker(builder, "build", *words, **environment)
    assert done.returncode == 0, done.stderr
    assert "Successfully tagged cli:1" in done.stdout
    listed = docker(builder, "run", "--rm", "--network=none", "cli:1", "ls", "-a", "/app")
    assert listed.stdout.split() == [".", "..", ".dockerignore", "a.txt", "note"]
    assert docker(builder, "run", "--rm", "--network=none", "cli:1").stdout == "built for me\n"


def test_docker_build_says_why(builder: Builder, project: Path, tmp_path: Path) -> None:
    (project / "Dockerfile").write_text("FROM busybox\nRUN exit 7\n")
    done = docker(builder, "build", "--network=none", "--force-rm", str(project))
    assert done.returncode == 7
    assert "The command '/bin/sh -c exit 7' returned a non-zero code: 7" in done.stderr
    (project / "Dockerfile").write_text("FROM busybox\nRUM x\n")
    done = docker(builder, "build", str(project))
    assert done.returncode == 1
    assert (
        "Error response from daemon: dockerfile parse error on line 2: unknown instruction: RUM "
        "(did you mean RUN?)"
    ) in done.stderr


def test_docker_builder_prune(builder: Builder, project: Path) -> None:
    done = docker(builder, "build", "-q", "--network=none", str(project))
    assert done.stdout.startswith("sha256:")
    usage = docker(builder, "system", "df")
    assert "Build Cache" in usage.stdout
    done = docker(builder, "builder", "prune", "--all", "--force")
    assert done.returncode == 0, done.stderr
    assert "Total reclaimed space" in done.stdout


def test_dockerfiles_from_elsewhere(builder: Builder, project: Path, tmp_path_factory: Any) -> None:
    other = tmp_path_factory.mktemp("other") / "Other"
    other.write_text("FROM busybox\nCOPY a.txt /\nLABEL from=file\n")
    done = docker(builder, "build", "-q", "-f", str(other), str(project))
    assert done.returncode == 0, done.stderr
    image = done.stdout.strip()
    assert builder.inspect(image)["Config"]["Labels"] == {"from": "file"}
    done = docker(builder, "build", "-q", "-", text="FROM busybox\nLABEL from=stdin\n")
    assert builder.inspect(done.stdout.strip())["Config"]["Labels"] == {"from": "stdin"}


def test_programs_that_are_not_there(builder: Builder) -> None:
    built = builder.build('FROM busybox\nRUN ["/no/such", "x"]\n', networkmode="none")
    assert "/no/such" in built.error
    built = builder.build("FROM scratch\nCOPY a /a\nRUN x\n", {"a": ""}, networkmode="none")
    assert "/bin/sh" in built.error
    assert builder.engine.request("GET", "/containers/json?all=1")[1] == []


def test_compose_builds(builder: Builder, project: Path) -> None:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")
    (project / "compose.yml").write_text(
        "name: composed\nservices:\n  one:\n    build:\n      context: .\n      network: none\n"
        "      args: {who: compose}\n    network_mode: none\n"
    )
    words = ["compose", "-f", str(project / "compose.yml"), "build"]
    done = docker(builder, *words, DOCKER_BUILDKIT="0")
    assert done.returncode == 0, done.stderr
    shown = docker(builder, "run", "--rm", "--network=none", "composed-one")
    assert shown.stdout == "built for compose\n"


def test_bases_come_from_registries(builder: Builder, tmp_path: Path) -> None:
    if shutil.which("docker-registry") is None:
        pytest.skip("docker-registry is not installed")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    engine = builder.engine
    registry = Registry(tmp_path / "registry")
    registry.start()
    try:
        name = f"{registry.host}/base"
        engine.request("POST", f"/images/busybox/tag?repo={name}&tag=1")
        assert docker(builder, "push", f"{name}:1").returncode == 0
        engine.request("DELETE", f"/images/{name}:1")
        dockerfile = f"FROM {name}:1\nLABEL a=b\nCOPY --from={name}:1 /etc/passwd /p\n"
        built = builder.ok(dockerfile)
        assert any(message.get("status", "").startswith("Digest:") for message in built.messages)
        assert builder.ok(dockerfile, pull=1).text.count("Using cache") == 2
        missing = builder.build(f"FROM {name}:none\n")
        assert "not found" in missing.error
    finally:
        registry.stop()
