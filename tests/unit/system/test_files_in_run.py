"""What PID 1 writes for services, what it reads about them, and what it hands to itself."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from orlop.system import handover
from orlop.system.config import configuration
from orlop.system.config.configuration import Configuration, parse_answer
from orlop.system.network import hostname
from orlop.system.services import definitions
from orlop.system.services import files as service_files
from orlop.wire.compose import parse_service
from orlop.wire.compose_model import Json, Mount, MountKind


def targets(data: dict[str, Any]) -> dict[str, Mount]:
    found = service_files.extra_mounts(parse_service("web", data))
    return {mount.target: mount for mount in found}


def test_mounts_for_the_keys_of_the_system() -> None:
    assert set(targets({})) == {"/run/orlop/syslog", "/dev/log"}
    assert targets({})["/dev/log"].copy_symlink
    assert targets({})["/run/orlop/syslog"].read_only
    assert targets({"x-orlop": {"user_api": True}})["/run/orlop/docker"].read_only
    assert set(targets({"x-orlop": {"host_dev": True}})) == {"/run/orlop/syslog"}
    everything = {"syslog": False, "power": True, "api": True, "config": True}
    assert set(targets({"x-orlop": everything})) == {
        "/run/orlop/power.sock",
        "/run/orlop/system.sock",
        "/run/config.json",
    }


def test_the_sockets_of_docker_and_rancheros() -> None:
    names = ("docker", "system-docker")
    volumes = [f"/var/run/{name}.sock:/var/run/{name}.sock" for name in names]
    found = service_files.with_sockets(parse_service("web", {"volumes": [*volumes, "/a:/b"]}))
    link, socket, other = found.mounts
    assert (link.source, link.copy_symlink) == (service_files.USER_SOCKET_LINK, True)
    assert (socket.source, socket.target) == (
        "/run/orlop/system.sock",
        "/var/run/system-docker.sock",
    )
    assert (other.source, other.target) == ("/a", "/b")
    assert found.user_api
    plain = parse_service("web", {"volumes": ["/a:/b"]})
    assert service_files.with_sockets(plain) == plain


def test_a_mount_of_the_definition_wins() -> None:
    volumes = ["/run/orlop/syslog:/run/orlop/syslog"]
    assert set(targets({"volumes": volumes})) == {"/dev/log"}
    config = targets({"x-orlop": {"config": True}})["/run/config.json"]
    assert config == Mount(
        MountKind.BIND, "/run/config.json", "/run/orlop/config/web.json", read_only=True
    )


def test_each_service_is_told_its_own_part() -> None:
    whole = Configuration(
        {
            "hostname": "ship",
            "ssh_authorized_keys": ["key"],
            "orlop": {"time": {"servers": ["a"]}, "network": {"search": ["b"]}},
        }
    )

    def part(name: str) -> dict[str, Any]:
        return service_files.service_configuration(name, whole, ("tty1",))

    assert part("time") == {"servers": ["a"]}
    assert part("network") == {"search": ["b"], "hostname": "ship"}
    assert part("ssh") == {"disable_root": False}
    assert part("console") == {"consoles": ["tty1"], "recovery": False}
    assert part("syslog") == {}


def test_the_file_keeps_its_inode(tmp_path: Path) -> None:
    write = service_files.write_configuration
    assert write("time", {"servers": ["a", "b"]}, str(tmp_path))
    path = tmp_path / "time.json"
    inode = path.stat().st_ino
    assert not write("time", {"servers": ["a", "b"]}, str(tmp_path))
    assert write("time", {}, str(tmp_path))
    assert path.stat().st_ino == inode
    assert json.loads(path.read_text()) == {}
    assert path.stat().st_mode & 0o777 == 0o644


def test_names(tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.1\n")
    service_files.write_names("ship.example", str(tmp_path))
    assert (tmp_path / "hostname").read_text() == "ship.example\n"
    assert "127.0.1.1 ship.example ship\n" in (tmp_path / "hosts").read_text()
    assert (tmp_path / "resolv.conf").read_text() == "nameserver 192.0.2.1\n"
    service_files.write_names("ship", str(tmp_path), fqdn="ship.fleet.example")
    assert "127.0.1.1 ship.fleet.example ship\n" in (tmp_path / "hosts").read_text()


def test_host_names() -> None:
    full = "ship.fleet.example"
    assert Configuration({"fqdn": full}).hostname == "ship"
    assert Configuration({"fqdn": full, "hostname": "boat"}).hostname == "boat"
    both: dict[str, Json] = {"fqdn": full, "hostname": "boat", "prefer_fqdn_over_hostname": True}
    assert Configuration(both).hostname == full
    assert Configuration({"prefer_fqdn_over_hostname": True}).hostname is None


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"ship\n", "ship"), (b"a b\n", None), (b"\xff", None), (b"x" * 300, None), (b"", None)],
)
def test_the_networks_name_is_checked(tmp_path: Path, content: bytes, name: str | None) -> None:
    (tmp_path / "hostname").write_bytes(content)
    assert hostname.from_network(str(tmp_path)) == name
    assert hostname.from_network(str(tmp_path / "missing")) is None


def test_sources_in_order_of_precedence(tmp_path: Path) -> None:
    base = tmp_path / "lib/orlop"
    (base / "conf.d").mkdir(parents=True)
    (base / "services").mkdir()
    for name in ("conf.d/20.yml", "conf.d/10.yml", "conf.d/.x.yml", "conf.d/a.txt"):
        (base / name).touch()
    (base / "services/web.json").touch()
    firmware = tmp_path / "raw"
    firmware.touch()
    copy = Path(configuration.copy_path(f"{base}/conf.d/10.yml", str(base)))
    copy.parent.mkdir(parents=True)
    copy.touch()
    found = configuration.sources(
        str(tmp_path), str(firmware), command_line=True, cloud=["cloud:/answer.json"]
    )
    assert found == [
        f"services:{base}/services/web.json",
        f"config:{base}/conf.d/10.yml",
        f"good:{copy}",
        f"config:{base}/conf.d/20.yml",
        "cmdline:/proc/cmdline",
        f"config:{firmware}",
        "cloud:/answer.json",
    ]
    nothing = str(tmp_path / "none")
    assert configuration.sources(nothing, nothing) == []


def test_the_workers_answer_is_checked_again() -> None:
    found = parse_answer(
        {
            "config": {"hostname": "ship"},
            "origins": {"hostname": "a.yml:1"},
            "services": {
                "good": {"file": "s.yml", "definition": {"image": "console"}},
                "bad": {"file": "s.yml", "definition": {"imagee": "x"}},
            },
            "problems": ["b.yml:2: wrong"],
        }
    )
    assert found.hostname == "ship"
    assert list(found.services) == ["good"]
    assert found.service_files == {"good": "s.yml"}
    assert found.problems[0] == "b.yml:2: wrong"
    assert "imagee" in found.problems[1]
    assert parse_answer({"config": [], "services": 7, "problems": None}) == Configuration()


def test_looking_up_keys() -> None:
    found = Configuration({"orlop": {"services": {"ssh": {"enabled": False}}}, "hostname": 7})
    assert found.get("orlop.services.ssh.enabled") is False
    assert found.get("orlop.nothing.at.all") is None
    assert found.hostname is None
    assert not found.is_enabled("ssh")
    assert found.is_enabled("time")


def test_definitions_of_image_and_state(tmp_path: Path) -> None:
    for name, text in (
        ("good", '{"image": "good"}'),
        ("typo", '{"imagee": "x"}'),
        ("torn", '{"image": '),
        ("bare", None),
    ):
        (tmp_path / name).mkdir()
        if text is not None:
            (tmp_path / name / "service.json").write_text(text)
    extra = {name: parse_service(name, {}) for name in ("good", "mine")}
    files = {"good": "g.yml", "mine": "m.yml"}
    found = definitions.collect(Configuration(services=extra, service_files=files), tmp_path)
    assert list(found.services) == ["good", "mine"]
    assert found.sources == {"good": f"{tmp_path}/good/service.json", "mine": "m.yml"}
    assert len(found.problems) == 3
    assert "g.yml: service good exists in the system, ignoring" in found.problems
    assert definitions.collect(Configuration(), tmp_path / "none").problems


def test_owner_by_the_images_own_users(tmp_path: Path) -> None:
    etc = tmp_path / "web/rootfs/etc"
    etc.mkdir(parents=True)
    (etc / "passwd").write_text("web:x:101:102::/:/bin/false\n")
    (etc / "group").write_text("web:x:102:\n")
    owner = definitions.owner
    assert owner(parse_service("web", {"user": "web"}), tmp_path) == (101, 102)
    assert owner(parse_service("web", {"user": "7:8"}), tmp_path) == (7, 8)
    assert owner(parse_service("web", {"user": "nobody"}), tmp_path) == (0, 0)
    assert owner(parse_service("gone", {"user": "web"}), tmp_path) == (0, 0)


def test_handover_there_and_back() -> None:
    reading, writing = os.pipe()
    given = handover.Handover(
        engine={"sockets": {"/x": 7}},
        stages=[("kernel", 1.5)],
        warnings=["w"],
        stopped=["web"],
        channel=writing,
        reexecutions=2,
    )
    descriptor = handover.store(given)
    assert os.get_inheritable(descriptor)
    assert os.get_inheritable(writing)
    assert handover.load(descriptor) == given
    assert not os.get_inheritable(writing)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
    os.close(reading)
    os.close(writing)


@pytest.mark.parametrize(
    ("argv", "descriptor"),
    [([], None), (["--resume=5"], 5), (["--resume="], None), (["--resume=x", "--check"], None)],
)
def test_resuming_is_asked_for_by_number(argv: list[str], descriptor: int | None) -> None:
    assert handover.resume_descriptor(argv) == descriptor


def test_a_pipe_or_a_link_for_a_host_name_is_not_waited_for(tmp_path: Path) -> None:
    """The network service writes there: opening its pipe would hold up PID 1 for ever."""
    os.mkfifo(tmp_path / "hostname")
    assert hostname.from_network(str(tmp_path)) is None
    (tmp_path / "hostname").unlink()
    (tmp_path / "elsewhere").write_text("ship\n")
    (tmp_path / "hostname").symlink_to(tmp_path / "elsewhere")
    assert hostname.from_network(str(tmp_path)) is None


def test_names_are_not_written_through_what_somebody_put_there(tmp_path: Path) -> None:
    etc, victim = tmp_path / "etc", tmp_path / "victim"
    etc.mkdir()
    victim.write_text("as before")
    (etc / "hosts.new").symlink_to(victim)
    os.mkfifo(etc / "hostname.new")
    service_files.write_names("ship", str(etc))
    assert victim.read_text() == "as before"
    assert (etc / "hostname").read_text() == "ship\n"
    assert (etc / "hosts").stat().st_mode & 0o777 == 0o644
    assert not (etc / "hosts").is_symlink()
