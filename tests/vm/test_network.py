"""Networks between machines, without any server in them."""

from pathlib import Path

from orlop.vm.machine import Machine
from orlop.vm.spec import LinkNet
from tests.vm import guest
from tests.vm.lab import Lab


def static(address: str, address6: str) -> dict[str, object]:
    interface = {"addresses": [address, address6], "mtu": 1400}
    return {"orlop": {"network": {"interfaces": {"eth0": interface}, "nameservers": ["192.0.2.9"]}}}


def test_two_machines_on_a_cable(lab: Lab, tmp_path: Path) -> None:
    ends = [lab.scratch / "cable-a", lab.scratch / "cable-b"]
    nics = [
        LinkNet(ends[0], ends[1], "52:54:00:00:00:0a"),
        LinkNet(ends[1], ends[0], "52:54:00:00:00:0b"),
    ]
    with (
        lab.machine(
            lab.kernel(),
            "a",
            nics=(nics[0],),
            memory_mib=256,
            config=static("192.0.2.1/24", "fd00::1/64"),
        ) as a,
        lab.machine(
            lab.kernel(),
            "b",
            nics=(nics[1],),
            memory_mib=256,
            config=static("192.0.2.2/24", "fd00::2/64"),
        ) as b,
    ):
        a.start()
        b.boot()
        a.wait_for_ready()
        for machine in (a, b):
            guest.wait_for_services(machine)
        reaches(a, "192.0.2.2", "fd00::2")
        reaches(b, "192.0.2.1", "fd00::1")
        assert "mtu 1400" in a.succeed("ip link show")
        assert "nameserver 192.0.2.9" in a.succeed("cat /etc/resolv.conf")


def reaches(machine: Machine, address: str, address6: str) -> None:
    machine.wait_until_succeeds(f"ping -c 1 -W 5 {address}", timeout_s=60)
    machine.wait_until_succeeds(f"ping6 -c 1 -W 5 {address6}", timeout_s=60)
