"""Debian's docker-compose runs an application of several services from up to down."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conformance.clients import Clients

pytestmark = [pytest.mark.root, pytest.mark.engine, pytest.mark.conformance]

FILE = Path(__file__).with_name("application") / "compose.yaml"


@pytest.fixture
def compose(clients: Clients) -> Callable[..., str]:
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed")

    def run(*words: str) -> str:
        return clients.ok("docker-compose", "--file", str(FILE), "--ansi=never", *words)

    return run


def listed(compose: Callable[..., str]) -> dict[str, dict[str, Any]]:
    lines = compose("ps", "--all", "--format", "json").splitlines()
    return {value["Name"]: value for value in map(json.loads, lines)}


def test_an_application_from_up_to_down(clients: Clients, compose: Callable[..., str]) -> None:
    try:
        compose("up", "--detach", "--quiet-pull")
        found = listed(compose)
        assert found["shop-database-1"]["Health"] == "healthy"
        assert found["shop-web-1"]["State"] == "running"
        assert (found["shop-migration-1"]["State"], found["shop-migration-1"]["ExitCode"]) == (
            *("exited", 0),
        )
        assert "migrated" in compose("logs", "--no-color", "migration")

        # Names lead to services, on networks that both are on.
        page = compose("exec", "-T", "database", "wget", "-q", "-O-", "http://web/index.html")
        assert page == "started\n"
        assert compose("exec", "-T", "web", "sh", "-c", "echo $COLOUR") == "red\n"

        compose("up", "--detach", "--scale", "web=3", "--no-recreate")
        names = clients.docker("ps", "--filter", "label=tier=front", "--format", "{{.Names}}")
        assert sorted(names.split()) == ["shop-web-1", "shop-web-2", "shop-web-3"]
        # `up` returns when they are started, which is before they have said anything.
        deadline_s = time.monotonic() + 30
        while compose("logs", "--no-color", "web").count("serving") != 3:
            assert time.monotonic() < deadline_s, compose("logs", "--no-color", "web")
        compose("up", "--detach", "--scale", "web=1", "--no-recreate")
        assert len(compose("ps", "--quiet", "web").split()) == 1

        before = clients.docker("inspect", "-f", "{{.State.StartedAt}}", "shop-database-1")
        compose("restart", "--timeout", "1", "database")
        assert before != clients.docker("inspect", "-f", "{{.State.StartedAt}}", "shop-database-1")
        # The volume has outlived it.
        assert compose("exec", "-T", "database", "cat", "/data/log") == "started\nstarted\n"
        assert "httpd" in compose("top", "web")
        compose("stop", "--timeout", "1")
        assert {value["State"] for value in listed(compose).values()} == {"exited"}
        compose("start")
        assert listed(compose)["shop-web-1"]["State"] == "running"
    finally:
        compose("down", "--volumes", "--timeout", "1")
    assert clients.docker("ps", "--all", "--quiet") == ""
    assert "shop" not in clients.docker("network", "ls") + clients.docker("volume", "ls")


def test_a_changed_service_is_made_anew(clients: Clients, compose: Callable[..., str]) -> None:
    def identity(service: str) -> str:
        return compose("ps", "--quiet", service).strip()

    try:
        compose("up", "--detach", "web")
        database, web = identity("database"), identity("web")
        compose("up", "--detach", "web")
        assert (identity("database"), identity("web")) == (database, web)
        compose("up", "--detach", "--force-recreate", "--no-deps", "web")
        assert identity("web") != web
        assert identity("database") == database
        assert compose("run", "--rm", "--no-deps", "-T", "web", "echo", "once") == "once\n"
    finally:
        compose("down", "--volumes", "--timeout", "1", "--remove-orphans")
