"""The configuration worker: what it reads, and the kernel's command line as a source."""

import json
import subprocess
import sys
from pathlib import Path

from orlop.system.config.worker import evaluate_bounded, read_sources
from orlop.wire.config.evaluate import Source

SOURCE = Path(__file__).parents[3] / "src"


def test_copies_belong_to_what_is_before_them(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hostname: a")
    (tmp_path / "b").write_bytes(b"hostname: b")
    found = read_sources([f"config:{tmp_path}/a", f"good:{tmp_path}/b", f"good:{tmp_path}/none"])
    assert found == [
        Source("config", f"{tmp_path}/a", b"hostname: a", (f"{tmp_path}/b", b"hostname: b"))
    ]


def test_kernel_parameters() -> None:
    line = (
        b"quiet orlop.debug orlop.debugg orlop.network.nameservers=[192.0.2.1,192.0.2.2] "
        b"orlop.network.interfaces.eth0.100.mtu=9000 orlop.services.ssh.enabled=maybe "
        b"cc.hostname=123 rancher.network.dns.search=[a,b] rancher.log "
        b'ssh_authorized_keys=x orlop.syslog.remote="udp://192.0.2.9:514" '
        b"orlop.time.keys=[secret]"
    )
    found = evaluate_bounded([Source("cmdline", "/proc/cmdline", line)])
    assert found.config == {
        "hostname": "123",
        "orlop": {
            "network": {
                "nameservers": ["192.0.2.1", "192.0.2.2"],
                "interfaces": {"eth0.100": {"mtu": 9000}},
                "search": ["a", "b"],
            },
            "syslog": {"remote": "udp://192.0.2.9:514"},
        },
    }
    assert found.origins["hostname",] == "kernel parameter"
    assert len(found.problems) == 3
    assert found.problems[0] == (
        "unknown kernel parameter orlop.debugg (did you mean orlop.debug?)"
    )
    assert "orlop.services.ssh.enabled: must be true or false" in found.problems[1]
    assert "orlop.time.keys[0]: must be ID TYPE SECRET" in found.problems[2]
    assert not any("secret" in problem for problem in found.problems)
    assert any("rancher.log: is a kernel parameter here" in notice for notice in found.notices)


def test_the_process(tmp_path: Path) -> None:
    path = tmp_path / "a.yml"
    path.write_text("hostname: ship\n")
    (tmp_path / "b.yml").write_bytes(b"[" * (10 << 20))
    command = [sys.executable, "-m", "orlop", "worker", "config", f"config:{path}"]
    output = subprocess.run(
        [*command, f"config:{tmp_path}/b.yml", f"config:{tmp_path}/c.yml"],
        env={"PYTHONPATH": f"{SOURCE}:/usr/lib/python3/dist-packages"},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    answer = json.loads(output)
    assert answer["config"] == {"hostname": "ship"}
    assert answer["good"] == {str(path): "hostname: ship\n"}
    assert [problem.split(": ")[0] for problem in answer["problems"]] == [
        f"{tmp_path}/b.yml:1",
        f"{tmp_path}/c.yml",
    ]
