"""How a tool root is made: the commands, the pins, what differs from them."""

from pathlib import Path

from orlop.toolroot import host_apt
from orlop.toolroot.make import (
    drift,
    installed,
    mmdebstrap_command,
    pip_lock_text,
    preferences_text,
)
from orlop.toolroot.settings import ToolList, cache_directory, read_tool_list, unpinned

CHECKOUT = Path(__file__).resolve().parents[3]

STATUS = """\
Package: crun
Status: install ok installed
Version: 1.21-1
Description: a runtime
 Status: of no meaning here

Package: gone
Status: deinstall ok config-files
Version: 1.0
"""


def tools(**pins: str) -> ToolList:
    return ToolList(("crun", "gcc-14"), pins, ("ruff",), "", "key")


def test_pins_are_preferences_above_any_other() -> None:
    text = preferences_text({"crun": "1.21-1"})

    assert text == "Package: crun\nPin: version 1.21-1\nPin-Priority: 1001\n"


def test_installed_packages(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(STATUS)

    assert installed(tmp_path) == {"crun": "1.21-1"}
    assert drift(tools(crun="1.21-1"), tmp_path) == []
    assert drift(tools(crun="1.20-1"), tmp_path) == ["crun: locked 1.20-1, installed 1.21-1"]
    assert drift(tools(), tmp_path) == [], "without a lock there is nothing to differ from"


def test_mmdebstrap_gets_the_hosts_settings(tmp_path: Path) -> None:
    apt = host_apt.HostApt([], {"Acquire::http::Proxy": "http://p.example"}, tmp_path)
    (tmp_path / "etc" / "apt" / "auth.conf.d").mkdir(parents=True)
    target = tmp_path / "made"
    command = mmdebstrap_command(tools(), apt, tmp_path, tmp_path / "debs", target, root=True)

    assert '--aptopt=Acquire::http::Proxy "http://p.example"' in command
    assert f"--setup-hook=copy-in {tmp_path}/etc/apt/auth.conf.d /etc/apt" in command
    assert "--include=crun,gcc-14" in command


def test_pip_lock_has_the_hash_of_the_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "ruff-1.2.3-py3-none-manylinux_2_17_x86_64.whl"
    wheel.write_bytes(b"")

    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert pip_lock_text([wheel]).splitlines()[1] == f"ruff==1.2.3 --hash=sha256:{empty}"


def test_key_follows_the_list_and_the_locks(tmp_path: Path) -> None:
    (tmp_path / "os" / "lock").mkdir(parents=True)
    listed = '[packages]\na = ["crun"]\n[pip]\npackages = ["ruff"]\n'
    (tmp_path / "os" / "tools.toml").write_text(listed)
    first = read_tool_list(tmp_path)
    (tmp_path / "os" / "lock" / "tools.lock").write_text("# comment\ncrun 1.21-1 amd64 0\n")
    second = read_tool_list(tmp_path)

    assert first.pins == {}
    assert second.pins == {"crun": "1.21-1"}
    assert len({first.key, second.key, unpinned(second).key}) == 3


def test_the_list_of_this_checkout_can_be_read() -> None:
    assert "crun" in read_tool_list(CHECKOUT).packages


def test_cache_directory() -> None:
    assert cache_directory({"ORLOP_CACHE": "/c"}) == Path("/c")
    assert cache_directory({"XDG_CACHE_HOME": "/x"}) == Path("/x/orlop")
    assert cache_directory({}).name == "orlop"
