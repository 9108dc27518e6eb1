"""A RancherOS document in our words: nothing in it says what it does otherwise."""

import pytest

from orlop.lib.errors import InvalidArgument
from orlop.wire.config.evaluate import check
from orlop.wire.config.migrate import migrate

DOCUMENT = b"""\
#cloud-config
hostname: old
packages: [vim]
runcmd:
- [touch, /var/lib/done]
write_files:
- path: /etc/motd
  permissions: "0600"
  content: |
    two
    lines
rancher:
  network:
    interfaces:
      eth0: {address: 192.0.2.7/24, gateway: 192.0.2.1}
    dns: {nameservers: [192.0.2.53]}
  sysctl: {vm.max_map_count: 262144}
  rm_usr: true
"""


def test_the_document_says_the_same() -> None:
    found = migrate("old.yml", DOCUMENT)
    again = check("new.yml", found.text().encode())
    assert again.data == check("old.yml", DOCUMENT).data == found.config
    assert not again.notices
    assert "rancher" not in found.config
    assert found.config["orlop"]["runcmd"] == "boot"  # type: ignore[index, call-overload]


def test_what_became_of_each_key_is_said() -> None:
    found = migrate("old.yml", DOCUMENT)
    assert [line.split(": ")[2] for line in found.left_out] == ["packages", "rancher.rm_usr"]
    assert (
        "old.yml:15: configuration: rancher.network.interfaces.eth0.address: "
        "is called orlop.network.interfaces.eth0.addresses here"
    ) in found.renamed
    assert found.text().splitlines()[:2] == ["#cloud-config", f"# left out: {found.left_out[0]}"]
    assert found.answer()["left_out"] == [*found.left_out]


def test_kernel_parameters_go_with_it_and_win() -> None:
    words = "quiet rancher.sysctl={vm.swappiness: 1} cc.hostname=new console=tty0 rancher.rm_usr"
    found = migrate("old.yml", DOCUMENT, words.replace(": ", ":"))
    assert found.config["hostname"] == "new"
    assert len([line for line in found.left_out if "rancher.rm_usr" in line]) == 2


def test_nothing_is_a_document_too() -> None:
    found = migrate("old.yml", b"packages: [vim]\n")
    assert not found.config
    assert not check("new.yml", found.text().encode()).data


def test_a_comment_stays_one_line() -> None:
    found = migrate("old.yml", b'rancher: {"a\\nhostname: b": 1}\n')
    assert not check("new.yml", found.text().encode()).data
    assert len(found.left_out) == 1


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"#!/bin/sh\n", "old.yml:1: is a script"),
        (b"#compose\nweb:\n  image: web\n", "old.yml:1: is a file of services"),
        (b"hostname: [1]\n", "old.yml:1: configuration: hostname"),
        (b"a: [\n", "old.yml:"),
        (b"\xff", "old.yml:1: not a text"),
    ],
)
def test_what_is_wrong_is_refused(content: bytes, error: str) -> None:
    with pytest.raises(Exception, match=error):
        migrate("old.yml", content)


def test_a_wrong_kernel_parameter_is_refused() -> None:
    with pytest.raises(InvalidArgument, match=r"cc\.hostnam"):
        migrate("old.yml", b"{}", "cc.hostnam=x")
