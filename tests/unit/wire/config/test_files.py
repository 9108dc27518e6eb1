"""`write_files`, commands, settings of the kernel: what is taken and what is refused."""

import base64
import gzip
from typing import Any

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.document import check_document
from orlop.wire.config.files import MAX_FILE_BYTES
from orlop.wire.located_yaml import parse_yaml

BOMB = base64.b64encode(gzip.compress(bytes(64 << 20), mtime=0)).decode()


def check(text: str) -> dict[str, Any]:
    return check_document(parse_yaml("c.yml", text)).data


def written(text: str) -> list[dict[str, Any]]:
    files: list[dict[str, Any]] = check(f"write_files:\n{text}")["write_files"]
    return files


def test_files_in_normal_form() -> None:
    packed = base64.b64encode(gzip.compress(b"\xff\x00")).decode()
    assert written(
        "- {path: /etc/motd, content: hello}\n"
        "- {path: //var/./x, content: 7, permissions: 0600, owner: root}\n"
        '- {path: /a, permissions: "755", owner: "10:20", container: syslog}\n'
        f"- {{path: /b, encoding: gz+b64, content: {packed}}}\n"
        "- path: /c\n  encoding: b64\n  content: |\n    aGVs\n    bG8=\n"
    ) == [
        {"path": "/etc/motd", "content": "hello", "permissions": "0644", "owner": "0:0"},
        {"path": "/var/x", "content": "7", "permissions": "0600", "owner": "0:0"},
        {
            "path": "/a",
            "content": "",
            "permissions": "0755",
            "owner": "10:20",
            "container": "syslog",
        },
        {
            "path": "/b",
            "content": "/wA=",
            "encoding": "base64",
            "permissions": "0644",
            "owner": "0:0",
        },
        {"path": "/c", "content": "hello", "permissions": "0644", "owner": "0:0"},
    ]


@pytest.mark.parametrize("mode", ["0644", "0640", "0400", "0755", "0o644", "'644'"])
def test_modes_as_people_write_them(mode: str) -> None:
    """0644 is 420, whose digits are those of a mode as well."""
    (file,) = written(f"- {{path: /a, permissions: {mode}}}\n")
    assert file["permissions"] == f"0{mode.strip("'")[-3:]}"


def test_what_came_out_may_go_in_again() -> None:
    first = written("- {path: /b, encoding: b64, content: /wA=}\n")
    assert check_document_of(first) == first


def check_document_of(files: list[dict[str, Any]]) -> object:
    from orlop.wire.config.words import document

    return check_document(document("again", ("write_files",), files)).data["write_files"]


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        ("{content: a}", r"c.yml:2: configuration: write_files\[0\]: needs a path"),
        ("{path: etc/motd}", r"write_files\[0\].path: must be the absolute path"),
        ("{path: /etc/../x}", "must be the absolute path"),
        ("{path: /etc/}", "must be the absolute path"),
        ("{path: /a, permissions: 644}", "must be in quotes or begin with 0"),
        ("{path: /a, permissions: 420}", "must be in quotes or begin with 0"),
        ("{path: /a, permissions: rw}", "must be octal digits"),
        ("{path: /a, owner: '1:x'}", "must be root, rancher or numbers"),
        ("{path: /a, encoding: bz2}", "must be text/plain, base64"),
        ("{path: /a, encoding: b64, content: '!'}", r"write_files\[0\].content: is no base64"),
        ("{path: /a, encoding: gz, content: abc}", "is no gzip"),
        ("{path: /a, encoding: gz+b64, content: H4sIAAAA}", "is no gzip"),
        (f"{{path: /a, encoding: gz+b64, content: {BOMB}}}", f"longer than {MAX_FILE_BYTES}"),
        ("{path: /a, contents: b}", r"write_files\[0\].contents: unknown key"),
        ("{path: /a, content: [a]}", "must be a text"),
        ("/etc/motd", r"write_files\[0\]: must be a map"),
    ],
)
def test_files_that_are_refused(item: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=problem):
        written(f"- {item}\n")


def test_files_are_added_to() -> None:
    assert check("write_files+: [{path: /a}]")["write_files+"][0]["path"] == "/a"
    with pytest.raises(InvalidArgument, match="beside write_files"):
        check("write_files+: [{path: /a}]\nwrite_files: []")


def test_commands() -> None:
    assert check("runcmd: [echo a, [echo, b, 3]]\nbootcmd: []") == {
        "runcmd": ["echo a", ["echo", "b", "3"]],
        "bootcmd": [],
    }
    for text in ("runcmd: echo", "runcmd: [{a: b}]", "runcmd: [[]]", "runcmd: [7]"):
        with pytest.raises(InvalidArgument, match="runcmd"):
            check(text)
    with pytest.raises(InvalidArgument, match="must be one of instance, boot, once"):
        check("orlop: {runcmd: always}")


def test_commands_of_rancheros_run_at_each_boot() -> None:
    found = check_document(parse_yaml("c.yml", "runcmd: [a]\nrancher: {log: true}\n"))
    assert found.data["orlop"] == {"runcmd": "boot"}
    assert any("run at each boot" in notice.text for notice in found.notices)
    own = check("runcmd: [a]\nrancher: {log: true}\norlop: {runcmd: once}\n")
    assert own["orlop"] == {"runcmd": "once"}


def test_settings_of_the_kernel() -> None:
    text = "orlop: {sysctl: {net.ipv4.ip_forward: true, vm.swappiness: 10, kernel/x.y: ' a  b'}}"
    assert check(text)["orlop"]["sysctl"] == {
        "net.ipv4.ip_forward": "1",
        "vm.swappiness": "10",
        "kernel/x.y": "a b",
    }
    modules = check("orlop: {modules: ['nbd  nbds_max=8 x=a,b', fs-vfat]}")["orlop"]["modules"]
    assert modules == ["nbd nbds_max=8 x=a,b", "fs-vfat"]
    for wrong, problem in (
        ("sysctl: {vm: 1}", "is no name below /proc/sys"),
        ("sysctl: {vm/../x: 1}", "is no name below /proc/sys"),
        ("sysctl: {vm.x: [1]}", "must be a string"),
        ("sysctl: {vm.x: ''}", "must be a value of one line"),
        ("sysctl: [a]", "must be a map"),
        ("modules: ['nbd nbds_max']", "'nbds_max' is no parameter"),
        ("modules: [../x]", "must be the name of a module"),
    ):
        with pytest.raises(InvalidArgument, match=problem):
            check(f"orlop: {{{wrong}}}")


def test_mounts() -> None:
    assert check(
        "mounts:\n"
        "- [LABEL=data, /mnt/data]\n"
        '- [vdb, /mnt/a/b, "", "", "0", 2]\n'
        "- [/dev/disk/by-id/x, /mnt/c, ext4, 'ro,noatime', 0, 0]\n"
        "- [/var/x, /mnt/d, bind, bind]\n"
        "- [tmpfs, /mnt/e, tmpfs, size=1m]\n"
    )["mounts"] == [
        ["LABEL=data", "/mnt/data", "auto", "defaults"],
        ["/dev/vdb", "/mnt/a/b", "auto", "defaults"],
        ["/dev/disk/by-id/x", "/mnt/c", "ext4", "ro,noatime"],
        ["/var/x", "/mnt/d", "none", "bind"],
        ["tmpfs", "/mnt/e", "tmpfs", "size=1m"],
    ]
    for entry, problem in (
        ("[a]", "must be a list of device, directory"),
        ("LABEL=a /mnt/a", "must be a list of device, directory"),
        ("[LABEL=a, data]", "must be below /mnt"),
        ("[LABEL=a, /mnt/../etc]", "must be below /mnt"),
        ("[LABEL=a, /mnt/a, zfs]", "the type must be one of"),
        ("[proc, /mnt/a, proc]", "the type must be one of"),
        ("[/etc/x, /mnt/a, ext4]", "must be LABEL=, UUID=.* or /dev/"),
        ("[/dev/../x, /mnt/a, ext4]", "must be LABEL=, UUID=.* or /dev/"),
        ("[/var, /mnt/a, none]", "for a directory and the option bind"),
        ("[LABEL=a, /mnt/a, ext4, 'a b']", "must be words with commas"),
    ):
        with pytest.raises(InvalidArgument, match=problem):
            check(f"mounts:\n- {entry}\n")


def test_names_of_cloud_init() -> None:
    text = "ntp: {servers: [a.example], enabled: true}\nrancher: {ssh: {daemon: false, port: 2}}\n"
    found = check_document(parse_yaml("c.yml", text))
    assert found.data == {
        "orlop": {
            "time": {"servers": ["a.example"]},
            "services": {"time": {"enabled": True}, "ssh": {"enabled": False}},
            "ssh": {"port": 2},
        }
    }
    assert not [notice.text for notice in found.notices if notice.ignored]
    assert "c.yml:1: configuration: ntp.servers: is called orlop.time.servers here" in [
        notice.text for notice in found.notices
    ]
