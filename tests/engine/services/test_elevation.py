"""sudo, from the client to the record in the log, with the machine's own socket in namespaces."""

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.services.namespaces import running, wait_until
from tests.engine.services.people_world import CHECKOUT, World, world

pytestmark = [pytest.mark.engine, pytest.mark.root]

PASSWORD = "correct-horse"
LISTENER = """\
#include <poll.h>
#include <sys/wait.h>
#include "elevate.h"
int main(void)
{
	struct pollfd slot = {.fd = elevate_listen(), .events = POLLIN};
	while (poll(&slot, 1, 20) >= 0) {
		for (pid_t child; (child = waitpid(-1, 0, WNOHANG)) > 0;)
			elevate_reap(child);
		if (slot.revents)
			elevate_accept(slot.fd);
	}
}
"""
USERS = """\
users:
- {name: free, sudo: 'ALL=(ALL) NOPASSWD:ALL'}
- {name: asked, groups: [sudo], hashed_passwd: 'HASH'}
- {name: keyed, groups: [sudo]}
- {name: some, sudo: 'ALL=(ALL) NOPASSWD: /usr/bin/id -u, /usr/bin/tail *'}
- {name: watcher, groups: [orlop]}
- nobody1
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("world")
    (directory / "main.c").write_text(LISTENER)
    program = str(directory / "listener")
    subprocess.run(
        ["gcc", "-Wall", f"-I{CHECKOUT}/os/people", "-o", program, f"{directory}/main.c",
         f"{CHECKOUT}/os/people/elevate.c"], check=True,
    )  # fmt: skip
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", PASSWORD], capture_output=True, text=True, check=True
    ).stdout.strip()
    with world(directory) as found:
        found.configure(USERS.replace("HASH", hashed))
        found.write("/usr/lib/orlop/sudo", SUDO)
        found.run("chmod", "755", "/usr/lib/orlop/sudo", str(directory), str(directory.parent))
        with running(found.command(program), directory / "log"):
            wait_until(
                lambda: found.run("test", "-S", "/run/elevate/socket", check=False).returncode == 0
            )
            yield found


SUDO = """\
#!/bin/sh
exec /usr/bin/python3.13 -I -S /usr/lib/orlop/python cli sudo "$@"
"""


def sudo(place: World, user: str, *words: str) -> "subprocess.CompletedProcess[str]":
    argv = ("setpriv", f"--reuid={user}", "--clear-groups", "--regid=nogroup", "--no-new-privs")
    return place.run(*argv, "/usr/lib/orlop/sudo", *words, check=False, text="input")


def log_of(place: World) -> str:
    return (place.directory / "log").read_text()


def test_who_may_is_root_and_it_is_recorded(place: World) -> None:
    done = sudo(place, "free", "sh", "-c", 'id -u; cat; echo "$SUDO_USER $HOME $LD_X"; exit 7')
    assert (done.returncode, done.stdout) == (7, "0\ninputfree /root \n"), done.stderr
    log = log_of(place)
    assert "sudo: free from no terminal in /" in log
    assert "runs as root: " in log
    assert "ended with status 7 after" in log


def test_who_may_not_is_refused_and_it_is_recorded(place: World) -> None:
    done = sudo(place, "nobody1", "id", "-u")
    assert (done.returncode, done.stdout) == (1, "")
    assert "sudo: nobody1 may not run this as root" in done.stderr
    assert "refused: nobody1 may not run this as root: /usr/bin/id" not in log_of(place)
    assert "refused: nobody1 may not run this as root: id -u" in log_of(place)


def test_only_the_commands_of_the_rule(place: World) -> None:
    assert sudo(place, "some", "id", "-u").stdout == "0\n"
    assert sudo(place, "some", "/bin/id", "-u").stdout == "0\n"
    assert sudo(place, "some", "id").returncode == 1
    assert sudo(place, "some", "sh").returncode == 1
    assert sudo(place, "some", "tail", "-n1", "/run/orlop/people/shadow").returncode == 0
    assert sudo(place, "watcher", "/usr/bin/orlop", "config").returncode == 1
    assert "/usr/bin/orlop logs *" in sudo(place, "watcher", "-l").stderr


def test_a_program_of_the_directory_is_none_of_the_path(place: World) -> None:
    place.run("mkdir", "-p", "/run/trap")
    place.write("/run/trap/mistyped", "#!/bin/sh\necho trapped\n")
    place.run("chmod", "755", "/run/trap/mistyped")
    argv = ("setpriv", "--reuid=free", "--clear-groups", "--regid=nogroup")
    script = 'cd /run/trap && exec /usr/lib/orlop/sudo "$0"'
    done = place.run(*argv, "sh", "-c", script, "mistyped", check=False)
    assert (done.returncode, done.stdout) == (127, "")
    done = place.run(*argv, "sh", "-c", script, "./mistyped", check=False)
    assert (done.returncode, done.stdout) == (0, "trapped\n")


def test_a_rule_that_asks_is_not_met_without_a_password(place: World) -> None:
    done = sudo(place, "keyed", "id")
    assert "keyed has no password" in done.stderr
    assert sudo(place, "asked", "-n", "id").returncode == 1


def test_the_client_says_nothing_that_is_believed(place: World) -> None:
    """The environment of the caller does not get in, and neither does another user's name."""
    argv = ("setpriv", "--reuid=nobody1", "--clear-groups", "--regid=nogroup")
    done = place.run(
        *argv, "env", "SUDO_USER=free", "USER=root", "/usr/lib/orlop/sudo", "id", check=False
    )
    assert done.returncode == 1


PROMPT = "password for asked:"


def on_a_terminal(place: World, user: str, passwords: list[str], *words: str) -> str:
    """What `sudo` shows on a terminal, when each prompt gets the next of *passwords*."""
    argv = place.command(
        *("setpriv", f"--reuid={user}", "--clear-groups", "--regid=nogroup"),
        *("/usr/lib/orlop/sudo", *words),
    )
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(argv[0], argv)
    shown, typed = "", 0
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # nobody has it open any more
            break
        shown += data.decode(errors="replace")
        while typed < shown.count(PROMPT):
            os.write(terminal, f"{passwords[typed]}\n".encode())
            typed += 1
    os.waitpid(child, 0)
    os.close(terminal)
    return shown


def test_a_password_and_a_terminal(place: World) -> None:
    shown = on_a_terminal(place, "asked", [PASSWORD], "sh", "-c", "id -u; tty; stty -a")
    assert PASSWORD not in shown
    assert "\n0\r\n/dev/pts/" in shown, shown
    assert "icanon" in shown


def test_a_password_from_the_standard_input(place: World) -> None:
    """As Ansible gives it; what comes after the line is the command's."""
    argv = ("setpriv", "--reuid=asked", "--clear-groups", "--regid=nogroup", "/usr/lib/orlop/sudo")
    words = ("-H", "-S", "-p", "[what is it?] ", "-u", "root", "cat")
    done = place.run(*argv, *words, check=False, text=f"{PASSWORD}\nrest")
    assert (done.returncode, done.stdout) == (0, "rest"), done.stderr
    assert done.stderr == "[what is it?] "
    assert sudo(place, "free", "-H", "-S", "-n", "-u", "root", "id", "-u").stdout == "0\n"


def test_wrong_passwords(place: World) -> None:
    shown = on_a_terminal(place, "asked", ["x", "", "z"], "id")
    assert "uid=" not in shown
    assert "3 wrong passwords" in shown
    assert log_of(place).count(": wrong password\n") == 3


def has_ended(process: Path) -> bool:
    try:
        return "Z" in (process / "stat").read_text().split()
    except (FileNotFoundError, ProcessLookupError):  # the latter if it goes while it is read
        return True


def test_a_command_does_not_outlive_its_client(place: World) -> None:
    marker = Path(place.directory, "started")
    argv = place.command(
        *("setpriv", "--reuid=free", "--clear-groups", "--regid=nogroup", "/usr/lib/orlop/sudo"),
        *("sh", "-c", f"echo $$ > {marker}.new; mv {marker}.new {marker}; exec sleep 1000"),
    )
    client = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    wait_until(marker.exists, "the command")
    process = Path("/proc", marker.read_text().strip())
    assert process.exists()
    client.kill()
    client.wait()
    wait_until(lambda: has_ended(process), "its end")


def test_nobody_uses_up_all_places(place: World) -> None:
    """One user's connections are limited; another's still get an answer."""
    code = (
        "import socket,time,sys\n"
        "held=[]\n"
        "for _ in range(40):\n"
        "    s=socket.socket(socket.AF_UNIX); s.connect('/run/elevate/socket'); held.append(s)\n"
        "print('held', flush=True); sys.stdin.read()\n"
    )
    argv = place.command(
        "setpriv", "--reuid=nobody1", "--clear-groups", "--regid=nogroup", "python3", "-c", code
    )
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as greedy:
        assert greedy.stdout is not None
        assert greedy.stdout.readline() == b"held\n"
        assert sudo(place, "some", "id", "-u").stdout == "0\n"
        greedy.kill()
