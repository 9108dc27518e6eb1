"""The firewall of the shipped image, with its own kernel: what comes in from another machine."""

import http.client
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from orlop.lib.errors import OrlopError
from orlop.vm.machine import Machine
from orlop.vm.spec import Publish, UserNet
from tests.engine.store.archives import busybox_layer, docker_archive
from tests.vm import guest
from tests.vm.lab import Lab
from tests.vm.test_docker_cli import docker
from tests.vm.test_user_engine import user_api

IMAGE = "busybox:test"
CONTAINER, CONSOLE, PUBLISHED = 8080, 8081, 8082
SERVE = ("busybox", "httpd", "-f", "-h", "/", "-p")


@pytest.fixture(scope="module")
def walled(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    ports = (Publish(0, port) for port in (22, CONTAINER, CONSOLE, PUBLISHED))
    archive = tmp_path_factory.mktemp("archive") / "busybox.tar"
    archive.write_bytes(docker_archive([busybox_layer()], tags=[IMAGE]))
    with lab.machine(
        lab.kernel(), "walled", key=True, nics=(UserNet(publish=(*ports,)),), memory_mib=256
    ) as machine:
        machine.boot()
        guest.wait_for_services(machine)
        with user_api(machine) as name:  # over SSH, which the firewall lets in
            docker(name, "load", "-i", str(archive))
        yield machine


def answers(machine: Machine, port: int, timeout_s: float = 5) -> bool:
    """Whether somebody answers at *port* from outside."""
    connection = http.client.HTTPConnection("127.0.0.1", machine.host_port(port), timeout=timeout_s)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status > 0
    except http.client.BadStatusLine as error:
        return "hello" in str(error)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def test_what_is_published_comes_in(walled: Machine) -> None:
    with user_api(walled) as name:
        docker(name, "run", "-d", "--network=host", IMAGE, *SERVE, str(CONTAINER))
        docker(name, "run", "-d", "-p", f"{PUBLISHED}:80", IMAGE, *SERVE, "80")
    walled.wait_until(lambda: answers(walled, CONTAINER), "a container of the host's network")
    walled.wait_until(lambda: answers(walled, PUBLISHED), "a published port")
    # The console's container is the system's, and nobody has said that it listens.
    listen = f"(while :; do echo hello | nc -l -p {CONSOLE}; done) </dev/null >/dev/null 2>&1 &"
    walled.succeed(["orlop", "exec", "console", "sh", "-c", listen])
    walled.wait_until_succeeds(f"grep :{CONSOLE:04X} /proc/net/tcp /proc/net/tcp6")
    assert not answers(walled, CONSOLE)
    assert f" DPT={CONSOLE} " in walled.succeed("orlop dmesg | grep firewall:")

    assert walled.succeed("orlop firewall").splitlines()[0].startswith("allow  22/tcp")
    walled.succeed(f"orlop config set orlop.firewall.rules '[{{ports: {CONSOLE}}}]'")
    walled.wait_until(lambda: answers(walled, CONSOLE), "the rule is in force")
    walled.succeed(
        f"orlop config set orlop.firewall.rules '[{{ports: {PUBLISHED}, to: containers, "
        "action: drop}]'"
    )
    assert not answers(walled, PUBLISHED)
    assert not answers(walled, CONSOLE)
    assert answers(walled, CONTAINER, timeout_s=60)
    assert guest.warnings(walled) == []


def test_modules_with_parameters(walled: Machine) -> None:
    walled.succeed("orlop config set orlop.modules '[dummy numdummies=3]'")
    assert walled.succeed("ls /sys/class/net").split().count("dummy2") == 1
    assert guest.warnings(walled) == []


class Registry(BaseHTTPRequestHandler):
    """One without images."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/" else 404)
        self.send_header("Docker-Distribution-Api-Version", "registry/2.0")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    do_HEAD = do_GET  # noqa: N815 - the library's name

    def log_message(self, *_: object) -> None:
        pass


def test_configured_authorities_are_believed(walled: Machine, tmp_path: Path) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    files = ["-keyout", str(key), "-out", str(cert), "-days", "30", "-nodes", "-subj", "/CN=lab"]
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    name = ["-addext", "subjectAltName=IP:10.0.2.2"]
    subprocess.run([*words, *files, *name], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    with HTTPServer(("127.0.0.1", 0), Registry) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        image = f"10.0.2.2:{server.server_port}/there/is:none"

        def refusal() -> str:
            with user_api(walled) as name, pytest.raises(OrlopError) as caught:
                docker(name, "pull", image)
            return str(caught.value)

        assert "certificate" in refusal()
        lines = "".join(f"    {line}\n" for line in cert.read_text().splitlines())
        document = f"ca_certs:\n  trusted:\n  - |\n{lines}"
        walled.succeed(["sh", "-c", 'printf %s "$1" | orlop config merge -', "sh", document])
        walled.wait_until(lambda: "certificate" not in refusal(), "the authority is believed")
        server.shutdown()
