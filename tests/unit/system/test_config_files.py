"""Files of the configuration: where they go, and that they are what was asked for."""

import os
from pathlib import Path
from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.system import commands, kernel_settings, time_zone
from orlop.system.config import files as config_files
from orlop.system.config.files import File


def entry(path: str, **more: Any) -> dict[str, Any]:
    return {"path": path, "content": "x", "permissions": "0640", "owner": "1:2", **more}


def test_where_files_go() -> None:
    files, problems = config_files.plan(
        [
            entry("/root/a"),
            entry("/var/app/b"),
            entry("/home/rancher/.docker/config.json"),
            entry("/etc/motd"),
            entry("/etc/docker/certs.d/registry.example/ca.crt"),
            entry("/etc/c", container="syslog", content="/wA=", encoding="base64"),
            entry("/var/lib/orlop/conf.d/x.yml"),
            entry("/" + "a/" * 200 + "b"),
        ]
    )
    assert [(file.service, file.path) for file in files] == [
        ("", "/var/lib/orlop/root/a"),
        ("", "/var/app/b"),
        ("", "/var/lib/orlop/home/rancher/.docker/config.json"),
        *((name, "/etc/motd") for name in config_files.READERS),
        *(
            (name, "/etc/docker/certs.d/registry.example/ca.crt")
            for name in (*config_files.READERS, "engine")
        ),
        ("syslog", "/etc/c"),
    ]
    assert files[-1] == File("syslog", "/etc/c", b"\xff\x00", 0o640, 1, 2)
    assert len(problems) == 2
    assert "is the machine's own" in problems[0]
    assert config_files.plan(None) == ([], [])


def test_a_file_that_would_keep_the_console_from_starting_is_none(tmp_path: Path) -> None:
    commands_of = tmp_path / "console/rootfs/usr/bin"
    commands_of.mkdir(parents=True)
    for name in ("busybox", "orlop"):
        (commands_of / name).write_text("")
        (commands_of / name).chmod(0o755)
    (commands_of / "sh").symlink_to("busybox")
    (tmp_path / "console/rootfs/bin").symlink_to("usr/bin")
    (tmp_path / "console/rootfs/etc").mkdir()
    paths = ("/etc", "/bin/sh", "/usr/bin/orlop/x", "/bin/orlop", "/etc/new/er", "/etc/new")
    files, problems = config_files.plan([entry(path) for path in paths], tmp_path)
    assert {file.path for file in files} == {"/bin/orlop", "/etc/new/er"}
    assert [problem.removeprefix("write_files: ") for problem in problems] == [
        "/etc in console: it is a directory",
        "/bin/sh in console: it is a link to the program busybox, which has other names as well",
        "/usr/bin/orlop/x in console: Not a directory",
        "/etc/new: another file is above or below it",
    ]
    reserved: list[Any] = [entry("/var/lib/orlop/x")]
    with pytest.raises(InvalidArgument, match="machine's own"):
        config_files.refuse_new(reserved, None)
    config_files.refuse_new([*reserved, entry("/etc/a")], reserved)


def own(service: str, path: str, text: str) -> File:
    return File(service, path, text.encode(), 0o640, os.getuid(), os.getgid())


def test_files_of_services(tmp_path: Path) -> None:
    base = str(tmp_path / "files")
    first = [own("console", "/etc/motd", "one"), own("syslog", "/a b%/c", "two")]
    assert config_files.remounted(first, base) == {"console", "syslog"}
    assert config_files.write(first, base) == ({"console", "syslog"}, [])
    mount = next(iter(config_files.mounts("syslog", base)))
    assert (mount.target, mount.read_only) == ("/a b%/c", True)
    assert Path(mount.source).read_text() == "two"
    assert Path(mount.source).stat().st_mode & 0o777 == 0o640
    inode = Path(mount.source).stat().st_ino
    again = [own("console", "/etc/motd", "one"), own("syslog", "/a b%/c", "3")]
    assert config_files.remounted(again, base) == set()
    assert config_files.write(again, base) == (set(), [])
    assert Path(mount.source).read_text() == "3"
    assert Path(mount.source).stat().st_ino == inode
    assert config_files.write([], base) == ({"console", "syslog"}, [])
    assert list(config_files.mounts("syslog", base)) == []


def test_files_of_the_machine(tmp_path: Path) -> None:
    path = tmp_path / "a/b/c"
    config_files.write_below(str(path), own("", str(path), "one"))
    assert path.read_text() == "one"
    assert path.stat().st_mode & 0o777 == 0o640
    before = path.stat().st_ino
    config_files.write_below(str(path), own("", str(path), "one"))
    assert path.stat().st_ino == before
    config_files.write_below(str(path), own("", str(path), "two"))
    assert path.read_text() == "two"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to("elsewhere")
    target = str(tmp_path / "link/file")
    assert config_files.write([own("", target, "x")], str(tmp_path / "files"))[1] == [
        f"write_files: {target}: Not a directory"
    ]
    (tmp_path / "a/b/trap").symlink_to("c")
    trap = tmp_path / "a/b/trap"
    config_files.write_below(str(trap), own("", str(trap), "three"))
    assert not trap.is_symlink()
    assert path.read_text() == "two"
    assert sorted(os.listdir(tmp_path / "a/b")) == ["c", "trap"]


def test_scripts(tmp_path: Path) -> None:
    import subprocess

    text = commands.script(commands.BOOTCMD, ["cd /", "pwd; false", ["echo", "it's", "a b"], "if"])
    path = tmp_path / "script"
    path.write_text(text.replace("if\n", "exit_code=7\n"))
    done = subprocess.run(["sh", path], capture_output=True, text=True, check=False)
    assert done.stdout == "/\nit's a b\n"
    assert done.stderr == "command 2 ended with status 1\n"
    assert done.returncode == 1
    assert commands.script(commands.RUNCMD, []) == commands.script(commands.RUNCMD, None) == ""
    assert "docker.sock" in commands.script(commands.RUNCMD, ["true"])


def test_when_commands_run(tmp_path: Path) -> None:
    path = str(tmp_path / "config/ran.json")
    for when in ("boot", "instance", "once"):
        assert commands.has_run(when, "i-1", path) == ""
    commands.note_run("i-1", path)
    assert commands.has_run("boot", "i-1", path) == ""
    assert commands.has_run("instance", "i-1", path) == "has run on this instance"
    assert commands.has_run("instance", "i-2", path) == ""
    assert commands.has_run("once", "i-2", path) == "has run once"


@pytest.mark.parametrize("name", ["vm.swappiness", "vm/swappiness"])
def test_settings_of_the_kernel_come_and_go(tmp_path: Path, name: str) -> None:
    (tmp_path / "vm").mkdir()
    setting, before = tmp_path / "vm/swappiness", str(tmp_path / "before")
    setting.write_text("60\n")
    root = str(tmp_path)
    assert kernel_settings.apply_sysctls({name: "10"}, root, before) == {}
    assert setting.read_text().split() == ["10"]
    assert kernel_settings.apply_sysctls({name: "20"}, root, before) == {}
    problems = kernel_settings.apply_sysctls({name: "20", "no.such": "1"}, root, before)
    assert problems == {"no.such": "No such file or directory"}
    setting.write_text("20\n")
    assert kernel_settings.apply_sysctls({}, root, before) == {}
    assert setting.read_text().split()[0] == "60"
    assert kernel_settings.file_of("net/ipv4/conf/eth0.1/x") == "net/ipv4/conf/eth0.1/x"


def test_the_time_zone(tmp_path: Path) -> None:
    table = tmp_path / "timezones"
    table.write_text("Europe/Oslo CET-1CEST,M3.5.0,M10.5.0/3\n")
    time_zone.apply("", str(table), str(tmp_path))
    assert (tmp_path / "timezone").read_text() == "Etc/UTC\n"
    assert (tmp_path / "localtime").read_bytes().endswith(b"\nUTC0\n")
    time_zone.apply("Europe/Oslo", str(table), str(tmp_path))
    assert (tmp_path / "localtime").read_bytes().endswith(b"\nCET-1CEST,M3.5.0,M10.5.0/3\n")
    with pytest.raises(InvalidArgument, match="no time zone Europe/Olso"):
        time_zone.apply("Europe/Olso", str(table), str(tmp_path))
    assert (tmp_path / "timezone").read_text() == "Europe/Oslo\n"


def test_authorities(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_text("one\n")
    files = config_files.authorities(["two", "three\n"], packaged=tmp_path)
    assert [(f.service, f.data) for f in files] == [
        (name, b"one\ntwo\nthree\n") for name in ("engine", "cloud")
    ]
