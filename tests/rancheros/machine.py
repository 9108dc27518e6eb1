"""The machine's own keys of RancherOS."""

from __future__ import annotations

from pathlib import Path

from tests.rancheros.seen import HASH, KEY, Document, has_text, in_force, told

MACHINE: tuple[Document, ...] = (
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
        "orlop exec ssh grep -q mate$ /run/orlop/people/keys/rancher",
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
        has_text("time", "/run/time/chrony.conf", "server clock.example iburst"),
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
        has_text("engine", "/etc/docker/certs.d/registry.example:5000/ca.crt", "an authority"),
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
        ("rancher.services.NAME",),
        """\
rancher:
  services:
    purser:
      image: console
      command: ["/bin/sh", "-c", "trap 'exit 0' TERM; while :; do sleep 1; done"]
      restart: always
      volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      - /var/run/system-docker.sock:/var/run/system-docker.sock
""",
        lambda seen: (
            seen.inside("purser", "/var/run/docker.sock").readlink()
            == Path("/run/orlop/docker/docker.sock")
            and seen.inside("purser", "/run/orlop/docker").is_dir()
            and seen.inside("purser", "/var/run/system-docker.sock").is_socket()
        ),
        "orlop exec purser test -S /var/run/docker.sock",
    ),
    Document(
        ("rancher.services_include.NAME",),
        "rancher:\n  services_include:\n    parrot: true\n    power: false\n",
        lambda seen: seen.warned("service parrot is enabled, and there is none"),
        "orlop service ls | grep -q 'power .*disabled'",
        together=True,
    ),
    Document(
        ("rancher.upgrade.policy",),
        "rancher:\n  upgrade:\n    policy: download\n",
        in_force("orlop/update/automatic", "stage"),
        "test $(orlop config get orlop.update.automatic) = stage",
        together=True,
    ),
)
