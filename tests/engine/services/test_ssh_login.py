"""A login by key: our starter's key files with dropbear, in a network namespace of its own."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from orlop.services.ssh import main as ssh
from tests.engine.services.namespaces import (
    NetworkNamespace,
    network_namespace,
    running,
    wait_until,
)

pytestmark = [pytest.mark.engine, pytest.mark.root]


class Server:
    def __init__(self, root: Path, namespace: NetworkNamespace) -> None:
        self.root, self.namespace = root, namespace

    def ssh(self, key: Path, *command: str) -> "subprocess.CompletedProcess[str]":
        options = [
            *("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "ConnectTimeout=20"),
            *("-o", f"UserKnownHostsFile={self.root}/known", "-o", "IdentitiesOnly=yes"),
        ]
        argv = self.namespace.command("ssh", *options, "-i", str(key), "root@127.0.0.1", *command)
        return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    # Not below /tmp, which others may write to: dropbear looks at every directory above the keys.
    run = Path(tempfile.mkdtemp(dir="/run"))
    monkeypatch.setattr(ssh, "RUN_DIRECTORY", str(run))
    monkeypatch.setattr(ssh, "HOST_KEY", str(tmp_path / "host_key_ed25519"))
    for name in ("good", "bad"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / name)], check=True
        )
    keys = ssh.authorized_keys(
        {"ssh_authorized_keys": [(tmp_path / "good.pub").read_text().strip()]}, ""
    )
    (run / "authorized_keys").write_text(keys)
    (run / "authorized_keys").chmod(0o600)
    ssh.ensure_host_key(ssh.HOST_KEY)
    dropbear = shutil.which("dropbear", path="/usr/sbin:/usr/bin")
    assert dropbear is not None
    arguments = [dropbear, *ssh.dropbear_arguments()[1:], "-E", "-s"]
    with (
        network_namespace() as namespace,
        running(namespace.command(*arguments), tmp_path / "dropbear.log"),
    ):
        wait_until(lambda: ":22 " in namespace.run("ss", "-ltn"), "port 22")
        yield Server(tmp_path, namespace)
    shutil.rmtree(run)


def test_key_logs_in(server: Server, tmp_path: Path) -> None:
    done = server.ssh(tmp_path / "good", "id", "-u")
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


def test_other_key_and_no_key_do_not(server: Server, tmp_path: Path) -> None:
    done = server.ssh(tmp_path / "bad", "true")
    assert done.returncode == 255
    assert "Permission denied (publickey)" in done.stderr


def test_host_key_is_made_once(server: Server) -> None:
    before = Path(ssh.HOST_KEY).read_bytes()
    ssh.ensure_host_key(ssh.HOST_KEY)
    assert Path(ssh.HOST_KEY).read_bytes() == before
    assert Path(ssh.HOST_KEY).stat().st_mode & 0o077 == 0


def test_unfinished_host_key_of_a_crash_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "host_key"
    (tmp_path / "host_key.new").write_bytes(b"half")
    ssh.ensure_host_key(str(path))
    assert path.stat().st_size > 50
    assert not (tmp_path / "host_key.new").exists()


def test_standard_streams_pass_through(server: Server, tmp_path: Path) -> None:
    """As `docker -H ssh://` uses it: a command whose stdin and stdout are a connection."""
    argv = server.namespace.command(
        *("ssh", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no"),
        *("-o", f"UserKnownHostsFile={tmp_path}/known", "-i", str(tmp_path / "good")),
        *("root@127.0.0.1", "cat"),
    )
    data = bytes(range(256)) * 4000
    done = subprocess.run(argv, input=data, capture_output=True, check=True)
    assert done.stdout == data
