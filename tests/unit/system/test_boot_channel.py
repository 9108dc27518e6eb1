"""The boot channel: finding the port, keeping early events, never waiting for the host."""

import json
import os
from pathlib import Path
from typing import Any

from orlop.system.boot_channel import MAX_PENDING_BYTES, BootChannel, find_port


def received(descriptor: int) -> list[dict[str, Any]]:
    return [json.loads(line) for line in os.read(descriptor, 1 << 20).splitlines()]


def test_finding_the_port(tmp_path: Path) -> None:
    for device, name in (("vport1p1", "org.orlop.agent.0"), ("vport1p2", "org.orlop.boot.0")):
        (tmp_path / device).mkdir()
        (tmp_path / device / "name").write_text(f"{name}\n")
    (tmp_path / "vport0p0").mkdir()
    assert find_port("org.orlop.boot.0", str(tmp_path)) == "/dev/vport1p2"
    assert find_port("org.orlop.none", str(tmp_path)) is None
    assert find_port("org.orlop.none", str(tmp_path / "missing")) is None


def test_early_events_are_kept(tmp_path: Path) -> None:
    fifo = tmp_path / "port"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    channel = BootChannel()
    channel.send("stage", name="kernel", uptime_s=1.5)
    channel.connect(None)
    channel.connect(str(fifo))
    channel.send("ready", services={"time": "running"})
    first, second = received(reading)
    assert first == {"event": "stage", "name": "kernel", "uptime_s": 1.5}
    assert second["event"] == "ready"
    assert second["uptime_s"] > 0
    os.close(reading)


def test_a_host_that_does_not_read_costs_a_bounded_buffer(tmp_path: Path) -> None:
    fifo = tmp_path / "port"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    channel = BootChannel()
    channel.connect(str(fifo))
    for number in range(10_000):
        channel.send("service", name="x" * 100, number=number)
    assert channel.is_pending
    assert len(channel._pending) <= MAX_PENDING_BYTES
    data = b""
    while channel.is_pending:
        data += os.read(reading, 1 << 20)
        channel.flush()
    data += os.read(reading, 1 << 20)
    numbers = [json.loads(line)["number"] for line in data.splitlines()]
    assert numbers == list(range(len(numbers)))
    os.close(reading)


def test_a_port_that_fails_is_forgotten(tmp_path: Path) -> None:
    channel = BootChannel()
    channel.connect(str(tmp_path / "missing"))
    channel.send("stage", name="x")
    channel.give_up()
    channel.send("stage", name="y")
    assert not channel.is_pending
