"""What the system is for: Docker's clients on a laptop run an application on it, over SSH.

From the ISO, with a state disk. The application has a real database, and is back by itself with
its data when the power was cut.
"""

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.vm.machine import Machine
from orlop.vm.spec import Publish, UserNet
from tests.vm import guest
from tests.vm.lab import Lab
from tests.vm.laptop import DATABASE_IMAGE, Laptop, database_archive

APPLICATION = Path(__file__).parent / "application"
COMPOSE = (*("docker", "compose", "--project-directory"), str(APPLICATION))
OLD_COMPOSE = (*("docker-compose", "--project-directory"), str(APPLICATION))
WEB_PORT = 8080
PASSWORD = "correct-horse"


@pytest.fixture(scope="module")
def laptop(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop whose server has the image that everything here is made from."""
    nic = UserNet(publish=(Publish(0, 22), Publish(0, WEB_PORT)))
    with lab.machine(
        lab.cd(), "shop", key=True, disks=(lab.state_disk(2048),), memory_mib=512, nics=(nic,)
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        made = Laptop(machine, tmp_path_factory.mktemp("laptop") / "home", {"PASSWORD": PASSWORD})
        machine.wait_until(
            lambda: made.run("docker", "version").returncode == 0, "ssh and the engine answer"
        )
        assert DATABASE_IMAGE in made.docker("load", stdin=database_archive())
        yield made


def ask(machine: Machine, name: str = "") -> str:
    """The names of the application's visitors, *name* among them from now on if there is one."""
    connection = http.client.HTTPConnection("127.0.0.1", machine.host_port(WEB_PORT), timeout=30)
    try:
        connection.request("POST" if name else "GET", "/cgi-bin/visits", body=name)
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
        return text
    finally:
        connection.close()


def visitors(machine: Machine) -> list[str]:
    """As `ask`, of an application that may not be there yet."""
    try:
        return ask(machine).split()
    except (AssertionError, OSError, http.client.HTTPException):
        return []


def test_run(laptop: Laptop) -> None:
    words = ("run", "--rm", "-i", DATABASE_IMAGE)
    assert laptop.docker(*words, "cat", stdin=b"from the laptop\n") == "from the laptop\n"
    done = laptop.run("docker", *words, "sh", "-c", "echo wrong >&2; exit 9")
    assert (done.returncode, done.stdout, done.stderr) == (9, b"", b"wrong\n")
    assert laptop.docker("run", "--rm", DATABASE_IMAGE, "mariadbd", "--version").startswith(
        "mariadbd"
    )
    assert laptop.docker("ps", "-aq") == ""


def test_build(laptop: Laptop) -> None:
    context = str(APPLICATION / "web")
    made = laptop.docker("build", "-q", "-t", "web", context).strip()
    [image] = json.loads(laptop.docker("image", "inspect", "web"))
    assert image["Id"] == made
    assert image["Config"]["Cmd"][0] == "httpd"
    # The same context again costs nothing new.
    assert laptop.docker("build", "-q", context).strip() == made
    assert "visits" in laptop.docker("run", "--rm", "web", "ls", "/www/cgi-bin")


def test_application_and_its_data_survive_a_power_cut(laptop: Laptop) -> None:
    machine = laptop.machine
    laptop.succeed(*COMPOSE, "up", "--detach", "--wait", "--quiet-pull")
    assert sorted(health(laptop)) == ["database healthy", "web healthy"]
    for name in ("ada", "grace"):
        ask(machine, name)
    assert visitors(machine) == ["ada", "grace"]

    machine.power_cut()
    machine.boot()

    # Nobody does anything now.
    machine.wait_until(lambda: bool(visitors(machine)), "the application is back", timeout_s=240)
    assert visitors(machine) == ["ada", "grace"]
    assert ask(machine, "edsger").split() == ["ada", "grace", "edsger"]
    guest.wait_for_services(machine)
    machine.wait_until(
        lambda: sorted(health(laptop)) == ["database healthy", "web healthy"],
        "all is healthy again",
        timeout_s=120,
    )


def test_older_compose_manages_the_same_application(laptop: Laptop) -> None:
    """Follows the test before: what that left running is stopped, started, looked at, ended."""
    machine = laptop.machine
    laptop.succeed(*OLD_COMPOSE, "restart", "web")
    machine.wait_until(lambda: len(visitors(machine)) == 3, "the web service is back")
    assert "ready for connections" in laptop.succeed(*OLD_COMPOSE, "logs", "database")
    client = ("mariadb", "--host=127.0.0.1", "--user=shop", f"--password={PASSWORD}", "shop", "-N")
    query = (*client, "--execute=select count(*) from visits")
    assert laptop.succeed(*OLD_COMPOSE, "exec", "-T", "database", *query).strip() == "3"
    laptop.succeed(*OLD_COMPOSE, "down", "--volumes")
    assert laptop.docker("ps", "-aq") == ""
    assert laptop.docker("volume", "ls", "-q") == ""


def health(laptop: Laptop) -> list[str]:
    """Service and health of each of the application's containers."""
    form = '{{.Label "com.docker.compose.service"}} {{.Status}}'
    lines = laptop.docker("ps", "--format", form).splitlines()
    return [f"{line.split()[0]} {line.rpartition('(')[2].rstrip(')')}" for line in lines]
