"""The status: its fields are those that are documented; readers of /proc on crafted files."""

from pathlib import Path
from typing import cast

from orlop.engine.engine import Health
from orlop.system import status
from orlop.system.config.configuration import Configuration
from orlop.system.machine import Machine, Phase, StageTime
from orlop.system.network.addresses import Address, parse_if_inet6
from orlop.system.parameters import Parameters
from orlop.system.services.services import Services, ServiceState, ServiceStatus
from orlop.system.storage.state import State
from orlop.wire.compose_model import Json
from orlop.wire.config.table import SECRETS

DOCUMENT = Path(__file__).parents[3] / "docs/system-api.md"

WEB = ServiceStatus("web", ServiceState.RUNNING, "", Health.NONE, 7, 1, 5.0, ("db",), "web.yml")


class OneService:
    def statuses(self) -> list[ServiceStatus]:
        return [WEB]


def machine() -> Machine:
    found = Machine(Parameters(), release={"version": "1", "build_id": "2"}, phase=Phase.READY)
    found.stages = [StageTime("kernel", 1.0), StageTime("ready", 2.5)]
    found.state = State("disk", "/var", "/dev/vda", "ext4", "ORLOP_STATE", "u")
    return found


def test_every_field_is_documented() -> None:
    text = DOCUMENT.read_text()
    answer = status.machine_status(machine(), cast("Services", OneService()))
    assert answer["ready_s"] == 2.5
    storage, memory = answer["storage"], answer["memory"]
    assert isinstance(storage, dict)
    assert isinstance(memory, dict)
    assert storage["kind"] == "disk"
    for field in (*answer, *storage, *memory, *status.service_status(WEB)):
        assert f"`{field}`" in text, f"{DOCUMENT.name} lacks {field}"


def test_routes_are_documented() -> None:
    from orlop.system.routes import make_routes

    text = DOCUMENT.read_text()
    for route in make_routes(cast("object", None)):  # type: ignore[arg-type]
        assert route.pattern.replace("{name}", "NAME") in text


def test_a_service_in_json() -> None:
    assert status.service_status(WEB) == {
        "name": "web",
        "state": "running",
        "health": None,
        "pid": 7,
        "restarts": 1,
        "started_at": 5.0,
        "reason": "",
        "depends_on": ["db"],
        "source": "web.yml",
        "next_run_at": None,
    }


def test_secrets_are_not_shown() -> None:
    data: dict[str, Json] = {"orlop": {"time": {"keys": ["7 SHA256 HEX:00"], "servers": ["a"]}}}
    found = Configuration(data, secrets=SECRETS)
    shown = status.shown_configuration(found)
    assert "HEX" not in str(shown)
    assert shown["config"] == {"orlop": {"time": {"keys": "(hidden)", "servers": ["a"]}}}
    assert status.shown_configuration(found, "show")["config"] == data
    omitted = status.shown_configuration(found, "omit")["config"]
    assert omitted == {"orlop": {"time": {"servers": ["a"]}}}


def test_pressure_and_memory(tmp_path: Path) -> None:
    (tmp_path / "memory").write_text(
        "some avg10=1.50 avg60=0.00 avg300=0.00 total=1\nfull avg10=9.00 avg60=0 avg300=0 total=1\n"
    )
    (tmp_path / "cpu").write_text("garbage\n")
    assert status.pressure(str(tmp_path)) == {"memory": 1.5}
    (tmp_path / "meminfo").write_text("MemTotal: 4 kB\nMemAvailable: 2 kB\nMemFree: 1 kB\n")
    found = status.memory(str(tmp_path / "meminfo"))
    assert (found["total_bytes"], found["available_bytes"]) == (4096, 2048)
    assert "total_bytes" not in status.memory(str(tmp_path / "none"))


def test_kernel_records() -> None:
    assert status._kernel_record("30,339,5140900,-;NET: Registered\n SUBSYSTEM=x\n") == {
        "level": 6,
        "uptime_s": 5.1409,
        "text": "NET: Registered",
    }
    assert status._kernel_record("garbage") == {"level": 6, "uptime_s": 0.0, "text": ""}
    assert status.kernel_log("/nonexistent") == []


def test_ipv6_addresses() -> None:
    text = (
        "00000000000000000000000000000001 01 80 10 80       lo\n"
        "fe800000000000005054fffe123456ab 02 40 20 80     eth0\n"
        "20010db8000000000000000000000007 02 40 00 80     eth0\n"
        "20010db8000000000000000000000008 02 40 00 40     eth0\n"
        "short line\n"
    )
    assert parse_if_inet6(text) == [Address("eth0", "2001:db8::7/64")]


def test_warnings_are_kept_once_and_bounded() -> None:
    found = machine()
    for number in (1, 1, *range(200)):
        found.warn(f"w{number}")
    assert len(found.warnings) == 100
    assert len(set(found.warnings)) == 100
