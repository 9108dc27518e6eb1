"""The API on TCP: only for clients with a certificate, and with all that a socket can do."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orlop.lib.authority import Authority
from orlop.lib.certificate import Purpose
from orlop.lib.process import run
from tests.engine.containers.engine_host import UserEngine

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.root, pytest.mark.engine]


@pytest.fixture(scope="module")
def certificates() -> Iterator[Path]:
    """An authority with a server and a client, and a client that another one has signed."""
    with tempfile.TemporaryDirectory(prefix="tls-") as name:
        directory = Path(name)
        for authority in ("ca", "other-ca"):
            make(directory, authority, "-x509", "-subj", f"/CN={authority}")
        sign(directory, "server", "ca")
        sign(directory, "cert", "ca")
        sign(directory, "stranger", "other-ca")
        (directory / "key.pem").write_bytes((directory / "cert-key.pem").read_bytes())
        yield directory


def make(directory: Path, name: str, *words: str) -> None:
    files = ["-keyout", f"{directory}/{name}-key.pem", "-out", f"{directory}/{name}.pem"]
    algorithm = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    run(["openssl", "req", *algorithm, *files, *words], timeout_s=60)


def sign(directory: Path, name: str, authority: str) -> None:
    by = ["-CA", f"{directory}/{authority}.pem", "-CAkey", f"{directory}/{authority}-key.pem"]
    host = ["-addext", "subjectAltName=IP:127.0.0.1"]
    make(directory, name, "-x509", "-subj", f"/CN={name}", *by, *host)


@pytest.fixture
def tls_engine(user_engine: UserEngine, certificates: Path) -> UserEngine:
    engine = user_engine
    engine.kill()
    engine.options = (
        "--tcp=127.0.0.1:0",
        f"--tls-ca={certificates}/ca.pem",
        f"--tls-cert={certificates}/server.pem",
        f"--tls-key={certificates}/server-key.pem",
    )
    run(["ip", "link", "set", "lo", "up"], timeout_s=10)
    engine.start()
    engine.wait_until(lambda: "serving TLS" in engine.log())
    return engine


def port_of(engine: UserEngine) -> int:
    found = re.findall(r"serving TLS on port (\d+)", engine.log())
    return int(found[-1])


def docker(engine: UserEngine, certificates: Path, *words: str, stdin: bytes = b"") -> bytes:
    """Docker's own client, over TLS."""
    done = subprocess.run(
        ["docker", "--tlsverify", *words],
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/nonexistent",
            "DOCKER_HOST": f"tcp://127.0.0.1:{port_of(engine)}",
            "DOCKER_CERT_PATH": os.fspath(certificates),
        },
        input=stdin,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def test_docker_works_over_tls(tls_engine: UserEngine, certificates: Path) -> None:
    assert b"Server" in docker(tls_engine, certificates, "version")
    # Input ends while output goes on: each direction has an end of its own.
    count = "cat | wc -c; sleep 0.2; echo end"
    words = ("run", "-i", "--rm", "--network=none", "busybox", "sh", "-c", count)
    data = os.urandom(1 << 20)
    assert docker(tls_engine, certificates, *words, stdin=data).split() == [b"1048576", b"end"]


def test_much_output_arrives_whole(tls_engine: UserEngine, certificates: Path) -> None:
    words = ("run", "--rm", "--network=none", "busybox", "sh", "-c", "seq 200000")
    expected = b"".join(b"%d\n" % number for number in range(1, 200001))
    assert docker(tls_engine, certificates, *words) == expected


@pytest.mark.parametrize("name", ["", "stranger"])
def test_who_has_no_certificate_of_the_authority_is_refused(
    tls_engine: UserEngine, certificates: Path, name: str
) -> None:
    context = client(certificates, name)
    with socket.create_connection(("127.0.0.1", port_of(tls_engine))) as plain:
        assert ping(context, plain) == b""


def client(certificates: Path, name: str) -> ssl.SSLContext:
    """One that trusts the server, and shows certificate *name* if it has one."""
    context = ssl.create_default_context(cafile=certificates / "ca.pem")
    # Test certificates without the extensions that RFC 5280 wants.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if name:
        context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}-key.pem")
    return context


def ping(context: ssl.SSLContext, plain: socket.socket) -> bytes:
    """The answer to a ping, nothing when the client is refused."""
    try:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
            secure.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
            return secure.recv(100)  # TLS 1.3 tells only here
    except (ssl.SSLError, ConnectionError):
        return b""


def test_who_has_one_is_not(tls_engine: UserEngine, certificates: Path) -> None:
    context = client(certificates, "cert")
    with socket.create_connection(("127.0.0.1", port_of(tls_engine))) as plain:
        assert ping(context, plain).startswith(b"HTTP/1.1 200")


def test_plain_http_is_no_answer(tls_engine: UserEngine) -> None:
    with socket.create_connection(("127.0.0.1", port_of(tls_engine))) as plain:
        plain.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert b"200" not in plain.recv(4096)
        except ConnectionResetError:
            pass


def test_worker_has_no_privileges_and_comes_back(
    tls_engine: UserEngine, certificates: Path
) -> None:
    [worker] = workers(tls_engine)
    status = Path(f"/proc/{worker}/status").read_text()
    assert "\nUid:\t65534\t65534" in status
    assert "\nCapEff:\t0000000000000000\n" in status
    os.kill(worker, signal.SIGKILL)
    tls_engine.wait_until(lambda: workers(tls_engine) not in ([], [worker]))
    tls_engine.wait_until(lambda: "starting another" in tls_engine.log())
    assert b"Server" in docker(tls_engine, certificates, "version")


def workers(engine: UserEngine) -> list[int]:
    children = Path(f"/proc/{engine.pid}/task/{engine.pid}/children").read_text().split()
    lines = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, line in lines.items() if b"\0tls\0" in line]


def test_tcp_without_tls_is_refused(user_engine: UserEngine) -> None:
    command = [*user_engine.command_line(), "--tcp=127.0.0.1:0"]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": "src"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "never without TLS" in done.stderr


def test_an_endpoint_with_certificates_of_its_own(user_engine: UserEngine) -> None:
    """As on the machine: the configuration says it, and the engine makes what it needs."""
    engine = user_engine
    engine.kill()
    settings = engine.directory / "settings.json"
    tls = {"enabled": True, "listen": "127.0.0.1:0", "hosts": ["ship.example"]}
    settings.write_text(json.dumps({"tls": tls}))
    engine.options = (f"--settings={settings}",)
    run(["ip", "link", "set", "lo", "up"], timeout_s=10)
    run(["ip", "address", "add", "10.9.8.7/24", "dev", "lo"], timeout_s=10)
    run(["ip", "route", "add", "default", "via", "10.9.8.1"], timeout_s=10)
    engine.start()
    engine.wait_until(lambda: "serving TLS" in engine.log())
    authority = Authority(engine.directory / "tls")
    assert {"ship.example", "10.9.8.7", "127.0.0.1"} <= set(authority.hosts())
    pair = authority.make(Purpose.CLIENT, "me")
    mine = engine.directory / "client"
    mine.mkdir()
    (mine / "ca.pem").write_text(authority.read("ca.pem"))
    (mine / "cert.pem").write_text(pair.certificate)
    (mine / "key.pem").write_text(pair.key)
    assert b"Server" in docker(engine, mine, "version")
    with socket.create_connection(("127.0.0.1", port_of(engine))) as plain:
        assert ping(ssl.create_default_context(cafile=mine / "ca.pem"), plain) == b""

    authority.renew("other")
    engine.kill()
    engine.start()
    engine.wait_until(lambda: engine.log().count("serving TLS") == 2)
    with socket.create_connection(("127.0.0.1", port_of(engine))) as plain:
        context = ssl.create_default_context(cafile=engine.directory / "tls/ca.pem")
        context.load_cert_chain(mine / "cert.pem", mine / "key.pem")
        assert ping(context, plain) == b"", "who was signed by the authority before is refused"
