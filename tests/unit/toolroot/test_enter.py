"""How the tool root is entered, as the plan that is made before anything is mounted."""

from pathlib import Path

import pytest

from orlop.toolroot import enter
from orlop.toolroot.enter import Layout, namespaces, outermost, plan_root, script, variables


def layout(**changes: object) -> Layout:
    values: dict[str, object] = {
        "toolroot": Path("/cache/toolroot/key"),
        "mount_point": Path("/cache/mnt"),
        "cache": Path("/cache"),
        "session": Path("/cache/work/1"),
        "etc": Path("/cache/work/1/etc"),
        "files": (),
        "visible": (Path("/home/u/orlop"), Path("/cache")),
        "build": Path("/cache/work/1/build"),
    }
    return Layout(**(values | changes))  # type: ignore[arg-type]


def mounts(plan: list[list[str]]) -> dict[str, list[str]]:
    return {command[-1]: command for command in plan if command[0] == "mount"}


def test_everything_is_mounted_below_the_mount_point() -> None:
    for target in mounts(plan_root(layout())):
        assert target.startswith("/cache/mnt")


def test_the_tool_root_is_read_only_and_the_checkout_is_not() -> None:
    found = mounts(plan_root(layout()))

    assert "ro" in found["/cache/mnt/usr"]
    assert "ro" not in found["/cache/mnt/home/u/orlop"]


def test_commands_that_outlive_the_launcher_have_nothing_of_its_session() -> None:
    plan = plan_root(layout(host_tmp=True, private_processes=False, build=Path("/cache/failed")))

    assert not [target for target, command in mounts(plan).items() if "/work/" in command[-2]]
    assert mounts(plan)["/cache/mnt/proc"] == ["mount", "--rbind", "/proc", "/cache/mnt/proc"]


def test_outermost_directories() -> None:
    paths = [Path("/home/u/orlop"), Path("/home/u"), Path("/"), Path("/srv"), Path("/srv")]

    assert outermost(paths) == [Path("/srv"), Path("/home/u")]


def test_what_is_on_another_file_system_is_not_shown_by_what_is_above(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stick = Path("/home/u/stick")
    monkeypatch.setattr(enter, "_device", lambda path: 2 if path.is_relative_to(stick) else 1)
    monkeypatch.setattr(Path, "is_mount", lambda path: path == stick)
    paths = [stick / "a/b", stick / "c", Path("/home/u"), Path("/home/u/d")]

    assert outermost(paths) == [Path("/home/u"), stick]


def test_first_process_reaps_orphans_only_in_its_own_namespace() -> None:
    assert "tini" in script(layout(), Path("/"), {}, ["true"])
    assert "tini" not in script(layout(private_processes=False), Path("/"), {}, ["true"])


def test_death_of_the_launcher_reaches_the_namespace() -> None:
    prefix = namespaces(root=False, private_processes=True)

    assert prefix.index("--map-auto") < prefix.index("--pdeathsig") < prefix.index("--kill-child")


def test_environment_is_fixed_but_for_the_terminal_and_proxies() -> None:
    host = {"HOME": "/h", "TERM": "xterm", "EDITOR": "vi", "https_proxy": "p", "LANG": "de_DE"}
    host["ORLOP_TEST_CUTS"] = "7"
    inside = variables(layout(), Path("/home/u/orlop"), host)

    assert inside["LANG"] == "C.UTF-8"
    assert inside["https_proxy"] == "p"
    assert inside["ORLOP_TEST_CUTS"] == "7"
    assert "EDITOR" not in inside


def test_script_quotes_what_it_runs() -> None:
    assert "'two words'" in script(layout(), Path("/"), {}, ["echo", "two words"])
