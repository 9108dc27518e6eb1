"""`orlop.recovery`: a shell on the console and nothing else, for when nothing else works."""

from orlop.lib.password_hash import hash_password
from tests.vm.lab import Lab

TIMEOUT_S = 120


def test_recovery_shell(lab: Lab) -> None:
    disk = lab.state_disk(64)
    medium = lab.kernel("orlop.recovery")
    with lab.machine(medium, "recovery", disks=(disk,)) as machine:
        machine.start()
        machine.wait_for_ready()
        with machine.serial_console() as console:
            # What is typed before the shell is there is not kept.
            console.send(b"\r")
            assert console.wait_for(b"# ", TIMEOUT_S)
            # Put together by the shell, so the echo of what was typed is no answer.
            console.send(b"echo mark$((40+2))\r")
            assert console.wait_for(b"mark42", TIMEOUT_S)
            console.send(b"echo services=$(orlop ps -q | wc -l)=\r")
            assert console.wait_for(b"services=1=", TIMEOUT_S)
            console.send(b"orlop status | cat\r")
            assert console.wait_for(b"ecovery", TIMEOUT_S)
            # The state partition is left alone, to be repaired.
            console.send(b"e2fsck -f -n /dev/vda && echo whole$((40+2))\r")
            assert console.wait_for(b"whole42", TIMEOUT_S)
            console.send(b"orlop poweroff\r")
            machine.wait_for_power_off()  # while the line is open: what it still holds is lost


def test_recovery_is_locked_once_there_is_a_password(lab: Lab) -> None:
    files = lab.scratch / "locked"
    (files / "lib/orlop").mkdir(parents=True)
    (files / "lib/orlop/recovery.hash").write_text(hash_password("secret", rounds=1000) + "\n")
    disk = lab.state_disk(64, content=files)
    with lab.machine(lab.kernel("orlop.recovery"), "locked", disks=(disk,)) as machine:
        machine.start()
        machine.wait_for_ready()
        with machine.serial_console() as console:
            console.send(b"echo open$((40+2))\r")
            for typed in (b"guess\r", b"secret\r"):
                assert console.wait_for(b"Recovery password: ", TIMEOUT_S)
                console.seen = b""
                console.send(typed)
            # What was typed to open the shell is its first command.
            assert console.wait_for(b"open42", TIMEOUT_S)
