"""A configuration is refused as invalid, or comes back from its own text as it was."""

from __future__ import annotations

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.document import check_document, merge, settle
from orlop.wire.config.secrets import hide, split
from orlop.wire.config.table import SECRETS
from orlop.wire.config.words import kernel_document
from orlop.wire.config.yaml_text import yaml_lines
from orlop.wire.located_yaml import parse_yaml

KEY = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0aKmPL9Ysr me"
SEEDS = (
    b"hostname: ship\nssh_authorized_keys+:\n- " + KEY,
    b"orlop: {time: {servers: ['a:1 key 7'], keys: ['7 SHA256 HEX:00']}, sysctl: {vm.x: 1}}\n",
    b"write_files:\n- {path: /etc/x, content: '\n  a\n', permissions: '0644', owner: '1:2'}\n",
    b"write_files: [{path: /a, encoding: gz+b64, content: H4sIAAAAAAAC/0vKTAIAl2n0yQIAAAA=}]\n",
    b"rancher:\n  network: {interfaces: {eth0: {address: 192.0.2.7/24, vlans: x}}}\n",
    b"rancher: {sysctl: {a.b: 1}, modul: x}\nntp: {servers: [a]}\nruncmd: [a, [b, c]]\n",
    b"mounts: [[LABEL=a, /mnt/a, ext4, 'ro,noatime', 0, 0]]\ntimezone: Europe/Oslo\n",
    b"orlop: {services: {a.b: {enabled: no}}, engine: {registries: {r.example: {username: x}}}}\n",
    b"orlop.network.interfaces.eth0.100.mtu=9000",
    b"rancher.network.dns.search=[a,b]",
)
TOKENS = (
    *(b"&a", b"*a", b": ", b"- ", b"[", b"]", b"{", b"}", b"\n  ", b"|", b"null", b"0x", b"+:"),
    *(b"orlop", b"rancher", b"enabled", b"NAME", b".", b"[]", b"=", b"'", b'"', b"\xc2\x85", b"\\"),
)


def check(data: bytes) -> None:
    text = data.decode("utf-8", errors="replace")
    try:
        checked = check_document(parse_yaml("fuzz.yml", text)).data
    except InvalidArgument:
        checked = None
    if checked is not None:
        again = parse_yaml("again.yml", "".join(f"{line}\n" for line in yaml_lines(checked)))
        assert check_document(again).data == checked
        public, secret = split(checked, SECRETS)
        assert settle(merge(public, secret)) == settle(checked)
        hide(checked, SECRETS)
    name, equals, value = text.partition("=")
    try:
        check_document(kernel_document(name, value if equals else None))
    except InvalidArgument:
        return
