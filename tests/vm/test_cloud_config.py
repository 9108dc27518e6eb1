"""A document as people write them for cloud-init, on the shipped image: begin, commands, end."""

from orlop.vm.machine import Machine
from tests.vm import guest
from tests.vm.lab import Lab

CONFIG: dict[str, object] = {
    "fqdn": "ship-1.fleet.example",
    "manage_etc_hosts": True,
    "package_update": False,
    "final_message": "all hands on deck: Orlop $VERSION from $DATASOURCE",
    "runcmd": ["hostname > /root/name", 'echo "$https_proxy" > /root/proxy; sync'],
    "orlop": {"engine": {"https_proxy": "proxy.example:3128"}},
    "power_state": {"mode": "poweroff", "message": "the commands have run"},
}


def console(machine: Machine) -> str:
    return (machine.directory / "console.log").read_text(errors="replace")


def test_a_machine_ends_once_its_commands_have_run(lab: Lab) -> None:
    with lab.machine(
        lab.kernel(), "brief", config=CONFIG, disks=(lab.state_disk(),), memory_mib=256
    ) as machine:
        machine.start()
        machine.wait_for_power_off(timeout_s=180)
        assert "all hands on deck: Orlop " in console(machine)
        assert " from none" in console(machine)

        machine.boot()
        guest.wait_for_services(machine)
        assert machine.succeed("cat /root/name") == "ship-1\n"
        assert machine.succeed("cat /root/proxy") == "http://proxy.example:3128\n"
        login = machine.succeed("orlop exec console sh -lc 'echo $HTTPS_PROXY $no_proxy'")
        assert login == "http://proxy.example:3128 localhost,127.0.0.1,::1\n"
        assert "127.0.1.1 ship-1.fleet.example ship-1\n" in machine.succeed(
            "cat /run/orlop/etc/hosts"
        )
        assert guest.services(machine)["runcmd"] == "skipped"
        # What is so anyway is said, and nothing is ignored.
        assert not [text for text in guest.warnings(machine) if "ignoring" in text]
