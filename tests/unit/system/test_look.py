"""What PID 1 sees for others: sockets that listen and whose they are; disks and what is on them."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest

from orlop.lib.errors import Unavailable
from orlop.system import look_routes
from orlop.system.network.listeners import owner_of, parse_sockets, read_listeners
from orlop.system.storage import disks
from orlop.system.storage.state import State
from orlop.wire.compose_model import Json

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
REST = "00000000:00000000 00:00000000 00000000     0        0"


def test_sockets_that_listen() -> None:
    text = (
        f"{HEAD}   0: 0100007F:1F90 00000000:0000 0A {REST} 4711 1 0 100 0 0 10 0\n"
        f"   1: 0100007F:1F91 0100007F:D431 01 {REST} 4712 1 0 100 0 0 10 0\n"
    )
    (found,) = parse_sockets("tcp", text)
    assert (found.protocol, found.address, found.port, found.inode) == (
        *("tcp", "127.0.0.1", 8080),
        4711,
    )
    six = f"{HEAD}   0: {'0' * 32}:0016 {'0' * 32}:0000 0A {REST} 12 1 0\n"
    (found,) = parse_sockets("tcp6", six)
    assert (found.protocol, found.address, found.port) == ("tcp", "::", 22)
    assert parse_sockets("udp", six) == []


def test_a_socket_of_this_process_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        rows = [row for row in read_listeners() if isinstance(row, dict) and row["port"] == port]
    assert len(rows) == 1
    assert rows[0]["pid"] == os.getpid()
    assert rows[0]["address"] == "127.0.0.1"
    assert rows[0]["program"]


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("0::/system/ssh\n", ("system", "ssh")),
        ("0::/user/abc/inner\n", ("user", "abc")),
        ("0::/init\n", ("init", "")),
        ("", ("kernel", "")),
    ],
)
def test_owners(text: str, owner: tuple[str, str]) -> None:
    assert owner_of(text) == owner


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    def write(path: str, text: str) -> None:
        (tmp_path / "sys" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "sys" / path).write_text(text)

    for path, text in {
        "sda/size": "4096\n",
        "sda/removable": "0\n",
        "sda/ro": "1\n",
        "sda/queue/rotational": "1\n",
        "sda/device/vendor": "ACME    \n",
        "sda/device/model": "Disk 3000\n",
        "sda/device/state": "running\n",
        "sda/device/ioerr_cnt": "0x2\n",
        "sda/device/hwmon/hwmon0/temp1_input": "41000\n",
        "sda/sda1/size": "2048\n",
        "sda/sda1/partition": "1\n",
        "sda/sda1/uevent": "DEVNAME=sda1\nPARTNAME=state\n",
        "sda1/partition": "1\n",
        "loop0/size": "8\n",
    }.items():
        write(path, text)
    return tmp_path / "sys"


def test_disks_and_partitions(sysfs: Path, tmp_path: Path) -> None:
    state = State("disk", device=f"{tmp_path}/sda1")
    (disk,) = disks.read_disks(state, str(sysfs), str(tmp_path))
    assert isinstance(disk, dict)
    assert disk["size_bytes"] == 2 << 20
    assert (disk["vendor"], disk["model"], disk["read_only"]) == ("ACME", "Disk 3000", True)
    assert disk["health"] == {"state": "running", "io_errors": 2, "temperature_c": 41.0}
    parts: Json = disk["partitions"]
    assert isinstance(parts, list)
    (part,) = parts
    assert isinstance(part, dict)
    assert (part["label"], part["number"], part["size_bytes"]) == ("state", 1, 1 << 20)
    content = part["content"]
    assert isinstance(content, dict)
    assert content["is_state"] is True
    assert content["mounts"] == []


def test_what_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "in_force", lambda: ("/opt",))
    assert disks.persistence(None)["kind"] == "memory"
    assert disks.persistence(State("memory"))["paths"] == []
    kept = disks.persistence(State("disk", device="/dev/vda1"))
    assert (kept["kind"], kept["device"]) == ("disk", "/dev/vda1")
    assert kept["paths"] == ["/root", "/home", "/mnt", "/var", "/opt"]


def test_looks_that_hang_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look_routes, "LIMIT_S", 0.01)
    answers, looking = threading.Event(), set[object]()

    async def ask() -> None:
        for _ in range(look_routes.MAX_LOOKS):
            with pytest.raises(Unavailable, match="no answer within"):
                await look_routes.look(looking, lambda: answers.wait(60))
        with pytest.raises(Unavailable, match="hangs"):
            await look_routes.look(looking, lambda: True)
        answers.set()
        while looking:
            await asyncio.sleep(0.001)
        monkeypatch.setattr(look_routes, "LIMIT_S", 60.0)
        assert await look_routes.look(looking, lambda: True)

    asyncio.run(ask())
