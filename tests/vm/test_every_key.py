"""Keys of the configuration that no other test sees at work on a machine: many in one boot."""

import http.client
import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from orlop.lib.partition_table import make_gpt
from orlop.lib.process import CommandError, run
from orlop.vm.machine import Machine
from orlop.vm.spec import Disk, Publish, UserNet
from tests.engine.containers.test_tls import make, sign
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.vm import guest
from tests.vm.lab import STATE_LABEL, Lab
from tests.vm.test_docker_cli import docker
from tests.vm.test_user_engine import user_api

MIB = 1 << 20
IMAGE, TLS_PORT, PASSWORD = "busybox:test", 2377, "correct-horse"
IN_TIME = ("orlop", "exec", "time", "/usr/bin/python3.13", "-I", "-S", "-c")
CHRONY = ("/run/time/chrony.conf", "/run/time/keys")
CERTIFICATES = {
    "ca_cert": "ca.pem",
    "ca_key": "ca-key.pem",
    "server_cert": "server.pem",
    "server_key": "server-key.pem",
}


def hash_of(password: str) -> str:
    return run(["openssl", "passwd", "-6", password], timeout_s=60).strip()


def config_for(certificates: Path) -> dict[str, object]:
    pem = {key: (certificates / file).read_text() for key, file in CERTIFICATES.items()}
    return {
        "hostname": "short",
        "fqdn": "long.fleet.example",
        "prefer_fqdn_over_hostname": True,
        "password": hash_of(PASSWORD),
        "groups": [{"crew": ["alice"]}],
        "users": [
            "default",
            {
                "name": "alice",
                "gecos": "Alice Liddell",
                "primary_group": "staff",
                "groups": ["docker"],
                "uid": 1500,
                "passwd": hash_of(PASSWORD),
                "homedir": "/home/wonderland",
                "shell": "/bin/ash",
            },
            {"name": "robot", "system": True},
            {"name": "shut", "no_create_home": True, "passwd": hash_of("x"), "lock_passwd": True},
        ],
        "orlop": {
            "cloud": {"datasources": ["hetzner"]},
            "time": {
                "servers": ["192.0.2.1:1123 key 7"],
                "keys": ["7 SHA256 HEX:00ff"],
                "pools": ["pool.example"],
            },
            "engine": {
                "search_registry": "search.example",
                "http_proxy": "http://proxy.example:3128",
                "no_proxy": ["search.example", "10.0.0.0/8"],
                "dns_options": ["ndots:2"],
                "userns_remap": "100000:65536",
                "debug": True,
                "tls": {
                    "enabled": True,
                    "listen": f"0.0.0.0:{TLS_PORT}",
                    **pem,
                },
            },
        },
    }


def partitioned_disk(lab: Lab, directory: Path) -> Disk:
    """A disk of 300 MiB whose only partition, with the state, has less than 128; and shall."""
    document = directory / "state/lib/orlop/conf.d/10.yml"
    document.parent.mkdir(parents=True)
    document.write_text(
        "orlop: {state: {grow: {partition: false, filesystem: false}}}\n"
        "power_state: {mode: poweroff, condition: false, timeout: 3, delay: now}\n"
        "runcmd: [echo begun > /root/begun, sleep 100000]\n"
    )
    disk = lab.disk("parted", 128)
    layout = make_gpt(STATE_LABEL, 128 * MIB, 512, bytes(range(32)))
    descriptor = os.open(disk.path, os.O_WRONLY)
    for write in layout.writes:
        os.pwrite(descriptor, write.data, write.offset_bytes)
    os.close(descriptor)
    place = ("-E", f"offset={layout.start_bytes}", disk.path, f"{layout.size_bytes >> 10}k")
    run(
        ["mkfs.ext4", "-q", "-F", "-L", STATE_LABEL, "-d", directory / "state", *place],
        timeout_s=60,
    )
    os.truncate(disk.path, 300 * MIB)
    return disk


@dataclass
class Place:
    """The machine, certificates, and what its consoles see of its users."""

    machine: Machine
    certificates: Path

    def fields(self, table: str, name: str) -> list[str]:
        """The line of *name* in passwd, group or shadow."""
        line = self.machine.succeed(f"orlop exec ssh grep ^{name}: /etc/{table}")
        return line.strip().split(":")


@pytest.fixture(scope="module")
def place(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("tls")
    make(directory, "ca", "-x509", "-subj", "/CN=ca")
    for name in ("server", "me"):
        sign(directory, name, "ca")
    with lab.machine(
        lab.kernel(),
        "every-key",
        config=config_for(directory),
        key=True,
        disks=(partitioned_disk(lab, directory),),
        nics=(UserNet(publish=(Publish(0, 22), Publish(0, TLS_PORT))),),
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        yield Place(machine, directory)


def test_the_machine_and_its_people(place: Place) -> None:
    machine = place.machine
    assert machine.succeed("hostname") == "long.fleet.example\n"
    assert json.loads(machine.succeed("orlop cloud --json"))["asked"] == ["hetzner"]
    chrony = [machine.succeed([*IN_TIME, f"print(open('{path}').read())"]) for path in CHRONY]
    assert "server 192.0.2.1 iburst port 1123 key 7" in chrony[0]
    assert "pool pool.example" in chrony[0]
    assert "7 SHA256 HEX:00ff" in chrony[1]

    gid = place.fields("group", "staff")[2]
    assert place.fields("passwd", "alice")[2:] == [
        *("1500", gid, "Alice Liddell", "/home/wonderland", "/bin/ash")
    ]
    assert "alice" in place.fields("group", "crew")[3]
    assert "alice" in place.fields("group", "docker")[3]
    assert int(place.fields("passwd", "robot")[2]) < 1000
    assert machine.succeed("orlop exec ssh ls /home").split() == ["rancher", "wonderland"]
    for name in ("rancher", "alice"):
        assert place.fields("shadow", name)[1].startswith("$6$"), name
    assert place.fields("shadow", "shut")[1] == "*"


def test_the_state_stays_as_large_as_it_is_told_to(place: Place) -> None:
    machine = place.machine

    def partition() -> int:
        return int(machine.succeed("cat /sys/class/block/vda1/size")) * 512

    def file_system() -> int:
        storage = guest.status(machine)["storage"]
        assert isinstance(storage, dict)
        return int(storage["size_bytes"])

    assert partition() < 128 * MIB
    machine.succeed("orlop config set orlop.state.grow.partition true")
    machine.wait_until(lambda: partition() > 290 * MIB, "the partition grows")
    assert file_system() < 128 * MIB
    machine.succeed("orlop config set orlop.state.grow.filesystem true")
    machine.wait_until(lambda: file_system() > 200 * MIB, "the file system grows")


def test_the_users_engine(place: Place, tmp_path: Path) -> None:
    (tmp_path / "image.tar").write_bytes(docker_archive([busybox_layer()], tags=[IMAGE]))
    with user_api(place.machine) as host:
        info = json.loads(docker(host, "info", "--format", "{{json .}}"))
        assert info["HttpProxy"] == "http://proxy.example:3128"
        assert info["NoProxy"] == "search.example,10.0.0.0/8"
        assert "name=userns" in info["SecurityOptions"]
        assert info["Debug"] is True
        docker(host, "load", "-i", str(tmp_path / "image.tar"))
        script = "cat /etc/resolv.conf /proc/self/uid_map"
        shown = docker(host, "run", "--rm", IMAGE, "busybox", "sh", "-c", script)
        assert "options ndots:2" in shown
        assert shown.split()[-3:] == ["0", "100000", "65536"]
        with pytest.raises(CommandError, match=r"search\.example"):
            docker(host, "search", "app")


def test_docker_over_tls_with_given_certificates(place: Place) -> None:
    machine, directory = place.machine, place.certificates
    context = ssl.create_default_context(cafile=str(directory / "ca.pem"))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the test's certificates have no key ids
    context.load_cert_chain(directory / "me.pem", directory / "me-key.pem")

    def ping() -> bytes:
        port = machine.host_port(TLS_PORT)
        connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=60)
        try:
            connection.request("GET", "/_ping")
            return connection.getresponse().read()
        finally:
            connection.close()

    def answers() -> bool:
        try:
            return ping() == b"OK"
        except OSError:
            return False

    machine.wait_until(answers, "Docker over TLS")
    # The authority's key is there to make certificates with for others.
    machine.succeed("mkdir /tmp/tls; orlop tls client you -o /tmp/you.tar")
    made = machine.succeed("tar xOf /tmp/you.tar $(tar tf /tmp/you.tar | grep '/cert.pem$')")
    (directory / "you.pem").write_text(made)
    subprocess.run(["openssl", "verify", "-CAfile", "ca.pem", "you.pem"], cwd=directory, check=True)


def test_the_machine_ends_if_it_shall_and_waits_no_longer_for_commands(place: Place) -> None:
    """So far a condition has kept it from that."""
    machine = place.machine
    machine.wait_until_succeeds("test -s /root/begun", timeout_s=120)
    machine.succeed("orlop config set power_state.condition true; sync")
    machine.power_cut()
    machine.start()
    machine.wait_for_power_off(timeout_s=180)
