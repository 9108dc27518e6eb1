"""Documents as RancherOS's users had them, for each of its keys, and what each does on a machine.

Written for this table, with the keys and forms of RancherOS 1.5.8's own documents. Two suites boot
them: `tests/engine/test_rancheros_native.py` each by itself in namespaces, where services are asked
what they were told; `tests/vm/test_rancheros.py` in QEMU, where the effect is looked at from a
console.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.engine.containers.test_tls import make, sign

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.engine.native_machine import NativeMachine

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFTZCyVCCR0jqL4i5GU6JrCjXcFLvDPn6Vw5n4H1KpYB mate"
HASH = "$5$saltsalt$vGaa5Fcw6wqKCrBdcUIUz51yCcBM1vGmhFXFbKFQXR8"


@dataclass(frozen=True, slots=True)
class Seen:
    """A native machine that has booted with a document."""

    machine: NativeMachine
    status: dict[str, Any]

    def told(self, service: str, *path: str) -> Any:
        """What *service* was told: a value of its part of the configuration."""
        value = json.loads(self.machine.path(f"/run/orlop/config/{service}.json").read_text())
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        return value

    def service(self, name: str) -> dict[str, Any]:
        """The row of a service, empty if there is none."""
        rows: list[dict[str, Any]] = self.machine.request("GET", "/orlop/status")[1]["services"]
        return next((row for row in rows if row["name"] == name), {})

    def inside(self, service: str, path: str) -> Path:
        """*path* as *service* sees it."""
        return self.machine.path(f"/proc/{self.service(service)['pid']}/root{path}")

    def warned(self, *words: str) -> bool:
        """Whether one sentence of the machine has all *words*."""
        sentences = self.machine.request("GET", "/orlop/status")[1]["warnings"]
        return any(all(word in text for word in words) for text in sentences)

    def said(self, service: str) -> str:
        """What a service has written."""
        _, log = self.machine.request("GET", f"/containers/{service}/logs?stdout=1&stderr=1")
        return bytes(log).decode(errors="replace")

    def setting(self, name: str) -> str:
        """A setting of the kernel, in the machine's network namespace."""
        command = ["nsenter", f"--net=/proc/{self.machine.pid}/ns/net", "cat", f"/proc/sys/{name}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def in_force(self, path: str) -> Any:
        """A value of the configuration that is in force, whoever heeds it."""
        code, answer = self.machine.request("GET", "/orlop/config?secrets=show")
        assert code == 200, answer
        value = answer["config"]
        for name in path.split("/"):
            value = value.get(name, {})
        return value


HOST_KEYS = ("ed25519", "ecdsa", "rsa")
CERTIFICATES = {
    "ca_cert": "ca",
    "ca_key": "ca-key",
    "server_cert": "server",
    "server_key": "server-key",
}


@dataclass(frozen=True, slots=True)
class Document:
    """*keys* of RancherOS that *text* has; *native* and *vm* are true when it has done its work.

    *vm* is a command of a console; empty where a machine of QEMU shows no more than a native one.
    *together*: it can be one of several files of a machine's configuration.
    """

    keys: tuple[str, ...]
    text: str
    native: Callable[[Seen], object]
    vm: str = ""
    together: bool = False


def told(service: str, path: str, value: object) -> Callable[[Seen], object]:
    """Whether *service* was told *value* at *path*, with slashes."""
    return lambda seen: seen.told(service, *path.split("/")) == value


def in_force(path: str, value: object) -> Callable[[Seen], object]:
    """Whether *value* is in force at *path*, with slashes: what a native machine cannot show."""
    return lambda seen: seen.in_force(path) == value


def _docker(template: str, word: str) -> str:
    return f"docker info --format '{{{{{template}}}}}' | grep -qF '{word}'"


_BRIDGE = "docker network inspect bridge | grep -qF"
_INTERFACES = "orlop/network/interfaces"

DOCUMENTS: tuple[Document, ...] = (
    Document(
        ("hostname",),
        "hostname: brig\n",
        lambda seen: seen.status["hostname"] == "brig",
        'test "$(hostname)" = brig',
        together=True,
    ),
    Document(
        ("ssh_authorized_keys",),
        f"ssh_authorized_keys:\n- {KEY}\n",
        lambda seen: KEY in seen.machine.path("/run/orlop/people/keys/rancher").read_text(),
        "grep -q mate$ /run/orlop/people/keys/rancher",
        together=True,
    ),
    Document(
        ("write_files",),
        """\
write_files:
- path: /etc/watch.conf
  permissions: "0640"
  owner: root
  content: |
    four hours
- {path: /home/rancher/.config/watch, owner: rancher, content: cGlwZXM=, encoding: b64}
- {path: /etc/watch.d/time, container: ntp, content: x}
""",
        lambda seen: (
            seen.inside("console", "/etc/watch.conf").read_text() == "four hours\n"
            and seen.inside("time", "/etc/watch.d/time").read_text() == "x"
            and (home := seen.machine.path("/var/lib/orlop/home/rancher/.config")).stat().st_uid
            == (home / "watch").stat().st_uid
            == 1100
            and (home / "watch").read_text() == "pipes"
        ),
        "grep -qx 'four hours' /etc/watch.conf && test $(stat -c %a /etc/watch.conf) = 640 && "
        "test $(stat -c %U /home/rancher/.config) = rancher && "
        "test $(cat /home/rancher/.config/watch) = pipes",
    ),
    Document(
        ("write_files",),
        """\
write_files:
- container: ntp
  path: /etc/ntp.conf
  content: |
    server clock.example iburst
    restrict default nopeer
""",
        told("time", "servers", ["clock.example"]),
        "orlop exec time cat /run/time/chrony.conf | grep -q '^server clock.example iburst'",
    ),
    Document(
        ("write_files",),
        """\
write_files:
- path: /etc/docker/certs.d/registry.example:5000/ca.crt
  content: an authority
""",
        lambda seen: all(
            seen.inside(service, "/etc/docker/certs.d/registry.example:5000/ca.crt").read_text()
            == "an authority"
            for service in ("console", "engine")
        ),
        "orlop exec engine test -s /etc/docker/certs.d/registry.example:5000/ca.crt",
    ),
    Document(
        ("write_files",),
        """\
write_files:
- path: /etc/rc.local
  permissions: "0755"
  owner: root
  content: |
    #!/bin/bash
    wait-for-docker
    echo "watch set" > /root/watch
- path: /opt/rancher/bin/start.sh
  permissions: "0755"
  content: |
    #!/bin/bash
    echo started > /root/start
""",
        lambda seen: (
            seen.service("rc-local").get("state") == "done"
            and seen.machine.path("/var/lib/orlop/root/watch").read_text() == "watch set\n"
            and seen.machine.path("/var/lib/orlop/root/start").read_text() == "started\n"
        ),
        "grep -q 'watch set' /root/watch && grep -q started /root/start",
        together=True,
    ),
    Document(
        ("mounts",),
        'mounts:\n- ["/var/mnt", "/mnt/hold", "none", "bind"]\n- [tmpfs, /mnt/s, tmpfs, ""]\n',
        lambda seen: "/var/mnt/s tmpfs" in seen.machine.path("/proc/1/mounts").read_text(),
        "grep -q ' /mnt/s tmpfs' /proc/mounts",
        together=True,
    ),
    Document(
        ("runcmd",),
        """\
rancher: {}
runcmd:
- [sh, -c, "echo one > /root/one"]
- echo "two" > /root/two
""",
        lambda seen: (
            seen.service("runcmd").get("state") == "done"
            and seen.machine.path("/var/lib/orlop/root/one").read_text() == "one\n"
            and seen.machine.path("/var/lib/orlop/root/two").read_text() == "two\n"
        ),
        "grep -q one /root/one && grep -q two /root/two",
        together=True,
    ),
    Document(
        ("bootcmd",),
        "bootcmd:\n- [sh, -c, 'echo early > /root/early']\n",
        lambda seen: seen.machine.path("/var/lib/orlop/root/early").read_text() == "early\n",
        "grep -q early /root/early",
        together=True,
    ),
    Document(
        ("rancher.debug",),
        "rancher: {debug: true}\n",
        lambda seen: "<31>orlop: " in seen.machine.log(),
        "orlop dmesg | grep -q .",
        together=True,
    ),
    Document(
        ("rancher.shutdown_timeout",),
        "rancher: {shutdown_timeout: 7}\n",
        in_force("orlop/shutdown_timeout", 7),
        together=True,
    ),
    Document(
        ("rancher.sysctl",),
        "rancher:\n  sysctl:\n    net.ipv4.ip_default_ttl: 77\n",
        lambda seen: seen.setting("net/ipv4/ip_default_ttl") == "77",
        "test $(cat /proc/sys/net/ipv4/ip_default_ttl) = 77",
        together=True,
    ),
    Document(
        ("rancher.modules",),
        "rancher:\n  modules: [dummy]\n",
        in_force("orlop/modules", ["dummy"]),
        "test -d /sys/module/dummy",
        together=True,
    ),
    Document(
        ("rancher.cloud_init.datasources",),
        "rancher:\n  cloud_init:\n    datasources: [digitalocean]\n",
        in_force("orlop/cloud/datasources", ["digitalocean"]),
        "orlop config get orlop.cloud.datasources | grep -q digitalocean",
        together=True,
    ),
    Document(
        ("rancher.resize_device",),
        "rancher:\n  resize_device: /dev/vda\n",
        lambda seen: seen.in_force("orlop/state/grow/partition"),
        "orlop config get orlop.state.grow.partition",
        together=True,
    ),
    Document(
        ("rancher.password",),
        f"rancher:\n  password: {HASH}\n",
        lambda seen: (
            f"rancher:{HASH}:" in seen.machine.path("/run/orlop/people/shadow").read_text()
        ),
        f"grep -qF 'rancher:{HASH}:' /run/orlop/people/shadow",
    ),
    Document(
        ("rancher.ssh.port", "rancher.ssh.listen_address"),
        f"ssh_authorized_keys: [{KEY}]\n"
        "rancher:\n  ssh:\n    port: 2222\n    listen_address: 127.0.0.1\n",
        lambda seen: (
            seen.told("ssh", "port") == 2222 and seen.told("ssh", "listen_address") == ["127.0.0.1"]
        ),
        "netstat -tln | grep -q '127.0.0.1:2222 '",
    ),
    Document(
        ("rancher.ssh.daemon",),
        "rancher:\n  ssh:\n    daemon: false\n",
        lambda seen: seen.service("ssh")["state"] == "disabled",
        "orlop service ls | grep -q 'ssh .*disabled'",
    ),
    Document(
        ("rancher.environment", "rancher.services.NAME"),
        """\
rancher:
  environment:
    CREW: twelve
    SHIP_NAME: brig
    SHIP_PORT: 7
    path: /opt/bin,/home/rancher/bin
  services:
    mess:
      image: console
      command: ["/bin/sh", "-c", "echo got $$CREW $$SHIP_NAME $$SHIP_PORT $$MORE"]
      environment:
      - CREW
      - SHIP_*
      - MORE=than
""",
        lambda seen: (
            "got twelve brig 7 than" in seen.said("mess")
            and seen.inside("console", "/etc/profile.d/path.sh").read_text()
            == "export PATH=\"$PATH\":'/opt/bin'\nexport PATH=\"$PATH\":'/home/rancher/bin'\n"
        ),
        "orlop logs mess | grep -q 'got twelve brig 7 than' && "
        "sh -lc 'echo $PATH' | grep -q ':/opt/bin:/home/rancher/bin$'",
        together=True,
    ),
    Document(
        ("rancher.services_include.NAME",),
        "rancher:\n  services_include:\n    parrot: true\n    power: false\n",
        lambda seen: seen.warned("service parrot is enabled, and there is none"),
        "orlop service ls | grep -q 'power .*disabled'",
        together=True,
    ),
    Document(
        ("rancher.console",),
        "rancher:\n  console: debian\n",
        lambda seen: "fetches its image debian" in seen.service("shell")["reason"],
        "orlop console ls | grep -q debian",
    ),
    Document(
        ("rancher.registry_auths",),
        """\
rancher:
  registry_auths:
    https://index.docker.io/v1/:
      auth: bWF0ZTpzZWNyZXQ=
    registry.example:
      username: mate
      password: other
""",
        told(
            "engine",
            "registries",
            {
                "docker.io": {"username": "mate", "password": "secret"},
                "registry.example": {"username": "mate", "password": "other"},
            },
        ),
        together=True,
    ),
    Document(
        (
            "rancher.docker.registry_mirror",
            "rancher.system_docker.registry_mirror",
            "rancher.bootstrap_docker.registry_mirror",
        ),
        """\
rancher:
  bootstrap_docker:
    registry_mirror: "http://192.0.2.5:5555"
  docker:
    registry_mirror: "http://192.0.2.5:5555"
  system_docker:
    registry_mirror: "http://192.0.2.5:5555"
    storage_driver: overlay
""",
        told("engine", "registry_mirrors", ["http://192.0.2.5:5555"]),
        _docker("json .RegistryConfig.Mirrors", "http://192.0.2.5:5555"),
        together=True,
    ),
    Document(
        (
            "rancher.docker.insecure_registry",
            "rancher.system_docker.insecure_registry",
            "rancher.bootstrap_docker.insecure_registry",
        ),
        """\
rancher:
  bootstrap_docker: {insecure_registry: ["a.example:5000"]}
  docker: {insecure_registry: ["b.example:5000"]}
  system_docker: {insecure_registry: ["b.example:5000"]}
""",
        lambda seen: (
            sorted(seen.told("engine", "insecure_registries"))
            == ["a.example:5000", "b.example:5000"]
        ),
        _docker("json .RegistryConfig.IndexConfigs", "b.example:5000"),
        together=True,
    ),
    Document(
        ("rancher.network.http_proxy", "rancher.network.https_proxy", "rancher.network.no_proxy"),
        """\
rancher:
  network:
    http_proxy: http://proxy.example:3128
    https_proxy: http://proxy.example:3129
    no_proxy: localhost,192.0.2.1
""",
        lambda seen: (
            seen.told("engine", "https_proxy") == "http://proxy.example:3129"
            and seen.told("engine", "no_proxy") == ["localhost", "192.0.2.1"]
            and "http_proxy='http://proxy.example:3128'"
            in seen.inside("console", "/etc/profile.d/proxy.sh").read_text()
        ),
        _docker(".HTTPProxy .HTTPSProxy .NoProxy".replace(" ", "}} {{"), "proxy.example:3129")
        + " && sh -lc 'echo $no_proxy' | grep -q 192.0.2.1",
    ),
    Document(
        ("rancher.docker.log_driver", "rancher.docker.log_opts"),
        "rancher:\n  docker:\n    log_driver: local\n    log_opts: {max-size: 2m}\n",
        lambda seen: (
            seen.told("engine", "log_driver") == "local"
            and seen.told("engine", "log_options") == {"max-size": "2m"}
        ),
        _docker(".LoggingDriver", "local"),
        together=True,
    ),
    Document(
        ("rancher.docker.bip", "rancher.docker.mtu", "rancher.docker.debug"),
        "rancher:\n  docker:\n    bip: 172.31.9.1/24\n    mtu: 1400\n    debug: true\n",
        lambda seen: (
            seen.told("engine", "bridge_address") == "172.31.9.1/24"
            and seen.told("engine", "mtu") == 1400
            and seen.told("engine", "debug") is True
        ),
        f"{_BRIDGE} 172.31.9.1 && {_docker('.Debug', 'true')} && "
        "test $(cat /sys/class/net/docker0/mtu) = 1400",
        together=True,
    ),
    Document(
        ("rancher.docker.extra_args", "rancher.docker.environment"),
        """\
rancher:
  docker:
    extra_args: [--mtu, 1460, --label, deck=orlop, --storage-driver=overlay2]
    environment: ["NO_PROXY=registry.example"]
""",
        lambda seen: (
            seen.told("engine", "mtu") == 1460
            and seen.told("engine", "labels") == ["deck=orlop"]
            and seen.told("engine", "no_proxy") == ["registry.example"]
        ),
        _docker("json .Labels", "deck=orlop"),
    ),
    Document(
        ("rancher.docker.tls", "rancher.docker.tls_args"),
        """\
rancher:
  docker:
    tls: true
    tls_args: [--tlsverify, --tlscacert=ca.pem, --tlscert=server-cert.pem,
               --tlskey=server-key.pem, '-H=0.0.0.0:2377']
    storage_driver: overlay
""",
        told("engine", "tls", {"enabled": True, "listen": "0.0.0.0:2377"}),
        "netstat -tln | grep -q ':2377 '",
        together=True,
    ),
    Document(
        ("rancher.docker.engine",),
        "rancher:\n  docker:\n    engine: docker-19.03.11\n",
        lambda seen: seen.warned("engine docker cannot be used", "The system's own is in use"),
        "docker version && orlop status | grep -q 'engine docker cannot be used'",
    ),
    Document(
        ("rancher.upgrade.policy",),
        "rancher:\n  upgrade:\n    policy: download\n",
        in_force("orlop/update/automatic", "stage"),
        "test $(orlop config get orlop.update.automatic) = stage",
        together=True,
    ),
    Document(
        ("rancher.network.dns.nameservers", "rancher.network.dns.search"),
        """\
rancher:
  network:
    dns:
      nameservers: [192.0.2.53, 192.0.2.54]
      search: [fleet.example, example]
""",
        lambda seen: (
            seen.told("network", "nameservers") == ["192.0.2.53", "192.0.2.54"]
            and seen.told("network", "search") == ["fleet.example", "example"]
        ),
        "grep -qx 'nameserver 192.0.2.54' /etc/resolv.conf && "
        "grep -qx 'search fleet.example example' /etc/resolv.conf",
        together=True,
    ),
    Document(
        ("rancher.network.dhcp_timeout",),
        "rancher:\n  network:\n    dhcp_timeout: 3\n",
        in_force("orlop/network/wait_online", 3),
        together=True,
    ),
    Document(
        (
            "rancher.network.interfaces.NAME.address",
            "rancher.network.interfaces.NAME.gateway",
            "rancher.network.interfaces.NAME.gateway_ipv6",
            "rancher.network.interfaces.NAME.mtu",
            "rancher.network.interfaces.NAME.dhcp",
            "rancher.network.interfaces.NAME.post_up",
            "rancher.network.pre_cmds",
            "rancher.network.post_cmds",
        ),
        """\
rancher:
  network:
    pre_cmds: [ip route add 198.51.100.0/24 via 192.0.2.2]
    post_cmds: [ip route add 203.0.113.0/24 via 192.0.2.3]
    interfaces:
      eth1:
        address: 192.0.2.100/24
        gateway: 192.0.2.1
        gateway_ipv6: "fe80::1"
        mtu: 1400
        dhcp: false
        post_up:
        - ip route add 10.0.0.0/8 via 192.0.2.254
""",
        lambda seen: (
            seen.told("network", "interfaces")
            == {
                "eth1": {
                    "addresses": ["192.0.2.100/24"],
                    "gateway": "192.0.2.1",
                    "gateway6": "fe80::1",
                    "mtu": 1400,
                    "dhcp": False,
                }
            }
            and {route["to"] for route in seen.told("network", "routes")}
            == {"10.0.0.0/8", "198.51.100.0/24", "203.0.113.0/24"}
        ),
        "ip addr show eth1 | grep -q 'inet 192.0.2.100/24' && ip route | grep -q "
        "'^10.0.0.0/8 via 192.0.2.254' && test $(cat /sys/class/net/eth1/mtu) = 1400",
    ),
    Document(
        (
            "rancher.network.interfaces.NAME.addresses",
            "rancher.network.interfaces.NAME.bond",
            "rancher.network.interfaces.NAME.bond_opts",
            "rancher.network.interfaces.NAME.match",
            "rancher.network.interfaces.NAME.pre_up",
        ),
        """\
rancher:
  network:
    interfaces:
      bond0:
        addresses:
        - 192.0.2.33/31
        - 192.0.2.129/31
        gateway: 192.0.2.32
        bond_opts:
          downdelay: "200"
          lacp_rate: "1"
          miimon: "100"
          mode: "4"
          updelay: "200"
          xmit_hash_policy: layer3+4
        pre_up:
        - ip route add 10.0.0.0/8 via 192.0.2.128
      "mac=52:54:00:00:09:*":
        bond: bond0
      spare:
        match: mac=52:54:00:00:0a:01
        dhcp: false
""",
        lambda seen: (
            seen.told("network", "interfaces", "bond0", "bond_options", "mode") == 4
            and seen.told("network", "interfaces", "bond0", "bond_options", "miimon") == 100
            and seen.told("network", "interfaces", "bond0", "addresses")
            == ["192.0.2.33/31", "192.0.2.129/31"]
            and seen.told("network", "interfaces", "mac=52:54:00:00:09:*") == {"bond": "bond0"}
            and seen.told("network", "interfaces", "spare", "match") == {"mac": "52:54:00:00:0a:01"}
            and seen.told("network", "routes") == [{"to": "10.0.0.0/8", "via": "192.0.2.128"}]
        ),
        "grep -q '802.3ad' /sys/class/net/bond0/bonding/mode && "
        "grep -q fast /sys/class/net/bond0/bonding/lacp_rate && "
        "ip addr show bond0 | grep -q 'inet 192.0.2.129/31'",
    ),
    Document(
        ("rancher.network.interfaces.NAME.vlans", "rancher.network.interfaces.NAME.ipv4ll"),
        """\
rancher:
  network:
    interfaces:
      eth1:
        vlans: 100,200:foobar
      foobar:
        ipv4ll: true
""",
        lambda seen: (
            seen.told("network", "interfaces")
            == {"eth1": {"vlans": ["100", "200:foobar"]}, "foobar": {"ipv4ll": True}}
        ),
        "ip -d link show foobar | grep -q 'id 200' && test -d /sys/class/net/eth1.100",
    ),
    Document(
        ("rancher.network.interfaces.NAME.bridge",),
        """\
rancher:
  network:
    interfaces:
      br0:
        bridge: true
        dhcp: true
      eth1:
        bridge: br0
""",
        lambda seen: (
            seen.told("network", "interfaces")
            == {"br0": {"bridge": True, "dhcp": True}, "eth1": {"bridge": "br0"}}
        ),
        "test -d /sys/class/net/br0/brif/eth1",
    ),
)


def generated(directory: Path) -> tuple[Document, ...]:
    """Documents with keys and certificates in them, made in *directory*."""
    keys: dict[str, str] = {}
    for kind in HOST_KEYS:
        path = directory / kind
        subprocess.run(
            ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "", "-f", str(path)], check=True
        )
        keys[kind] = path.read_text()
    make(directory, "ca", "-x509", "-subj", "/CN=ca")
    sign(directory, "server", "ca")
    pem = {key: (directory / f"{name}.pem").read_text() for key, name in CERTIFICATES.items()}
    return (
        Document(
            tuple(f"rancher.ssh.keys.{kind}" for kind in HOST_KEYS),
            json.dumps({"rancher": {"ssh": {"keys": keys}}}),
            lambda seen: all(
                seen.inside("ssh", f"/etc/ssh/host_key_{kind}").read_text().strip() == text.strip()
                for kind, text in keys.items()
            ),
            "for kind in ed25519 ecdsa rsa; do "
            "orlop exec ssh test -s /etc/ssh/host_key_$kind || exit; done",
        ),
        Document(
            tuple(f"rancher.docker.{key}" for key in pem),
            json.dumps({"rancher": {"docker": {"tls": True, **pem}}}),
            lambda seen: (
                [str(seen.told("engine", "tls", key)).strip() for key in pem]
                == [text.strip() for text in pem.values()]
            ),
            "netstat -tln | grep -q ':2376 '",
        ),
    )
