"""What the API understands and how it shows things, without a connection."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from orlop.engine.api.create_request import parse_create
from orlop.engine.api.errors import status_of
from orlop.engine.api.filters import match_labels, parse_filters
from orlop.engine.api.request_mounts import parse_bind
from orlop.engine.api.router import check_version, match_path
from orlop.engine.api.table import LATE
from orlop.engine.api.times import ZERO, human_duration, parse_time, to_text
from orlop.engine.container import names, top
from orlop.engine.runtime.crun import StartError, failure
from orlop.lib import errors
from orlop.wire.compose_model import MountKind, Propagation, RestartMode, Seccomp
from orlop.wire.docker.fields import Object

if TYPE_CHECKING:
    from orlop.engine.engine import Engine


def test_what_the_docker_cli_sends_for_a_plain_run() -> None:
    body: dict[str, object] = {
        "Hostname": "",
        "Image": "busybox",
        "Cmd": ["sleep", "1"],
        "Entrypoint": None,
        "Env": None,
        "Labels": {},
        "Volumes": {},
        "OnBuild": None,
        "HostConfig": {
            "Binds": None,
            "NetworkMode": "default",
            "PortBindings": {},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
            "Memory": 0,
            "PidsLimit": 0,
            "Ulimits": None,
            "ShmSize": 0,
        },
        "NetworkingConfig": {"EndpointsConfig": {"default": {}}},
    }
    config = parse_create(Object(body), "name")
    assert (config.command, config.entrypoint, config.network) == (("sleep", "1"), None, "none")
    assert config.resources.pids_limit is None
    assert config.shm_size_bytes == 64 << 20


def test_a_full_request() -> None:
    host = {
        "Binds": ["/a:/b:ro,rslave"],
        "Tmpfs": {"/t": "size=1m,mode=700"},
        "NetworkMode": "host",
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 2},
        "NanoCpus": 1_500_000_000,
        "Memory": 64 << 20,
        "SecurityOpt": ["no-new-privileges", "seccomp=unconfined"],
        "LogConfig": {"Type": "local", "Config": {"max-size": "2m", "max-file": "5"}},
        "Devices": [{"PathOnHost": "/dev/fuse"}],
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "ExtraHosts": ["db:10.0.0.1"],
    }
    check = {"Test": ["CMD-SHELL", "true"], "Interval": 2_000_000_000}
    body = {"Image": "x", "Entrypoint": [""], "Healthcheck": check, "HostConfig": host}
    config = parse_create(Object(body), "name")

    assert config.entrypoint == ()
    assert config.restart.mode is RestartMode.ON_FAILURE
    assert (config.resources.cpus, config.resources.memory_bytes) == (1.5, 64 << 20)
    assert (config.no_new_privileges, config.seccomp) == (True, Seccomp.NONE)
    assert [mount.kind for mount in config.mounts] == [MountKind.BIND, MountKind.TMPFS]
    assert config.mounts[0].read_only
    assert config.mounts[0].propagation is Propagation.SLAVE
    assert config.mounts[1].options == (
        *("nosuid", "nodev", "noexec"),
        *("size=1048576", "mode=700"),
    )
    assert (config.mounts[1].size_bytes, config.mounts[1].mode) == (1 << 20, 0o700)
    assert config.log_limits is not None
    assert (config.log_limits.size_bytes, config.log_limits.files) == (2 << 20, 5)
    assert config.healthcheck is not None
    assert config.healthcheck.command == ("/bin/sh", "-c", "true")
    assert config.healthcheck.interval_s == 2.0
    assert config.extra_hosts == (("db", "10.0.0.1"),)


@pytest.mark.parametrize(
    "host",
    [
        {"Binds": "/a:/b"},
        {"Binds": ["/a:relative"]},
        {"Binds": ["/a:/"]},
        {"RestartPolicy": {"Name": "sometimes"}},
        {"RestartPolicy": {"Name": "always"}, "AutoRemove": True},
        {"Memory": 4096},
        {"Memory": -1},
        {"Privileged": "yes"},
        {"Tmpfs": {"/x": "mode=rwx"}},
        {"Devices": [{"PathOnHost": "dev", "CgroupPermissions": "x"}]},
        {"ExtraHosts": ["nocolon"]},
        {"LogConfig": {"Type": "local", "Config": {"max-file": "many"}}},
    ],
)
def test_wrong_requests(host: dict[str, object]) -> None:
    with pytest.raises(errors.InvalidArgument):
        parse_create(Object({"Image": "x", "HostConfig": host}), "name")


@pytest.mark.parametrize(
    "host",
    [
        {"NetworkMode": "bridge"},
        {"NetworkMode": "container:x"},
        {"Mounts": [{"Type": "image", "Source": "x", "Target": "/x"}]},
    ],
)
def test_what_is_not_there_yet_says_so(host: dict[str, object]) -> None:
    with pytest.raises(errors.NotImplementedYet):
        parse_create(Object({"Image": "x", "HostConfig": host}), "name")


def test_binds_of_a_command_line_make_their_source() -> None:
    assert parse_bind("/a:/b").create_host_path


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (90, "About a minute"),
        (150, "2 minutes"),
        (3700, "About an hour"),
        (7200, "2 hours"),
        (3 * 86_400, "3 days"),
        (20 * 86_400, "2 weeks"),
        (90 * 86_400, "3 months"),
        (900 * 86_400, "2 years"),
    ],
)
def test_durations_for_people(seconds: float, text: str) -> None:
    assert human_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("1136073600.000000001", 1_136_073_600_000_000_001),
        ("10", 10_000_000_000),
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T01:00:01+01:00", 1_000_000_000),
        ("10m", 400_000_000_000),
    ],
)
def test_times(text: str, expected: int) -> None:
    assert parse_time(text, now_ns=1_000_000_000_000) == expected


def test_bad_time() -> None:
    assert to_text(0) == ZERO
    with pytest.raises(errors.InvalidArgument):
        parse_time("yesterday")


def test_a_filter_without_values_is_none() -> None:
    assert parse_filters('{"status":[],"id":{},"name":["x"]}') == {"name": frozenset({"x"})}


def test_filters_in_both_forms() -> None:
    known = {"status", "label"}
    assert parse_filters('{"status":["running","paused"]}', known) == {
        "status": frozenset({"running", "paused"})
    }
    assert parse_filters('{"status":{"running":true,"dead":false}}', known) == {
        "status": frozenset({"running"})
    }
    for bad in ("{", "[]", '{"colour":["red"]}', '{"status":"running"}', '{"status":[1]}'):
        with pytest.raises(errors.InvalidArgument):
            parse_filters(bad, known)
    assert match_labels(["a=1", "b"], {"a": "1", "b": ""})
    assert not match_labels(["a=2"], {"a": "1"})


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/containers/{id}/json", "/containers/x/json", {"id": "x"}),
        ("/containers/{id}/json", "/containers/x/y/json", None),
        ("/containers/{id}", "/containers", None),
        ("/images/{name:path}/json", "/images/a/b/c/json", {"name": "a/b/c"}),
        ("/images/{name:path}/json", "/images/json", None),
        ("/images/{name:path}", "/images/a/b", {"name": "a/b"}),
    ],
)
def test_routes(pattern: str, path: str, expected: dict[str, str] | None) -> None:
    assert match_path(pattern.strip("/").split("/"), path.strip("/").split("/")) == expected


@pytest.mark.parametrize("version", [(1, 23), (0, 99), (1, 99), (2, 0)])
def test_versions_that_are_not_spoken(version: tuple[int, int]) -> None:
    with pytest.raises(errors.InvalidArgument):
        check_version(*version)


def test_names() -> None:
    by_id = {"abc1": "one", "abd2": "two"}
    by_name = {"web": "abd2"}
    assert names.find("web", by_id, by_name) == "two"
    assert names.find("/web", by_id, by_name) == "two"
    assert names.find("abc", by_id, by_name) == "one"
    with pytest.raises(errors.InvalidArgument):
        names.find("ab", by_id, by_name)
    for missing in ("x", ""):
        with pytest.raises(errors.NotFound):
            names.find(missing, by_id, by_name)
    for bad in ("a", "-x", "a/b", "../x", "ä" * 3, "x" * 200):
        with pytest.raises(errors.InvalidArgument):
            names.check_name(bad)
    assert len(names.new_id()) == 64
    taken: set[str] = set()
    for _ in range(20):
        taken.add(names.new_name(taken.__contains__))
    assert len(taken) == 20


def test_ps_arguments() -> None:
    assert top.parse_arguments("")[0] == "uid"
    assert top.parse_arguments("aux")[0] == "user"
    assert top.parse_arguments("-o pid,comm") == ("pid", "comm")
    with pytest.raises(errors.InvalidArgument):
        top.parse_arguments("--forest")


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("executable file `x` not found in $PATH: No such file or directory", 127),
        ("the path `/etc/passwd` exists but it is not executable: Operation not permitted", 126),
    ],
)
def test_a_program_that_cannot_be_executed(message: str, code: int) -> None:
    error = failure(message)
    assert isinstance(error, StartError)
    assert error.exit_code == code
    assert status_of(error) == 400


def test_every_kind_of_error_has_its_status() -> None:
    assert status_of(failure("mount: no")) == 500
    assert status_of(errors.NotFound("x")) == 404
    assert status_of(errors.Conflict("x")) == 409
    assert status_of(errors.NotImplementedYet("x")) == 501
    assert status_of(errors.OrlopError("x")) == 500


def test_every_route_that_is_made_late_is_found_by_its_first_or_last_segment() -> None:
    """A route that no key leads to would not be there until another one was asked for."""
    engine = cast("Engine", SimpleNamespace(host=SimpleNamespace(networks=None)))
    for segment, make in LATE.items():
        for route in make(engine):
            parts = route.pattern.strip("/").split("/")
            keys = {key for key in (parts[0], parts[-1]) if key in LATE}
            assert keys, f"{route.pattern}, which {segment} makes, has no key"
