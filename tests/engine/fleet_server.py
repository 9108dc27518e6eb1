"""The fleet's server as its container runs it, with a store on this disk or in etcd."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARY = Path(__file__).parents[2] / "os/catalogue/fleet/rootfs/usr/lib"
START = (
    f"import sys; sys.path.append({str(LIBRARY)!r}); "
    "from orlop_fleet.main import main; sys.exit(main(sys.argv[1:]))"
)
COMMAND = [sys.executable, "-I", "-c", START]
TOKEN = "people"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


class FleetServer:
    """Use it in a `with` statement; *within* is a command that runs it somewhere else."""

    def __init__(
        self, directory: Path, *, within: Sequence[str] = (), port: int = 0, **environment: str
    ) -> None:
        self.port = port or free_port()
        self.directory = directory
        self._command = [*within, *COMMAND]
        self.environment = {
            "PATH": os.environ["PATH"],
            "FLEET_LISTEN": f"127.0.0.1:{self.port}",
            "FLEET_DATA": str(directory),
            "FLEET_TOKEN": TOKEN,
            **environment,
        }
        self.context: ssl.SSLContext | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> FleetServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        """Returns when it listens."""
        self._process = subprocess.Popen(
            [*self._command, "serve"],
            env=self.environment,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
        )
        assert self._process.stderr is not None
        lines = []
        while line := self._process.stderr.readline():
            lines.append(line)
            if b"listening" in line:
                return
        raise AssertionError(b"".join(lines).decode())

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stderr is not None
            self._process.stderr.close()
            self._process = None

    def request(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any]:
        """Status and what was answered, as JSON where it is that.

        Raises:
            OSError, HTTPException: it does not answer.
        """
        connection = (
            http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            if self.context is None
            else http.client.HTTPSConnection(
                "127.0.0.1", self.port, timeout=60, context=self.context
            )
        )
        data = body if body is None or isinstance(body, str) else json.dumps(body)
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        is_json = (response.getheader("Content-Type") or "").startswith("application/json")
        return response.status, json.loads(text) if is_json else text.decode()

    def machine(self, what: str, name: str, group: str = "default", **more: Any) -> tuple[int, Any]:
        """A request of a machine."""
        body = {"client_params": {"id": name, "group": group}, **more}
        return self.request("POST", f"/v1/{what}", body, **{"fleet-lock-protocol": "true"})

    def person(self, method: str, path: str, body: object = None) -> Any:
        """What is answered to a person, who is right."""
        status, answer = self.request(method, path, body, Authorization=f"Bearer {TOKEN}")
        assert status == 200, answer
        return answer

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        """`fleet WORDS...` beside the server."""
        environment = {**self.environment, "FLEET_URL": f"http://127.0.0.1:{self.port}"}
        return subprocess.run(
            [*self._command, *words], env=environment, capture_output=True, text=True, timeout=60,
            check=False,
        )  # fmt: skip


class Etcd:
    """One server of Debian's etcd."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        own, peer = self.url, f"http://127.0.0.1:{free_port()}"
        self._log = directory / "etcd.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["/usr/bin/etcd", f"--data-dir={directory}/etcd", f"--listen-client-urls={own}",
                 f"--advertise-client-urls={own}", f"--listen-peer-urls={peer}",
                 f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            )  # fmt: skip

    def __enter__(self) -> Etcd:
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s and self._process.poll() is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/health")
                if connection.getresponse().status == 200:
                    return self
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
            finally:
                connection.close()
        raise AssertionError(self._log.read_text())

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
