"""RancherOS's keys of its engines, registries and consoles."""

from __future__ import annotations

from tests.rancheros.seen import Document, told


def _docker(template: str, word: str) -> str:
    return f"docker info --format '{{{{{template}}}}}' | grep -qF '{word}'"


_BRIDGE = "docker network inspect bridge | grep -qF"

ENGINE: tuple[Document, ...] = (
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
  services:
    mess:
      image: console
      command: ["/bin/sh", "-c", "echo by $$HTTPS_PROXY not $$no_proxy"]
      environment:
      - HTTPS_PROXY
      - no_proxy
""",
        lambda seen: (
            "by http://proxy.example:3129 not localhost,192.0.2.1" in seen.said("mess")
            and seen.told("engine", "https_proxy") == "http://proxy.example:3129"
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
        f"{_BRIDGE} 172.31.9.1 && {_docker('.Debug', 'true')} && {_BRIDGE} '\"1400\"'",
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
)
