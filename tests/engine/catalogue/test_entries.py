"""Every entry of the catalogue does its work, as its definition runs it.

What needs a kernel module that this kernel lacks has to say so, and to wait.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.engine.catalogue.conftest import definition
from tests.engine.registry.registry_host import OCI_MANIFEST, Registry, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.engine.catalogue.conftest import CatalogueEngine

TOOLS = """
    bash --version;bridge -V;conntrack --version;curl --version;dig -v;ethtool --version
    htop --version;iostat -V;iotop --version;ip -V;iperf3 --version;killall --version;lsof -v
    lsns --version;lscpu;ltrace --version;mpstat -V;mtr --version;nft --version
    nsenter --version;nstat --version;pidstat -V;pgrep --version;pmap --version;ps --version
    pstree --version;slabtop --version;socat -V;ss -V;strace --version;sysctl --version;tc -V
    tcpdump --version;top -V;unshare --version;vim --version;vmstat --version;watch --version
    wget --help;traceroute --help
"""


def get(port: int, path: str, headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def answers(port: int, path: str) -> bool:
    with contextlib.suppress(OSError):
        return get(port, path)[0] == 200
    return False


@pytest.fixture
def served(catalogue: CatalogueEngine) -> Iterator[CatalogueEngine]:
    """The engine, whose containers are removed afterwards."""
    yield catalogue
    _, containers = catalogue.request("GET", "/containers/json?all=1")
    for container in containers:
        catalogue.remove(container["Id"])


def test_metrics_are_what_prometheus_reads(served: CatalogueEngine) -> None:
    own = served.machine / "var/lib/orlop/metrics"
    own.mkdir(parents=True)
    (own / "backup.prom").write_text("backup_age_seconds 42\n")
    served.serve("metrics")
    served.wait_until(lambda: answers(9100, "/metrics"))
    _, content = get(9100, "/metrics")
    lines = content.decode().splitlines()
    names = {line.partition("{")[0].partition(" ")[0] for line in lines if line[:1] != "#"}
    assert {
        *("node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "node_load1"),
        *("node_network_receive_bytes_total", "node_boot_time_seconds", "node_uname_info"),
    } <= names
    assert "backup_age_seconds 42" in lines


def test_containers_are_among_the_metrics(served: CatalogueEngine) -> None:
    own = served.machine / "var/lib/orlop/metrics"
    reference = served.add("container-metrics")
    served.run("busy", ["/bin/sleep", "1000"], Image=reference)
    root = served.cgroup_root
    served.run(
        "watch",
        list(definition("container-metrics").command),
        Image=reference,
        Env=[f"CGROUPS={root.relative_to('/sys/fs/cgroup')}", "DOCKER_SOCKET=/run/engine/sock"],
        HostConfig={
            "Binds": [f"{own}:/var/lib/orlop/metrics", f"{served.directory}:/run/engine"],
            "CgroupnsMode": "host",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
        },
    )
    written = own / "containers.prom"
    served.wait_until(written.exists)
    found = re.findall(
        r'^(\w+)\{id="([^"]+)",name="([^"]+)"\} ([0-9.e+]+)$', written.read_text(), re.MULTILINE
    )
    measured = {(metric, name): float(value) for metric, _, name, value in found}
    assert measured["container_cpu_usage_seconds_total", "busy"] > 0
    assert {name for _, _, name, _ in found} == {"busy", "watch"}
    served.request("POST", "/containers/watch/stop?t=60")
    assert not written.exists()


def test_every_tool_of_the_toolbox_starts(served: CatalogueEngine) -> None:
    reference = served.add("toolbox")
    script = "\n".join(
        f"{tool} >/tmp/said 2>&1 || {{ echo 'failed: {tool}'; cat /tmp/said; }}"
        for line in TOOLS.strip().splitlines()
        for tool in line.strip().split(";")
    )
    served.run("tools", ["bash", "-c", script], Image=reference)
    assert served.wait("tools") == 0
    said = served.logs("tools").decode()
    assert said == ""


def test_the_toolbox_traces_a_program(served: CatalogueEngine) -> None:
    reference = served.add("toolbox")
    command = ["strace", "-f", "-e", "trace=execve", "ip", "link"]
    served.run("trace", command, Image=reference, HostConfig={"CapAdd": ["SYS_PTRACE"]})
    assert served.wait("trace") == 0
    assert 'execve("/usr/bin/ip"' in served.logs("trace").decode()


def test_the_registry_mirror_keeps_what_it_gave(served: CatalogueEngine, tmp_path: Path) -> None:
    origin = Registry(tmp_path / "origin")
    origin.start()
    try:
        config = origin.put_blob("tools/web", b"{}")
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": config,
                "size": 2,
            },
            "layers": [],
        }
        data = json.dumps(manifest).encode()
        origin.put_manifest("tools/web", "1", data, OCI_MANIFEST)
        reference = served.add("registry-mirror")
        served.run(
            "mirror",
            ["/usr/bin/docker-registry", "serve", "/etc/docker/registry/config.yml"],
            Image=reference,
            Env=[
                f"REGISTRY_PROXY_REMOTEURL=http://{origin.host}",
                "REGISTRY_HTTP_ADDR=127.0.0.1:5000",
                "OTEL_TRACES_EXPORTER=none",
            ],
            HostConfig={"NetworkMode": "host"},
        )
        served.wait_until(lambda: answers(5000, "/v2/"))
        accepted = {"Accept": OCI_MANIFEST}
        status, content = get(5000, "/v2/tools/web/manifests/1", accepted)
        assert (status, content) == (200, data), served.logs("mirror").decode()
        assert get(5000, f"/v2/tools/web/blobs/{config}") == (200, b"{}")
    finally:
        origin.stop()
    assert get(5000, f"/v2/tools/web/manifests/{digest_of(data)}", accepted) == (200, data)


def test_the_qemu_agent_answers_and_shuts_down_through_pid_1(served: CatalogueEngine) -> None:
    place = served.machine / "qga"
    place.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as power:
        power.bind(str(place / "power.sock"))
        power.listen()
        power.settimeout(60)
        served.serve(
            "qemu-guest-agent",
            ["/usr/sbin/qemu-ga", "--method=unix-listen", "--path=/run/orlop/agent.sock", "-t/tmp"],
            Binds=[f"{place}:/run/orlop"],
        )
        served.wait_until((place / "agent.sock").exists)
        with socket.socket(socket.AF_UNIX) as agent:
            agent.settimeout(60)
            agent.connect(str(place / "agent.sock"))
            agent.sendall(b'{"execute": "guest-network-get-interfaces"}\n')
            with agent.makefile("rb") as replies:
                assert any(
                    item["name"] == "lo" for item in json.loads(replies.readline())["return"]
                )
            agent.sendall(b'{"execute": "guest-shutdown", "arguments": {"mode": "reboot"}}\n')
            asked, _ = power.accept()
            with asked:
                assert asked.recv(64) == b"reboot\n"


def test_vmwares_agent_says_that_this_is_no_vmware(served: CatalogueEngine) -> None:
    served.serve("open-vm-tools", RestartPolicy={"Name": "no"})
    assert served.wait("open-vm-tools") == 0
    assert "no virtual machine of VMware" in served.logs("open-vm-tools").decode()


def test_nfs_says_what_cannot_be_mounted_and_why(served: CatalogueEngine) -> None:
    state = served.machine / "var/lib/orlop/nfs"
    state.mkdir(parents=True)
    (state / "mounts").write_text("# a comment\n127.0.0.1:/srv data\n127.0.0.1:/srv ../bad\n")
    served.serve("nfs-client")
    said = served.wait_for_log("nfs-client", "is no name of a directory below /mnt")
    assert "cannot mount 127.0.0.1:/srv on /mnt/data" in said
    if "nfs" not in Path("/proc/filesystems").read_text():
        assert "this kernel has no NFS" in said
    served.request("POST", "/containers/nfs-client/stop?t=60")
    assert served.inspect("nfs-client")["State"]["ExitCode"] == 0


def test_iscsi_keeps_its_name_and_says_what_is_missing(served: CatalogueEngine) -> None:
    if Path("/sys/class/iscsi_transport/tcp").exists():
        pytest.skip("this kernel has iSCSI: what it says without is not to be seen")
    served.serve("iscsi")
    said = served.wait_for_log("iscsi", "this kernel has no iSCSI")
    name = (served.machine / "var/lib/orlop/iscsi/initiatorname.iscsi").read_text().strip()
    assert name.startswith("InitiatorName=iqn.")
    assert name in said
    assert (served.machine / "var/lib/orlop/iscsi/iscsid.conf").exists()
    served.remove("iscsi")
    served.serve("iscsi")
    assert name in served.wait_for_log("iscsi", "this kernel has no iSCSI")


@pytest.mark.long
def test_cron_runs_a_line_at_its_time(served: CatalogueEngine) -> None:
    state = served.machine / "var/lib/orlop/cron"
    state.mkdir(parents=True)
    (state / "root").write_text("* * * * * echo done > /var/lib/orlop/cron/result\n")
    served.serve("cron")
    served.wait_until((state / "result").exists, timeout_s=180)


def test_cron_reads_its_table_and_has_the_docker_command(served: CatalogueEngine) -> None:
    state = served.machine / "var/lib/orlop/cron"
    state.mkdir(parents=True, exist_ok=True)
    (state / "root").write_text("0 4 * * * docker image prune --force\n")
    served.serve("cron")
    served.wait_for_log("cron", "started")
    code, output = served.execute("cron", ["docker", "--version"])
    assert (code, output[:14]) == (0, b"Docker version")


def test_the_fleet_gives_locks_and_forgets_none(served: CatalogueEngine) -> None:
    def lock(name: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", 7870, timeout=60)
        try:
            body = json.dumps({"client_params": {"id": name, "group": "default"}})
            headers = {"fleet-lock-protocol": "true"}
            connection.request("POST", "/v1/pre-reboot", body, headers)
            return connection.getresponse().status
        finally:
            connection.close()

    served.serve("fleet")
    served.wait_until(lambda: answers(7870, "/metrics"))
    assert (lock("a"), lock("b")) == (200, 409), served.logs("fleet").decode()
    code, output = served.execute("fleet", ["/usr/bin/fleet", "status", "default"])
    assert code == 0, output
    assert list(json.loads(output)["holders"]) == ["a"]
    served.remove("fleet")
    served.serve("fleet")
    served.wait_until(lambda: answers(7870, "/metrics"))
    assert (lock("b"), lock("a")) == (409, 200)
