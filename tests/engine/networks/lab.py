"""An engine, containers in it, and a machine outside, for tests of networks."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.engine.services.namespaces import NetworkNamespace

if TYPE_CHECKING:
    from tests.engine.containers.engine_host import UserEngine

PEER = Path(__file__).with_name("peer.py")
BRIDGE_SETTINGS = Path("/proc/sys/net/bridge")
HOST4, OUTSIDE4 = "192.0.2.1", "192.0.2.2"
HOST6, OUTSIDE6 = "2001:db8::1", "2001:db8::2"
SLEEP = ["sleep", "1000"]


class Lab:
    """See the module."""

    def __init__(self, engine: UserEngine, outside: NetworkNamespace) -> None:
        self.engine = engine
        self.outside = outside
        self._servers: list[subprocess.Popen[bytes]] = []

    def connect(self) -> None:
        """Lay the cable, and give both ends their addresses."""
        self.filter_bridged(on=False)
        ip("link", "set", "lo", "up")
        ip("link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns",
           str(self.outside.process_id))  # fmt: skip
        for address in (f"{HOST4}/24", f"{HOST6}/64"):
            ip("address", "add", address, "dev", "cable0", *_nodad(address))
        ip("link", "set", "cable0", "up")
        for address in (f"{OUTSIDE4}/24", f"{OUTSIDE6}/64"):
            words = ("address", "add", address, "dev", "cable1", *_nodad(address))
            self.outside.run("ip", *words)
        self.outside.run("ip", "link", "set", "cable1", "up")

    def filter_bridged(self, *, on: bool) -> None:
        """Whether the kernel shows bridged packets to nftables, as br_netfilter would have it."""
        for setting in BRIDGE_SETTINGS.glob("bridge-nf-call-ip*tables"):
            setting.write_text(str(int(on)))

    def close(self) -> None:
        for server in self._servers:
            assert server.stdout is not None
            server.kill()
            server.wait()
            server.stdout.close()

    def interfaces(self) -> list[str]:
        """The host's, but for its loopback."""
        return [name for _, name in socket.if_nameindex() if name != "lo"]

    def create_network(self, name: str, **fields: Any) -> str:
        status, answer = self.engine.request("POST", "/networks/create", {"Name": name, **fields})
        assert status == 201, answer
        return str(answer["Id"])

    def network(self, name: str) -> dict[str, Any]:
        status, answer = self.engine.request("GET", f"/networks/{name}")
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def run(self, name: str, network: str = "bridge", **host: Any) -> str:
        """A sleeping container; its address."""
        fields = host.pop("fields", {})
        host_config = {"NetworkMode": network, **host}
        self.engine.run(name, SLEEP, HostConfig=host_config, **fields)
        return self.address(name, network)

    def address(self, name: str, network: str = "bridge") -> str:
        endpoints = self.engine.inspect(name)["NetworkSettings"]["Networks"]
        return str(endpoints[network]["IPAddress"]) if network in endpoints else ""

    def inside(self, name: str) -> NetworkNamespace:
        """The container's namespace."""
        return NetworkNamespace(int(self.engine.inspect(name)["State"]["Pid"]))

    def serve(self, where: NetworkNamespace, kind: str, port: int) -> None:
        """A server there that answers with the address of whoever asks."""
        argv = where.command(sys.executable, str(PEER), "serve", kind, str(port))
        server = subprocess.Popen(argv, stdout=subprocess.PIPE)
        self._servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"

    def ask(
        self,
        where: NetworkNamespace | None,
        kind: str,
        address: str,
        port: int,
        own_port: int = 0,
        timeout_s: float = 3.0,
    ) -> str:
        """What the server at *address* calls the asker; empty: no answer."""
        argv = [sys.executable, str(PEER), "ask", kind, address, str(port)]
        argv += [str(own_port), str(timeout_s)]
        command = argv if where is None else where.command(*argv)
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    def is_cut_off(
        self, where: NetworkNamespace | None, kind: str, address: str, port: int
    ) -> bool:
        """Whether the server there gives no answer; not for one that is only slow."""
        return self.ask(where, kind, address, port, timeout_s=0.5) == ""


def _nodad(address: str) -> tuple[str, ...]:
    return ("nodad",) if ":" in address else ()


def ip(*words: str) -> str:
    """`ip` on this host."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"
    return done.stdout
